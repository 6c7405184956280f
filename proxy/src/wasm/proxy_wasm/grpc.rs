//! Calls and streams of gRPC that a plugin opens to upstreams, and the callbacks with what came back. A call is told of
//! once: its message, or why there is none. A stream is told of each message, and lives no longer than its plugin.

use std::{
    rc::{Rc, Weak},
    time::Instant,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{
    calls::{CALLS_MAX, UnderWay, background},
    data::{Heard, Messages, Opening},
    exports::Export,
    home::{At, Home},
    local::Local,
};
use crate::{
    error::Kind,
    exchange::{
        Body, Exchange, Request, Response,
        rpc::{self, Code},
    },
    wasm::call::Fail,
};

/// Why it is over.
struct End {
    code: u32,
    message: String,
}

/// Opens a call or a stream; the guest is told what came of it.
pub(super) fn open(home: &Rc<Home>, opening: Opening) {
    let Some(local) = home.local(opening.root) else { return };
    let one = matches!(opening.messages, Messages::One(_));
    let streams = home.streams.borrow();
    // A stream outlives the exchange that it was opened in, and must not keep that one's generation.
    let exchange = opening.stream.filter(|_| one).and_then(|stream| streams.get(&stream));
    let exchange = exchange.map_or_else(|| background(&home.worker), |stream| Rc::clone(&stream.exchange));
    drop(streams);
    let (token, root) = (opening.token, opening.root);
    let line = Line { local: Rc::downgrade(&local), life: home.life(), root, token };
    let full = home.calls.borrow().len() >= CALLS_MAX;
    let timers = home.timers();
    let task = tokio::task::spawn_local(async move {
        let until = opening.timeout.map(|timeout| Instant::now() + timeout);
        let talk = converse(opening, exchange, &line);
        let outcome = match until {
            _ if full => Err(End::failed(Kind::Overloaded)),
            None => talk.await,
            Some(until) => timers.within(until, talk).await.unwrap_or_else(|_| Err(End::late())),
        };
        line.finish(outcome).await;
    });
    home.calls.borrow_mut().insert(token, UnderWay::new(root, &task));
}

/// The way to whoever opened it.
struct Line {
    local: Weak<Local>,
    life: u64,
    root: u32,
    token: u32,
}

impl Line {
    async fn tell(&self, heard: Heard, last: bool) {
        let Some(local) = self.local.upgrade() else { return };
        if last && let Some(call) = local.home.calls.borrow_mut().remove(&self.token) {
            call.done();
        }
        let (root, token) = (self.root, self.token);
        let params = (root, token, heard.number());
        let export = heard.callback();
        let show = |vm: &mut super::vm::Vm| {
            let data = vm.store.data_mut();
            data.heard = Some(heard);
            if last {
                data.conversations.remove(&token);
            }
            params
        };
        let at = At { life: self.life, ..local.now() };
        let told = local.home.call(at, root, export, show).await;
        if let Err(fail) = told
            && !matches!(fail, Fail::Lost)
        {
            local.report(&fail, None);
        }
    }

    async fn finish(&self, outcome: Result<Bytes, End>) {
        let heard = match outcome {
            Ok(message) => Heard::Message(message),
            Err(End { code, message }) => Heard::Closed(code, message),
        };
        self.tell(heard, true).await;
    }
}

impl Heard {
    fn callback(&self) -> Export<(u32, u32, u32), ()> {
        match self {
            Self::Initial(_) => |exports| exports.on_grpc_receive_initial_metadata.as_ref(),
            Self::Message(_) => |exports| exports.on_grpc_receive.as_ref(),
            Self::Trailing(_) => |exports| exports.on_grpc_receive_trailing_metadata.as_ref(),
            Self::Closed(..) => |exports| exports.on_grpc_close.as_ref(),
        }
    }

    // The last parameter of the callback.
    fn number(&self) -> u32 {
        let count = match self {
            Self::Initial(fields) | Self::Trailing(fields) => fields.len(),
            Self::Message(message) => message.len(),
            Self::Closed(code, _) => return *code,
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl End {
    fn failed(kind: Kind) -> Self {
        Self { code: Code::of_failure(kind).0.into(), message: kind.name().to_owned() }
    }

    fn late() -> Self {
        Self { code: Code::DEADLINE_EXCEEDED.0.into(), message: Kind::UpstreamTimeout.name().to_owned() }
    }

    // `UNKNOWN`, `INTERNAL` and `RESOURCE_EXHAUSTED` of gRPC.
    fn unknown(message: &str) -> Self {
        Self { code: 2, message: message.to_owned() }
    }

    fn internal(message: &str) -> Self {
        Self { code: 13, message: message.to_owned() }
    }

    fn exhausted() -> Self {
        Self { code: 8, message: "a message is over `call-bytes-max`".to_owned() }
    }

    // As the last fields say.
    fn of(fields: &HeaderMap) -> Self {
        match rpc::status(fields) {
            None => Self::unknown("there is no grpc-status"),
            Some(code) => {
                let message = fields.get("grpc-message").map(|message| decoded(message.as_bytes())).unwrap_or_default();
                Self { code: code.into(), message }
            }
        }
    }
}

// Answers with the one message of a call. A stream only ends.
async fn converse(opening: Opening, exchange: Rc<Exchange>, line: &Line) -> Result<Bytes, End> {
    let Opening { upstream, head, authority, messages, bytes_max, held: _held, .. } = opening;
    let one = matches!(messages, Messages::One(_));
    let body = match messages {
        Messages::One(message) => Body::full(framed(&message)),
        Messages::Many(from) => Body::stream(StreamBody::new(stream::unfold(from, |mut from| async {
            let (message, _held) = from.recv().await?;
            Some((Ok(Frame::data(framed(&message))), from))
        }))),
    };
    let request = Box::new(Request { head, authority, body, upgrade: None, exchange });
    let response = upstream.call(request).await.map_err(|error| End::failed(error.kind()))?;
    let Response { head, mut body, .. } = response;
    if head.status != StatusCode::OK {
        let message = format!("the answer has the status {}", head.status.as_u16());
        return Err(End { code: Code::of_status(head.status).0.into(), message });
    }
    let mut fields = HeaderMap::new();
    if rpc::status(&head.headers).is_some() {
        fields = head.headers;
    } else if !one {
        line.tell(Heard::Initial(head.headers), false).await;
    }
    let (mut came, mut answer) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| End::failed(error.kind()))?.into_data() {
            Ok(data) => came.extend_from_slice(&data),
            Err(frame) => fields = frame.into_trailers().unwrap_or_default(),
        }
        while let Some(message) = unframed(&mut came, bytes_max)? {
            if one {
                answer = Some(message);
            } else {
                line.tell(Heard::Message(message), false).await;
            }
        }
    }
    let end = End::of(&fields);
    if !one {
        line.tell(Heard::Trailing(fields), false).await;
        return Err(end);
    }
    if end.code == 0 { answer.ok_or_else(|| End::internal("there is no message")) } else { Err(end) }
}

// gRPC over HTTP/2: a byte that says whether it is compressed, and the length.
const PREFIX_BYTES: usize = 5;

fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

// The next message, if it is whole.
fn unframed(came: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, End> {
    let Some(prefix) = came.get(..PREFIX_BYTES) else { return Ok(None) };
    if prefix[0] != 0 {
        return Err(End::internal("a message is compressed, which nobody asked for"));
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if length > bytes_max {
        return Err(End::exhausted());
    }
    if came.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    came.advance(PREFIX_BYTES);
    Ok(Some(came.split_to(length).freeze()))
}

// `%20` and the like.
fn decoded(text: &[u8]) -> String {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if text[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_they_are_cut() {
        let bytes = [framed(b"one"), framed(b""), framed(b"three")].concat();
        for size in 1..bytes.len() {
            let (mut came, mut found) = (BytesMut::new(), Vec::new());
            for part in bytes.chunks(size) {
                came.extend_from_slice(part);
                while let Some(message) = unframed(&mut came, 5).map_err(|end| end.message).unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, ["one", "", "three"], "{size}");
        }
        assert_eq!(unframed(&mut BytesMut::from(&framed(b"sixsix")[..]), 5).map_err(|end| end.code), Err(8));
        assert_eq!(unframed(&mut BytesMut::from(&[1, 0, 0, 0, 0][..]), 5).map_err(|end| end.code), Err(13));
    }

    #[test]
    fn a_status_message_is_decoded() {
        for (text, expected) in [("a b", "a b"), ("%41%c3%a9", "Aé"), ("%4", "%4"), ("100%", "100%"), ("%zz", "%zz")] {
            assert_eq!(decoded(text.as_bytes()), expected);
        }
    }
}
