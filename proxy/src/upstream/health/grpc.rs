//! A health check by the gRPC health protocol: `grpc.health.v1.Health/Check` over HTTP/2, with TLS or with prior
//! knowledge. Its two messages have one field each, so they are written and read here. Knows nothing of verdicts.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, header};

use super::http2;
use crate::tls::Socket;

/// Asks whether `service` serves, naming `host` as the authority.
///
/// # Errors
/// The connection's, and a text where it does not serve.
pub(super) async fn ask(io: Socket, service: &str, (host, secure): (&str, bool)) -> io::Result<()> {
    let scheme = if secure { "https" } else { "http" };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "tidegate-health-check")
        .body(())
        .map_err(io::Error::other)?;
    http2::send(io, request, Some(request_message(service)), judge).await
}

async fn judge(answer: http::Response<h2::RecvStream>) -> io::Result<()> {
    let (head, mut body) = answer.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(io::Error::other(format!("the status is {}", head.status)));
    }
    status(&head.headers)?;
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(io::Error::other)?;
        body.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
        if message.len() + data.len() > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("the answer is longer than a health answer can be"));
        }
        message.extend_from_slice(&data);
    }
    if let Some(trailers) = body.trailers().await.map_err(io::Error::other)? {
        status(&trailers)?;
    }
    match serving(&message) {
        Some(SERVING) => Ok(()),
        Some(other) => Err(io::Error::other(format!("its serving status is {other}"))),
        None => Err(io::Error::other("the answer is not a health answer")),
    }
}

// `grpc-status`, where it is there.
fn status(fields: &HeaderMap) -> io::Result<()> {
    match fields.get("grpc-status").map(|status| status.as_bytes()) {
        None | Some(b"0") => Ok(()),
        Some(other) => Err(io::Error::other(format!("grpc-status is {}", String::from_utf8_lossy(other)))),
    }
}

// `HealthCheckRequest { string service = 1; }`, as one uncompressed gRPC message.
fn request_message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(&message);
    framed.freeze()
}

// `HealthCheckResponse { ServingStatus status = 1; }`: 0, UNKNOWN, where the field is left out; fields that are not
// known are passed over.
fn serving(framed: &[u8]) -> Option<u64> {
    let (prefix, mut message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if prefix[0] != 0 || length != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                status = if key >> 3 == 1 { value } else { status };
            }
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            1 => message = message.get(8..)?,
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

const SERVING: u64 = 1;
const MESSAGE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_the_protocol() {
        assert_eq!(&request_message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request_message("a.B")[..], [0, 0, 0, 0, 5, 10, 3, b'a', b'.', b'B']);
        assert_eq!(request_message(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
        for (message, status) in [
            (&[0, 0, 0, 0, 0][..], Some(0)),
            (&[0, 0, 0, 0, 2, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 6, 18, 2, 9, 9, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0, 0, 0, 3, 18, 9, 9], None),
            (&[0, 0], None),
        ] {
            assert_eq!(serving(message), status, "{message:?}");
        }
    }
}
