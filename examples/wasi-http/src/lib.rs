//! A component of `wasi:http`: answers `/hello`, and passes everything else on with a header field of its own, bodies as
//! they stream. Nothing in it is of this gateway: `wasmtime serve` runs it, too.

use std::io::Write;

use wasip2::{
    cli::environment,
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
            OutgoingResponse, ResponseOutparam,
        },
    },
};

struct Greeter;

wasip2::http::proxy::export!(Greeter);

impl Guest for Greeter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if request.path_with_query().is_some_and(|path| path == "/hello") {
            return greet(out);
        }
        match pass_on(&request) {
            Ok(response) => send_back(&response, out),
            Err(code) => ResponseOutparam::set(out, Err(code)),
        }
    }
}

fn greet(out: ResponseOutparam) {
    let greeting = environment::get_environment().into_iter().find(|(name, _)| name == "GREETING");
    let text = greeting.map_or_else(|| "hello".to_owned(), |(_, greeting)| greeting);
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it is asked for once");
    ResponseOutparam::set(out, Ok(response));
    // A client that asked with HEAD reads nothing.
    drop(body.write().expect("it is asked for once").write_all(text.as_bytes()));
    drop(OutgoingBody::finish(body, None));
}

// A request to the authority of the request at hand: here, what the rest of the route makes of it.
fn pass_on(request: &IncomingRequest) -> Result<IncomingResponse, ErrorCode> {
    let fields = Fields::from_list(&request.headers().entries()).expect("they came as fields");
    fields.set("x-greeter", &[b"passed".to_vec()]).expect("a field that may be set");
    let outgoing = OutgoingRequest::new(fields);
    outgoing.set_method(&request.method()).expect("it came as a method");
    outgoing.set_scheme(request.scheme().as_ref()).expect("it came as a scheme");
    outgoing.set_authority(request.authority().as_deref()).expect("it came as an authority");
    outgoing.set_path_with_query(request.path_with_query().as_deref()).expect("it came as a path");
    let body = outgoing.body().expect("it is asked for once");
    let sent = outgoing_handler::handle(outgoing, None)?;
    copy(request.consume().expect("it is asked for once"), body);
    sent.subscribe().block();
    sent.get().expect("it is there").expect("it is asked for once")
}

fn send_back(response: &IncomingResponse, out: ResponseOutparam) {
    let fields = Fields::from_list(&response.headers().entries()).expect("they came as fields");
    let answer = OutgoingResponse::new(fields);
    answer.set_status_code(response.status()).expect("it came as a status");
    let body = answer.body().expect("it is asked for once");
    ResponseOutparam::set(out, Ok(answer));
    copy(response.consume().expect("it is asked for once"), body);
}

// Chunk by chunk: a slow reader slows the sender.
fn copy(from: IncomingBody, to: OutgoingBody) {
    let (read, mut write) = (from.stream().expect("it is asked for once"), to.write().expect("it is asked for once"));
    while let Ok(chunk) = read.blocking_read(16 << 10) {
        if write.write_all(&chunk).is_err() {
            break;
        }
    }
    drop((read, write));
    drop(OutgoingBody::finish(to, None));
}
