//! Which protocol a connection opens with. Nothing is consumed: what was read is handed on.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Instant};

use bytes::BytesMut;

use super::{session::Session, wire::Socket};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// A handshake (RFC 8446 section 5.1), where none is expected.
    Tls,
}

impl Protocol {
    /// What both ends agreed on by ALPN.
    pub(super) const fn agreed(http2: bool) -> Self {
        if http2 { Self::Http2 } else { Self::Http1 }
    }
}

/// Reads until it is certain; answers the protocol and what was read, or nothing when the client said nothing in
/// time, went away, or the door closed first.
pub(super) async fn protocol(socket: &mut Socket, session: &Rc<Session>) -> Option<(Protocol, BytesMut)> {
    let mut first = BytesMut::new();
    let idle_deadline = Instant::now() + session.limits(|limits| limits.keep_alive_timeout);
    let mut deadline = idle_deadline;
    loop {
        let before = first.len();
        if !read(socket, &mut first, session, deadline).await || first.len() == before {
            return None;
        }
        if let Some(protocol) = recognise(&first) {
            return Some((protocol, first));
        }
        deadline = idle_deadline.min(Instant::now() + session.limits(|limits| limits.head_timeout));
    }
}

/// Reads once, to the end of `first`; not after `deadline`, and not when the door closes. Nothing more in `first` is the end.
pub(super) async fn read(socket: &mut Socket, first: &mut BytesMut, session: &Session, deadline: Instant) -> bool {
    poll_fn(|cx| {
        session.resident().attend(cx);
        if let Poll::Ready(outcome) = socket.poll_read_more(cx, first) {
            return Poll::Ready(outcome.is_ok());
        }
        if session.heed() { Poll::Ready(false) } else { session.alarm.poll_at(deadline, cx).map(|()| false) }
    })
    .await
}

fn recognise(first: &[u8]) -> Option<Protocol> {
    if first.first() == Some(&HANDSHAKE) {
        return Some(Protocol::Tls);
    }
    let known = first.len().min(PREFACE.len());
    match first[..known] == PREFACE[..known] {
        false => Some(Protocol::Http1),
        true if known == PREFACE.len() => Some(Protocol::Http2),
        true => None,
    }
}

// RFC 9113 section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// The type of the record that a TLS client begins with; no method begins so.
const HANDSHAKE: u8 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_a_protocol_as_soon_as_it_is_certain() {
        assert_eq!(recognise(b""), None);
        assert_eq!(recognise(b"PRI * HT"), None);
        assert_eq!(recognise(PREFACE), Some(Protocol::Http2));
        assert_eq!(recognise(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), Some(Protocol::Http1));
        assert_eq!(recognise(b"G"), Some(Protocol::Http1));
        assert_eq!(recognise(b"\x16\x03\x01"), Some(Protocol::Tls));
        assert_eq!(recognise(b"PUT"), Some(Protocol::Http1));
    }
}
