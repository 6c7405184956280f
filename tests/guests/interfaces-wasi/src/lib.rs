//! The guests of `tests/tables/interfaces.txt` for `wasi:http`: what this component does is `CASE` in its environment, the
//! name of a case.

mod messages;

use wasip2::{
    cli::environment,
    exports::http::incoming_handler::Guest,
    http::types::{Fields, IncomingRequest, Method, ResponseOutparam},
};

use self::messages::{Message, answer, called, method_name, next, received};

struct Case;

wasip2::http::proxy::export!(Case);

impl Guest for Case {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let variables = environment::get_environment();
        let case = variables.into_iter().find(|(name, _)| name == "CASE").map(|(_, value)| value).unwrap_or_default();
        let name = values(&request.headers(), "x-name");
        let mut asked = received(&request);
        if let Some(own) = on_request(&case, &request, &mut asked) {
            return answer(out, own);
        }
        let read = asked.body.clone();
        let mut response = next(asked);
        on_response(&case, &mut response, &name, &read);
        answer(out, response);
    }
}

// What it answers by itself, if it does.
fn on_request(case: &str, request: &IncomingRequest, asked: &mut Message) -> Option<Message> {
    let fields = &asked.fields;
    match case {
        "add" => {
            fields.append("x-many", b"1").expect("a field");
            fields.append("x-many", b"2").expect("a field");
        }
        "replace" => set(fields, "x-many", b"one"),
        "remove" => fields.delete("x-many").expect("a field"),
        "list" => set(fields, "x-listed", &values(&request.headers(), "x-many").join(&b',')),
        "deny" => return Some(Message::answer(403, b"denied")),
        "answer" => {
            let own = Message::answer(418, b"teapot");
            set(&own.fields, "x-by", b"guest");
            own.fields.set("x-many", &[b"1".to_vec(), b"2".to_vec()]).expect("a field");
            return Some(own);
        }
        "rewrite" => asked.target = "/other?b=2".into(),
        "facts" => {
            set(fields, "x-method", method_name(&request.method()).as_bytes());
            set(fields, "x-target", request.path_with_query().unwrap_or_default().as_bytes());
        }
        "replace-request-body" => asked.change(b"replaced"),
        "append-request" => asked.append(b"+guest"),
        "request-trailers" => asked.add_trailer("x-more", b"guest"),
        "call" => {
            let answer = called("side", "/called", &Method::Get);
            set(fields, "x-called", &values(&answer.fields, "x-origin").concat());
        }
        _ if !values(&request.headers(), "x-now").is_empty() => misbehave(case),
        _ => {}
    }
    None
}

fn on_response(case: &str, response: &mut Message, name: &[Vec<u8>], read: &[u8]) {
    let fields = &response.fields;
    match case {
        "add" => fields.append("x-origin", b"guest").expect("a field"),
        "replace" => set(fields, "x-origin", b"guest"),
        "remove" => fields.delete("x-origin").expect("a field"),
        "read" => set(fields, "x-read", read),
        "keep" => set(fields, "x-kept", &name.concat()),
        "replace-response-body" => response.change(b"replaced"),
        "append-response" => response.append(b"+guest"),
        "response-trailers" => response.add_trailer("x-more", b"guest"),
        _ => {}
    }
}

fn set(fields: &Fields, name: &str, value: &[u8]) {
    fields.set(name, &[value.to_vec()]).expect("a field");
}

fn values(fields: &Fields, name: &str) -> Vec<Vec<u8>> {
    let found = fields.entries().into_iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).collect()
}

fn misbehave(case: &str) {
    match case {
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
