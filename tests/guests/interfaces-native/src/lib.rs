//! The guests of `tests/tables/interfaces.txt` for the native ABI: what this plugin does is its configuration, the name of
//! a case.

use tidegate_guest::{
    BodyVerdict, Error, LocalResponse, Phases, Plugin, Problem, Problems, Request, Response, Result, Verdict, exchange,
    kv, metrics::Counter, upstream::Call,
};

struct Case {
    name: String,
    seen: Counter,
}

const WHOLE_BYTES_MAX: u32 = 64 << 10;

impl Plugin for Case {
    type Settings = String;

    fn new(name: String) -> Result<Self, Problems> {
        let case = Self { name, seen: Counter::new("seen") };
        let mut problems = Problems::default();
        if case.phases() == Phases::none() {
            problems.push(Problem::at("", "there is no such case"));
        }
        problems.or(case)
    }

    fn phases(&self) -> Phases {
        let none = Phases::none();
        match &*self.name {
            "add" | "replace" | "remove" | "keep" => none.request().response(),
            "list" | "deny" | "answer" | "rewrite" | "facts" | "connection" | "call" | "share-write" | "share-read"
            | "metrics" | "trap" | "loop" | "bomb" => none.request(),
            "count" => none.response(),
            "read" => none.whole_request_body(WHOLE_BYTES_MAX).response(),
            "replace-request-body" => none.whole_request_body(WHOLE_BYTES_MAX),
            "replace-response-body" => none.whole_response_body(WHOLE_BYTES_MAX),
            "append-request" => none.request_chunks(),
            "append-response" => none.response_chunks(),
            _ => none,
        }
    }

    fn on_request(&self, request: Request<'_>) -> Result<Verdict> {
        match &*self.name {
            "add" => {
                request.append_header("x-many", "1")?;
                request.append_header("x-many", "2")?;
            }
            "replace" => request.set_header("x-many", "one")?,
            "remove" => request.remove_header("x-many")?,
            "list" => {
                let found = request.headers().into_iter().filter(|(name, _)| name == "x-many");
                let values: Vec<_> = found.map(|(_, value)| value).collect();
                request.set_header("x-listed", values.join(&b','))?;
            }
            "deny" => return Ok(Verdict::Respond(LocalResponse::new(403).text("denied"))),
            "answer" => {
                let answer = LocalResponse::new(418).field("x-by", "guest").field("x-many", "1").field("x-many", "2");
                return Ok(Verdict::Respond(answer.text("teapot")));
            }
            "rewrite" => {
                request.set_path("/other")?;
                request.set_query(Some("b=2"))?;
            }
            "facts" => {
                request.set_header("x-method", request.method())?;
                let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
                request.set_header("x-target", request.path() + &query)?;
            }
            "connection" => {
                request.set_header("x-protocol", exchange::protocol())?;
                request.set_header("x-client", exchange::client_address())?;
            }
            "call" => {
                let answer = Call::get("/called").send("side")?;
                request.set_header("x-called", answer.header("x-origin").unwrap_or_default())?;
            }
            "keep" => exchange::keep(&request.header_bytes("x-name").unwrap_or_default())?,
            "share-write" => exchange::set_attribute("note", "note")?,
            "share-read" => {
                request.set_header("x-shared", exchange::attribute("share-write.note").unwrap_or_default())?;
            }
            "metrics" => self.seen.add(1),
            _ if request.header("x-now").is_some() => misbehave(&self.name),
            _ => {}
        }
        Ok(Verdict::Proceed)
    }

    fn on_request_body(&self, _: Request<'_>, body: Vec<u8>) -> Result<BodyVerdict> {
        if self.name == "read" {
            exchange::keep(&body)?;
            return Ok(BodyVerdict::Pass);
        }
        Ok(BodyVerdict::Replace(b"replaced".to_vec()))
    }

    fn on_request_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<BodyVerdict> {
        Ok(appended(chunk, last))
    }

    fn on_response(&self, response: Response<'_>) -> Result<Verdict> {
        match &*self.name {
            "add" => response.append_header("x-origin", "guest")?,
            "replace" => response.set_header("x-origin", "guest")?,
            "remove" => response.remove_header("x-origin")?,
            "read" => response.set_header("x-read", exchange::kept().unwrap_or_default())?,
            "keep" => response.set_header("x-kept", exchange::kept().unwrap_or_default())?,
            "count" => {
                let count = kv::add("count", 1, None).map_err(|error| Error::new(format!("{error:?}")))?;
                response.set_header("x-count", count.to_string())?;
            }
            _ => {}
        }
        Ok(Verdict::Proceed)
    }

    fn on_response_body(&self, _: Response<'_>, _: Vec<u8>) -> Result<BodyVerdict> {
        Ok(BodyVerdict::Replace(b"replaced".to_vec()))
    }

    fn on_response_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<BodyVerdict> {
        Ok(appended(chunk, last))
    }
}

fn appended(mut chunk: Vec<u8>, last: bool) -> BodyVerdict {
    if !last {
        return BodyVerdict::Pass;
    }
    chunk.extend_from_slice(b"+guest");
    BodyVerdict::Replace(chunk)
}

fn misbehave(name: &str) {
    match name {
        "trap" => panic!("as asked"),
        "loop" => loop {
            std::hint::black_box(());
        },
        "bomb" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&all);
            }
        }
        _ => {}
    }
}

tidegate_guest::export!(Case);
