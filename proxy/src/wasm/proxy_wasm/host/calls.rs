//! Calls out of the VM: requests to upstreams. The answer comes by a callback.

use std::{sync::Arc, time::Duration};

use http::{Method, header, request};
use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, services};
use crate::{
    exchange::Authority,
    wasm::proxy_wasm::{
        data::{Asked, Data, Outgoing},
        fields::{fields, parsed_authority, parsed_target},
        guest::{copy, read, write_u32},
        pairs,
        sight::stream,
    },
};

/// The longest time that a call may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let call = |mut guest: Guest<'_>,
                upstream: u32,
                upstream_length: u32,
                headers: u32,
                headers_length: u32,
                body: u32,
                body_length: u32,
                trailers: u32,
                trailers_length: u32,
                timeout: u32,
                token: u32| {
        let asked = Call {
            upstream: (upstream, upstream_length),
            headers: (headers, headers_length),
            body: (body, body_length),
            trailers: (trailers, trailers_length),
            timeout: Duration::from_millis(timeout.into()),
        };
        super::code(call(&mut guest, &asked, token))
    };
    linker.func_wrap("env", "proxy_http_call", call)?;
    // Calls in gRPC are not made: a module that tries one is told so.
    linker.func_wrap(
        "env",
        "proxy_grpc_call",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            Status::Unimplemented as u32
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_grpc_stream",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| Status::Unimplemented as u32,
    )?;
    linker.func_wrap("env", "proxy_grpc_cancel", |_: u32| Status::NotFound as u32)?;
    linker.func_wrap("env", "proxy_grpc_close", |_: u32| Status::NotFound as u32)?;
    linker.func_wrap("env", "proxy_grpc_send", |_: u32, _: u32, _: u32, _: u32| Status::NotFound as u32)?;
    answers!(linker, "proxy_call_foreign_function", foreign, name: u32, length: u32, args: u32, bytes: u32, at: u32, size: u32);
    linker.func_wrap_async(
        "env",
        "proxy_get_status",
        |mut guest: Guest<'_>, (code, address, length): (u32, u32, u32)| {
            Box::new(async move {
                let (status, message) = status(&guest);
                let message = write_u32(&mut guest, code, status).map(|()| message);
                super::give(&mut guest, message, address, length).await
            })
        },
    )?;
    Ok(())
}

/// What a guest asks for; each part is an address and a length.
struct Call {
    upstream: (u32, u32),
    headers: (u32, u32),
    body: (u32, u32),
    trailers: (u32, u32),
    timeout: Duration,
}

fn call(guest: &mut Guest<'_>, asked: &Call, token_at: u32) -> Done {
    let upstream = copy(guest, asked.upstream.0, asked.upstream.1)?;
    let headers = copy(guest, asked.headers.0, asked.headers.1)?;
    let body = copy(guest, asked.body.0, asked.body.1)?;
    let trailers = copy(guest, asked.trailers.0, asked.trailers.1)?;
    write_u32(guest, token_at, 0)?;
    let plugin = services::plugin(guest).ok_or(Status::BadArgument)?;
    let upstream = std::str::from_utf8(&upstream).ok().and_then(|name| plugin.grants.get(name));
    let upstream = Arc::clone(upstream.ok_or(Status::BadArgument)?);
    let (mut head, authority) = head(&pairs::read(&headers)?)?;
    if !body.is_empty() {
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let trailers = Some(fields(&pairs::read(&trailers)?)?).filter(|trailers| !trailers.is_empty());
    let root = services::root(guest)?;
    let stream = stream(guest);
    if let Some(stream) = &stream {
        let calls = stream.calls.get();
        if calls >= plugin.limits.calls_max {
            return Err(Status::InternalFailure);
        }
        stream.calls.set(calls + 1);
    }
    let stream = stream.map(|_| guest.data().effective);
    let data = guest.data_mut();
    data.last_token = data.last_token.wrapping_add(1);
    let token = data.last_token;
    let longest = if asked.timeout.is_zero() { plugin.limits.exchange_timeout } else { asked.timeout };
    let outgoing = Outgoing {
        token,
        root,
        stream,
        upstream,
        head,
        authority,
        body: body.into(),
        trailers,
        timeout: longest.min(TIMEOUT_MAX),
        bytes_max: plugin.limits.call_bytes_max,
    };
    services::ask(guest, Asked::Call(Box::new(outgoing)))?;
    write_u32(guest, token_at, token)
}

// A head of pairs, which must have method, path and host.
fn head(pairs: &[(&[u8], &[u8])]) -> Done<(request::Parts, Authority)> {
    let pseudo = |name: &[u8]| {
        let value = pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        value.and_then(|value| std::str::from_utf8(value).ok()).ok_or(Status::BadArgument)
    };
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(pseudo(b":method")?.as_bytes()).map_err(|_| Status::BadArgument)?;
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Status::BadArgument);
    }
    head.uri = parsed_target(pseudo(b":path")?)?;
    let authority = parsed_authority(pseudo(b":authority")?)?;
    head.headers = fields(pairs)?;
    Ok((head, authority))
}

// There are none: whoever asks is told that the one that he names is not there.
fn foreign(guest: &mut Guest<'_>, name: u32, length: u32, args: u32, bytes: u32, _: u32, _: u32) -> Done {
    read(guest, name, length)?;
    read(guest, args, bytes)?;
    Err(Status::NotFound)
}

// Of the call that the guest is told of.
fn status(guest: &Guest<'_>) -> (u32, Vec<u8>) {
    let Some(received) = &guest.data().received else { return (0, Vec::new()) };
    let status = received.status.map_or(0, |status| u32::from(status.as_u16()));
    (status, received.failed.unwrap_or_default().as_bytes().to_vec())
}
