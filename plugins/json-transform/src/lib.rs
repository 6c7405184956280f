//! Changes JSON bodies on their way: removes, renames, masks and adds what paths lead to. Everything else passes as it is:
//! what is not JSON, and of JSON every value that no step names, down to its digits.

mod media;
mod node;
mod path;
mod settings;
mod step;

use tidegate_guest::{
    BodyVerdict, LocalResponse, Phases, Plugin, Problems, Request, Response, Result, Verdict, metrics::Counter,
};

use self::{
    node::Node,
    settings::{Otherwise, Settings},
    step::Step,
};

struct JsonTransform {
    request: Vec<Step>,
    response: Vec<Step>,
    body_bytes_max: u32,
    on_large: Otherwise,
    on_unreadable: Otherwise,
    changed: Counter,
    unreadable: Counter,
}

/// What became of a body.
enum Outcome {
    Unchanged,
    Changed(Vec<u8>),
    Unreadable,
}

impl Plugin for JsonTransform {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        let checked = settings.check()?;
        Ok(Self {
            request: checked.request,
            response: checked.response,
            body_bytes_max: checked.body_bytes_max,
            on_large: checked.on_large,
            on_unreadable: checked.on_unreadable,
            changed: Counter::new("changed"),
            unreadable: Counter::new("unreadable"),
        })
    }

    fn phases(&self) -> Phases {
        let phases = Phases::none().request();
        let phases = if self.request.is_empty() { phases } else { phases.whole_request_body(self.body_bytes_max) };
        if self.response.is_empty() {
            return phases;
        }
        phases.response().whole_response_body(self.body_bytes_max)
    }

    fn on_request(&self, request: Request) -> Result<Verdict> {
        if !self.response.is_empty() {
            // What is compressed, or a part, could not be read on its way back.
            request.set_header("accept-encoding", "identity")?;
            request.remove_header("range")?;
            request.remove_header("if-range")?;
        }
        if self.request.is_empty() || !media::is_json(request.header("content-type").as_deref()) {
            request.skip_body();
        } else if media::is_encoded(&request.header_values("content-encoding")) {
            if self.on_unreadable == Otherwise::Refuse {
                let answer = LocalResponse::new(415).field("accept-encoding", "identity");
                return Ok(Verdict::Respond(answer.text("the request's body must not be compressed\n")));
            }
            request.skip_body();
        } else if self.on_large == Otherwise::Pass {
            request.pass_large_body();
        }
        Ok(Verdict::Proceed)
    }

    fn on_request_body(&self, request: Request, body: Vec<u8>) -> Result<BodyVerdict> {
        match self.transform(&self.request, &body) {
            Outcome::Unchanged => Ok(BodyVerdict::Pass),
            Outcome::Changed(body) => {
                media::DIGESTS.iter().try_for_each(|name| request.remove_header(name))?;
                Ok(BodyVerdict::Replace(body))
            }
            Outcome::Unreadable if self.on_unreadable == Otherwise::Pass => Ok(BodyVerdict::Pass),
            Outcome::Unreadable => {
                Ok(BodyVerdict::Respond(LocalResponse::new(400).text("the request's body is not valid JSON\n")))
            }
        }
    }

    fn on_response(&self, response: Response) -> Result<Verdict> {
        if !media::is_json(response.header("content-type").as_deref()) {
            response.skip_body();
            return Ok(Verdict::Proceed);
        }
        // A part of a document is unreadable, too.
        if response.status() == 206 || media::is_encoded(&response.header_values("content-encoding")) {
            response.skip_body();
            return Ok(if self.on_unreadable == Otherwise::Pass { Verdict::Proceed } else { refuse("unreadable") });
        }
        let length = response.header("content-length").and_then(|length| length.parse::<u64>().ok());
        match self.on_large {
            Otherwise::Pass => response.pass_large_body(),
            Otherwise::Refuse if length.is_some_and(|length| length > self.body_bytes_max.into()) => {
                response.skip_body();
                return Ok(refuse("too large"));
            }
            Otherwise::Refuse => {}
        }
        Ok(Verdict::Proceed)
    }

    fn on_response_body(&self, response: Response, body: Vec<u8>) -> Result<BodyVerdict> {
        match self.transform(&self.response, &body) {
            Outcome::Unchanged => Ok(BodyVerdict::Pass),
            Outcome::Changed(body) => {
                media::DIGESTS.iter().try_for_each(|name| response.remove_header(name))?;
                response.remove_header("accept-ranges")?;
                if let Some(tag) = response.header("etag").filter(|tag| tag.starts_with('"')) {
                    response.set_header("etag", format!("W/{tag}"))?;
                }
                Ok(BodyVerdict::Replace(body))
            }
            Outcome::Unreadable if self.on_unreadable == Otherwise::Pass => Ok(BodyVerdict::Pass),
            Outcome::Unreadable => Ok(BodyVerdict::Respond(refusal("unreadable"))),
        }
    }
}

impl JsonTransform {
    fn transform(&self, steps: &[Step], body: &[u8]) -> Outcome {
        if body.is_empty() {
            return Outcome::Unchanged;
        }
        let Some(mut root) = std::str::from_utf8(body).ok().and_then(Node::parse) else {
            self.unreadable.add(1);
            return Outcome::Unreadable;
        };
        let mut changed = false;
        for step in steps {
            changed |= step.apply(&mut root);
        }
        if !changed {
            return Outcome::Unchanged;
        }
        self.changed.add(1);
        let mut written = String::with_capacity(body.len());
        root.write(&mut written);
        Outcome::Changed(written.into_bytes())
    }
}

// What the upstream sent must not pass as it is, and the client can do nothing about it.
fn refusal(why: &str) -> LocalResponse {
    LocalResponse::new(502).text(format!("the upstream's answer is {why}\n"))
}

fn refuse(why: &str) -> Verdict {
    Verdict::Respond(refusal(why))
}

tidegate_guest::export!(JsonTransform);

#[cfg(test)]
mod tests;
