//! A health check over HTTP/1.1, or HTTP/2 where an endpoint speaks nothing else. Knows nothing of verdicts.

use std::io;

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{super::head::Reader, http2};
use crate::{config::spec::Probe, tls::Socket};

/// Sends the request of `probe` and reads the head of the answer.
///
/// # Errors
/// The connection's, and a text where the answer is not a good one.
pub(super) async fn ask(io: &mut Socket, probe: &Probe, authority: &str) -> io::Result<()> {
    let Probe::Http { path, method, host, status, headers } = probe else { return Ok(()) };
    let host = host.as_deref().unwrap_or(authority);
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n").into_bytes();
    if !headers.iter().any(|(name, _)| *name == http::header::USER_AGENT) {
        request.extend_from_slice(b"user-agent: tidegate-health-check\r\n");
    }
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    if [http::Method::POST, http::Method::PUT, http::Method::PATCH].contains(method) {
        request.extend_from_slice(b"content-length: 0\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await?;
    io.flush().await?;
    let (mut reader, mut input, mut fields) = (Reader::new(HEAD_BYTES_MAX), BytesMut::new(), HeaderMap::new());
    loop {
        if io.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let head = reader.read(&mut input, method, &mut fields);
        if let Some(head) = head.map_err(|malformed| io::Error::other(malformed.0))? {
            return judge(head.parts.status, status);
        }
    }
}

/// The same over HTTP/2, for an endpoint that speaks nothing else.
///
/// # Errors
/// As [`ask`].
pub(super) async fn ask_http2(io: Socket, probe: &Probe, (authority, secure): (&str, bool)) -> io::Result<()> {
    let Probe::Http { path, method, host, status, headers } = probe else { return Ok(()) };
    let (scheme, host) = (if secure { "https" } else { "http" }, host.as_deref().unwrap_or(authority));
    let request = Request::builder().method(method.clone()).uri(format!("{scheme}://{host}{path}"));
    let mut request = request.body(()).map_err(io::Error::other)?;
    let agent = HeaderValue::from_static("tidegate-health-check");
    request.headers_mut().insert(http::header::USER_AGENT, agent);
    headers.iter().for_each(|(name, value)| drop(request.headers_mut().insert(name, value.clone())));
    http2::send(io, request, None, async |answer| judge(answer.status(), status)).await
}

fn judge(status: StatusCode, good: &[(u16, u16)]) -> io::Result<()> {
    match good.iter().any(|(from, to)| (*from..=*to).contains(&status.as_u16())) {
        true => Ok(()),
        false => Err(io::Error::other(format!("the status is {status}"))),
    }
}

const HEAD_BYTES_MAX: usize = 16 * 1024;
