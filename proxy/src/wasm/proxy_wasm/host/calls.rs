//! Calls out of the VM: requests to upstreams. The answer comes by a callback.

use std::{sync::Arc, time::Duration};

use http::{Method, header, request};
use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, services};
use crate::{
    exchange::{Authority, Call},
    wasm::{
        plugin::Plugin,
        proxy_wasm::{
            data::{Asked, Data, Heard, Outgoing},
            fields::{fields, parsed_authority, parsed_target},
            guest::{copy, write_u32},
            pairs,
            sight::stream,
        },
    },
};

/// The longest time that a call may take.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(300);

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
        let asked = Sending {
            upstream: (upstream, upstream_length),
            headers: (headers, headers_length),
            body: (body, body_length),
            trailers: (trailers, trailers_length),
            timeout_ms: timeout,
        };
        super::code(call(&mut guest, &asked, token))
    };
    linker.func_wrap("env", "proxy_http_call", call)?;
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
struct Sending {
    upstream: (u32, u32),
    headers: (u32, u32),
    body: (u32, u32),
    trailers: (u32, u32),
    timeout_ms: u32,
}

fn call(guest: &mut Guest<'_>, asked: &Sending, token_at: u32) -> Done {
    let upstream = copy(guest, asked.upstream.0, asked.upstream.1)?;
    let headers = copy(guest, asked.headers.0, asked.headers.1)?;
    let body = copy(guest, asked.body.0, asked.body.1)?;
    let trailers = copy(guest, asked.trailers.0, asked.trailers.1)?;
    write_u32(guest, token_at, 0)?;
    let plugin = services::plugin(guest).ok_or(Status::BadArgument)?;
    let name = std::str::from_utf8(&upstream).map_err(|_| Status::BadArgument)?;
    let upstream = granted(&plugin, name).ok_or(Status::BadArgument)?;
    // A negative number of milliseconds is a duration that an SDK could not tell.
    if i32::try_from(asked.timeout_ms).is_err() {
        return Err(Status::BadArgument);
    }
    let (mut head, authority) = head(&pairs::read(&headers)?, name)?;
    if !body.is_empty() {
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let trailers = Some(fields(&pairs::read(&trailers)?)?).filter(|trailers| !trailers.is_empty());
    let root = services::root(guest)?;
    let held = guest.data().outbox.hold(headers.len() + body.len() + asked.trailers.1 as usize)?;
    let stream = count(guest, &plugin)?;
    let token = guest.data_mut().next_token();
    let timeout = timeout(&plugin, asked.timeout_ms);
    let outgoing = Outgoing {
        token,
        root,
        stream,
        upstream,
        head,
        authority,
        body: body.into(),
        trailers,
        timeout,
        bytes_max: plugin.limits.call_bytes_max,
        held,
    };
    services::ask(guest, Asked::Call(Box::new(outgoing)))?;
    write_u32(guest, token_at, token)
}

// A head of pairs, which must have method, path and host. Plugins that have no host to name leave it empty, or say the
// upstream's name once more, which need not be a host's (`outbound|80||auth.example`).
fn head(pairs: &[(&[u8], &[u8])], upstream: &str) -> Done<(request::Parts, Authority)> {
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
    let authority = match pseudo(b":authority")? {
        "" => named(upstream),
        authority if authority == upstream => named(upstream),
        authority => parsed_authority(authority)?,
    };
    head.headers = fields(pairs)?;
    Ok((head, authority))
}

// The host that the upstream's name is, or ends with.
fn named(upstream: &str) -> Authority {
    let last = upstream.rsplit('|').next().unwrap_or(upstream);
    parsed_authority(last).unwrap_or_else(|_| Authority::from_static("upstream"))
}

/// An upstream that a plugin may name, by the module's name for it.
pub(super) fn granted(plugin: &Plugin, name: &str) -> Option<Arc<dyn Call>> {
    let clusters = &plugin.proxy_wasm.clusters;
    let known = clusters.iter().find(|(known, _)| known == name).map(|(_, upstream)| upstream.as_ref());
    plugin.grants.get(known.unwrap_or(name)).map(Arc::clone)
}

/// Counts a call of the stream context in effect, and answers with that context.
///
/// # Errors
/// [`Status::InternalFailure`] over the limit for one exchange.
pub(super) fn count(guest: &Guest<'_>, plugin: &Plugin) -> Done<Option<u32>> {
    let Some(stream) = stream(guest) else { return Ok(None) };
    let calls = stream.calls.get();
    if calls >= plugin.limits.calls_max {
        return Err(Status::InternalFailure);
    }
    stream.calls.set(calls + 1);
    Ok(Some(guest.data().effective))
}

/// How long a call may take; the plugin's own limit, where the module sets none.
pub(super) fn timeout(plugin: &Plugin, millis: u32) -> Duration {
    let asked = Duration::from_millis(millis.into());
    if asked.is_zero() { plugin.limits.exchange_timeout } else { asked }.min(TIMEOUT_MAX)
}

/// The code of a connection that broke (`WasmResult` in Envoy), which a call that failed has.
const BROKEN_CONNECTION: u32 = 11;

// Of the call that the guest is told of.
fn status(guest: &Guest<'_>) -> (u32, Vec<u8>) {
    let data = guest.data();
    if let Some(Heard::Closed(code, message)) = &data.heard {
        return (*code, message.clone().into_bytes());
    }
    match data.received.as_ref().and_then(|received| received.failed) {
        Some(failed) => (BROKEN_CONNECTION, failed.as_bytes().to_vec()),
        None => (0, Vec::new()),
    }
}
