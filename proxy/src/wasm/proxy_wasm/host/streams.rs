//! Going on, answering, closing, and which context is meant.

use http::{HeaderValue, StatusCode, header};
use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, services};
use crate::{
    exchange::{Body, Response},
    wasm::proxy_wasm::{
        data::{Asked, Data},
        fields::{fields, final_status},
        guest::copy,
        pairs,
        sight::{home, stream},
        stream::{Direction, Stream},
    },
};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    answers!(linker, "proxy_continue_stream", go_on, kind: u32);
    answers!(linker, "proxy_continue_request", go_on_with_request);
    answers!(linker, "proxy_continue_response", go_on_with_response);
    answers!(linker, "proxy_close_stream", close, kind: u32);
    answers!(linker, "proxy_clear_route_cache", clear_route_cache);
    answers!(linker, "proxy_set_effective_context", set_effective_context, context: u32);
    answers!(linker, "proxy_done", done);
    let send = |mut guest: Guest<'_>,
                status: u32,
                _details: u32,
                _details_length: u32,
                body: u32,
                body_length: u32,
                headers: u32,
                headers_length: u32,
                grpc: i32| {
        super::code(send(&mut guest, status, (body, body_length), (headers, headers_length), grpc))
    };
    linker.func_wrap("env", "proxy_send_local_response", send)?;
    Ok(())
}

// Of connections there are none to go on with or to close.
fn direction(kind: u32) -> Done<Direction> {
    match kind {
        0 => Ok(Direction::Request),
        1 => Ok(Direction::Response),
        2 | 3 => Err(Status::Unimplemented),
        _ => Err(Status::BadArgument),
    }
}

fn go_on(guest: &mut Guest<'_>, kind: u32) -> Done {
    resume(guest, direction(kind)?)
}

fn go_on_with_request(guest: &mut Guest<'_>) -> Done {
    resume(guest, Direction::Request)
}

fn go_on_with_response(guest: &mut Guest<'_>) -> Done {
    resume(guest, Direction::Response)
}

fn resume(guest: &Guest<'_>, direction: Direction) -> Done {
    stream(guest).ok_or(Status::BadArgument)?.resume(direction);
    Ok(())
}

fn close(guest: &mut Guest<'_>, kind: u32) -> Done {
    direction(kind)?;
    let stream = stream(guest).ok_or(Status::BadArgument)?;
    stream.closed.set(true);
    stream.tell();
    Ok(())
}

/// The route is to be chosen anew when the request goes on; of one that has gone on, it stays.
pub(super) fn clear_route_cache(guest: &mut Guest<'_>) -> Done {
    if let Some(stream) = stream(guest) {
        stream.rerouted.set(true);
    }
    Ok(())
}

fn set_effective_context(guest: &mut Guest<'_>, context: u32) -> Done {
    let known = guest.data().roots.contains_key(&context)
        || home().is_some_and(|home| home.streams.borrow().contains_key(&context));
    if !known {
        return Err(Status::BadArgument);
    }
    guest.data_mut().effective = context;
    Ok(())
}

fn done(guest: &mut Guest<'_>) -> Done {
    let lingers = stream(guest).is_some_and(|stream| stream.lingers());
    if !lingers {
        return Err(Status::NotFound);
    }
    let context = guest.data().effective;
    services::ask(guest, Asked::Finish { context })
}

fn send(guest: &mut Guest<'_>, status: u32, body: (u32, u32), headers: (u32, u32), grpc: i32) -> Done {
    let body = copy(guest, body.0, body.1)?;
    let headers = copy(guest, headers.0, headers.1)?;
    let headers = fields(&pairs::read(&headers)?)?;
    let status = final_status(&status.to_string())?;
    let stream = stream(guest).ok_or(Status::BadArgument)?;
    // There is one answer to a request.
    if stream.answered.replace(true) {
        return Ok(());
    }
    let mut response = Response::empty(status);
    response.head.headers = headers;
    if is_grpc(&stream) {
        in_grpc(&mut response, &body, grpc);
    } else if !body.is_empty() {
        let text = || HeaderValue::from_static("text/plain");
        response.head.headers.entry(header::CONTENT_TYPE).or_insert_with(text);
        response.head.headers.insert(header::CONTENT_LENGTH, body.len().into());
        response.body = Body::full(body);
    }
    stream.answer.replace(Some(Box::new(response)));
    stream.tell();
    Ok(())
}

fn is_grpc(stream: &Stream) -> bool {
    let request = stream.request.borrow();
    let kind = request.as_ref().and_then(|shown| shown.head().0.headers.get(header::CONTENT_TYPE));
    let kind = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    kind.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

// A gRPC client reads status and message from fields, and a body not at all.
fn in_grpc(response: &mut Response, message: &[u8], grpc: i32) {
    let own = if response.head.status.is_success() { 0 } else { grpc_status(response.head.status) };
    let code = if grpc >= 0 { grpc } else { own };
    response.head.status = StatusCode::OK;
    let fields = &mut response.head.headers;
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from(code));
    let mut text = String::with_capacity(message.len());
    for byte in message {
        match byte {
            b' '..=b'~' if *byte != b'%' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    if let Ok(text) = HeaderValue::from_str(&text)
        && !message.is_empty()
    {
        fields.insert("grpc-message", text);
    }
}

/// As gRPC over HTTP/2 maps a status for clients that get none of its own.
pub(super) fn grpc_status(status: StatusCode) -> i32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
