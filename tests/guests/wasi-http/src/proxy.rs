//! Bodies in and out, and requests of its own.

use wasip2::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureTrailers, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody,
            OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam, Scheme, Trailers,
        },
    },
    io::streams::{InputStream, StreamError},
};

use crate::write::{Writing, answer, fields, text};

const CHUNK_BYTES_MAX: u64 = 64 << 10;

/// Sends the body back as it comes, and its trailers.
pub(crate) fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let body = request.consume().expect("the first time");
    let mut writing = answer(out, 200, fields(&[("x-by", "wasi")]));
    let trailers = copy(body, &mut writing);
    writing.finish(trailers);
}

/// Reads the body and says how long it was.
pub(crate) fn length(request: IncomingRequest, out: ResponseOutparam) {
    let body = request.consume().expect("the first time");
    let stream = body.stream().expect("the first time");
    let mut length = 0;
    while let Some(chunk) = read(&stream) {
        length += chunk.len();
    }
    drop(stream);
    text(out, 200, &length.to_string());
}

fn read(stream: &InputStream) -> Option<Vec<u8>> {
    match stream.blocking_read(CHUNK_BYTES_MAX) {
        Ok(chunk) => Some(chunk),
        Err(StreamError::Closed) => None,
        Err(StreamError::LastOperationFailed(error)) => panic!("reading failed: {}", error.to_debug_string()),
    }
}

// What follows the body, once all of it is copied.
fn copy(body: IncomingBody, writing: &mut Writing) -> Option<Trailers> {
    let stream = body.stream().expect("the first time");
    while let Some(chunk) = read(&stream) {
        if writing.write(&chunk).is_err() {
            break;
        }
    }
    drop(stream);
    trailers(IncomingBody::finish(body))
}

fn trailers(future: FutureTrailers) -> Option<Trailers> {
    future.subscribe().block();
    let trailers = future.get()?.ok()?.ok()??;
    Some(Fields::from_list(&trailers.entries()).expect("they were fields before"))
}

/// Whom a request is for.
pub(crate) type Whom = (Scheme, String);

/// As the request at hand.
pub(crate) fn own(request: &IncomingRequest) -> Whom {
    (request.scheme().unwrap_or(Scheme::Http), request.authority().unwrap_or_default())
}

/// `/to/SCHEME/AUTHORITY/…`
pub(crate) fn named(request: &IncomingRequest) -> Whom {
    let target = request.path_with_query().unwrap_or_default();
    let mut parts = target.split('/').skip(2);
    let scheme = if parts.next() == Some("https") { Scheme::Https } else { Scheme::Http };
    (scheme, parts.next().unwrap_or_default().to_owned())
}

/// Sends the request on, with a field of its own, and the response back with another one.
pub(crate) fn forward(request: IncomingRequest, out: ResponseOutparam, whom: fn(&IncomingRequest) -> Whom) {
    let headers = Fields::from_list(&request.headers().entries()).expect("they were fields before");
    headers.set("x-passed", &[b"wasi".to_vec()]).expect("a field of its own");
    let outgoing = OutgoingRequest::new(headers);
    let (scheme, authority) = whom(&request);
    outgoing.set_method(&request.method()).expect("it was a method before");
    outgoing.set_scheme(Some(&scheme)).expect("a scheme");
    outgoing.set_authority(Some(&authority)).expect("an authority");
    outgoing.set_path_with_query(request.path_with_query().as_deref()).expect("it was a path before");
    let body = outgoing.body().expect("the first time");
    let sent = match outgoing_handler::handle(outgoing, None) {
        Ok(sent) => sent,
        Err(code) => return text(out, 502, &format!("{code:?}")),
    };
    let mut writing = Writing { stream: body.write().expect("the first time"), body };
    let trailers = copy(request.consume().expect("the first time"), &mut writing);
    writing.finish(trailers);
    sent.subscribe().block();
    match sent.get().expect("it is ready").expect("the first time") {
        Ok(response) => back(&response, out),
        Err(code) => text(out, 502, &format!("{code:?}")),
    }
}

fn back(response: &IncomingResponse, out: ResponseOutparam) {
    let headers = Fields::from_list(&response.headers().entries()).expect("they were fields before");
    headers.set("x-by", &[b"wasi".to_vec()]).expect("a field of its own");
    let mut writing = answer(out, response.status(), headers);
    let trailers = copy(response.consume().expect("the first time"), &mut writing);
    writing.finish(trailers);
}

fn get(request: &IncomingRequest, options: Option<RequestOptions>) -> Result<u16, ErrorCode> {
    let outgoing = OutgoingRequest::new(Fields::new());
    let (scheme, authority) = (Scheme::Http, request.authority().unwrap_or_default());
    outgoing.set_method(&Method::Get).expect("a method");
    outgoing.set_scheme(Some(&scheme)).expect("a scheme");
    outgoing.set_authority(Some(&authority)).expect("an authority");
    outgoing.set_path_with_query(Some("/")).expect("a path");
    let body = outgoing.body().expect("the first time");
    let sent = outgoing_handler::handle(outgoing, options)?;
    OutgoingBody::finish(body, None)?;
    sent.subscribe().block();
    Ok(sent.get().expect("it is ready").expect("the first time")?.status())
}

/// Asks for the rest of the chain two times.
pub(crate) fn twice(request: &IncomingRequest, out: ResponseOutparam) {
    let asked = [get(request, None), get(request, None)];
    text(out, 200, &format!("{asked:?}"));
}

/// Sends as many requests to the upstream `side`.
pub(crate) fn many(_: &IncomingRequest, out: ResponseOutparam, count: &str) {
    let count: u32 = count.parse().expect("a number");
    let sent = (0..count).map(|_| {
        let outgoing = OutgoingRequest::new(Fields::new());
        outgoing.set_scheme(Some(&Scheme::Http)).expect("a scheme");
        outgoing.set_authority(Some("side")).expect("an authority");
        outgoing.set_path_with_query(Some("/")).expect("a path");
        outgoing_handler::handle(outgoing, None)
    });
    // All at a time.
    let sent: Vec<_> = sent.collect();
    let answered = sent.iter().filter(|sent| {
        sent.as_ref().is_ok_and(|sent| {
            sent.subscribe().block();
            matches!(sent.get(), Some(Ok(Ok(response))) if response.status() == 200)
        })
    });
    text(out, 200, &answered.count().to_string());
}

/// Waits for an answer as long as it likes, which is not long.
pub(crate) fn slow(request: &IncomingRequest, out: ResponseOutparam) {
    let options = RequestOptions::new();
    options.set_first_byte_timeout(Some(50_000_000)).expect("supported");
    let began = monotonic_clock::now();
    let said = get(request, Some(options));
    let waited = monotonic_clock::now() - began >= 50_000_000;
    text(out, 200, &format!("{said:?} {waited}"));
}

/// Answers without waiting for what it asked for.
pub(crate) fn ahead(request: &IncomingRequest, out: ResponseOutparam) {
    let outgoing = OutgoingRequest::new(Fields::new());
    outgoing.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    outgoing.set_authority(Some(&request.authority().unwrap_or_default())).expect("an authority");
    outgoing.set_path_with_query(Some("/ahead")).expect("a path");
    let sent = outgoing_handler::handle(outgoing, None);
    text(out, 203, "did not wait");
    drop(sent);
}

/// An answer without a body.
pub(crate) fn bare(out: ResponseOutparam) {
    ResponseOutparam::set(out, Ok(OutgoingResponse::new(fields(&[("x-by", "wasi")]))));
}
