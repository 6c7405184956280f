//! grpc-web from browsers to gRPC of upstreams: the content type, base64 where a browser can do no better, and trailers
//! in the body, where a browser can read them. Who may call from which origin is said by the step `cors`.

use std::{
    cell::Cell,
    ops::ControlFlow,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;

use super::{Filter, Visit, Wait};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Exchange, Request, Response, rpc, rpc::Code},
};

/// The step.
pub(super) struct GrpcWeb;

impl Filter for GrpcWeb {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        Rc::new(Translation { exchange: Rc::clone(exchange), form: Cell::new(None) })
    }

    fn describe(&self) -> String {
        "grpc-web: translates to gRPC".into()
    }
}

// The part in one exchange; `form` is set where the request is grpc-web.
struct Translation {
    exchange: Rc<Exchange>,
    form: Cell<Option<Form>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    // Whether bodies are base64.
    text: bool,
    // Whether messages are said to be of Protocol Buffers.
    proto: bool,
}

impl Form {
    fn of(content_type: &HeaderValue) -> Option<Self> {
        let rest = content_type.as_bytes().strip_prefix(b"application/grpc-web")?;
        let (text, rest) = rest.strip_prefix(b"-text").map_or((false, rest), |rest| (true, rest));
        match rest {
            [] | [b';' | b' ', ..] => Some(Self { text, proto: false }),
            _ => rest.starts_with(b"+proto").then_some(Self { text, proto: true }),
        }
    }

    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match (self.text, self.proto) {
            (false, false) => "application/grpc-web",
            (false, true) => "application/grpc-web+proto",
            (true, false) => "application/grpc-web-text",
            (true, true) => "application/grpc-web-text+proto",
        })
    }
}

impl Visit for Translation {
    fn request(self: Rc<Self>, mut request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
        let headers = &mut request.head.headers;
        let Some(form) = headers.get(header::CONTENT_TYPE).and_then(Form::of) else {
            return Wait::Ready(Ok(ControlFlow::Continue(request)));
        };
        self.form.set(Some(form));
        let content_type = if form.proto { "application/grpc+proto" } else { "application/grpc" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if form.text {
            headers.remove(header::CONTENT_LENGTH);
            let body = request.body.take();
            request.body = Body::stream(Decoded { body, held: BytesMut::new() });
        }
        Wait::Ready(Ok(ControlFlow::Continue(request)))
    }

    fn sees_response(&self) -> bool {
        self.form.get().is_some()
    }

    fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
        let Some(form) = self.form.get() else { return Wait::Ready(Ok(response)) };
        let content_type = form.content_type();
        let headers = &mut response.head.headers;
        if rpc::is_answer(headers) {
            headers.insert(header::CONTENT_TYPE, content_type);
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::TRAILER);
            // A status in the head, with no body after it, is read by clients as it is.
            if !response.body.is_empty() {
                let exchange = Rc::clone(&self.exchange);
                response.body =
                    Body::stream(Encoded { body: response.body.take(), text: form.text, over: false, exchange });
            }
        } else if !response.head.status.is_success() {
            rpc::translate(&self.exchange, &mut response, &content_type);
        }
        Wait::Ready(Ok(response))
    }
}

// A request's body out of base64, which may be padded wherever the client sent a piece of it.
struct Decoded {
    body: Body,
    // Less than what can be decoded.
    held: BytesMut,
}

impl Decoded {
    fn decode(&mut self, data: &[u8]) -> Result<Bytes, Error> {
        self.held.extend(data.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let whole = self.held.len() / 4 * 4;
        let text = self.held.split_to(whole);
        let mut out = Vec::with_capacity(whole / 4 * 3);
        let mut rest = &text[..];
        while !rest.is_empty() {
            // Up to where a piece ends with padding.
            let end = rest.iter().position(|byte| *byte == b'=').map_or(rest.len(), |at| (at / 4 + 1) * 4);
            STANDARD.decode_vec(&rest[..end], &mut out).map_err(|_| malformed())?;
            rest = &rest[end..];
        }
        Ok(out.into())
    }
}

#[cold]
fn malformed() -> Error {
    Error::new(Kind::MalformedRequest, "the body of a grpc-web-text request is not base64")
}

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()? else {
                let whole = self.held.is_empty();
                self.held.clear();
                return Poll::Ready((!whole).then(|| Err(malformed())));
            };
            // Trailers of a request mean nothing to gRPC.
            let Ok(data) = frame.into_data() else { continue };
            let data = self.decode(&data)?;
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.held.is_empty()
    }
}

// A response's body with its trailers in a last frame.
struct Encoded {
    body: Body,
    text: bool,
    over: bool,
    exchange: Rc<Exchange>,
}

impl Encoded {
    fn say(&self, data: Bytes) -> Frame<Bytes> {
        // Each piece is padded, so that what is there can be read at once.
        Frame::data(if self.text { STANDARD.encode(&data).into() } else { data })
    }

    fn end(&mut self, trailers: &HeaderMap) -> Frame<Bytes> {
        self.over = true;
        self.exchange.record.note(|record| record.grpc_status = rpc::status(trailers).or(record.grpc_status));
        self.say(block(trailers))
    }
}

// Trailers as a frame of grpc-web: a flag, a length, lines as HTTP/1 has them.
fn block(trailers: &HeaderMap) -> Bytes {
    let mut block = BytesMut::with_capacity(64);
    block.extend_from_slice(&[TRAILERS, 0, 0, 0, 0]);
    for (name, value) in trailers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            block.put_slice(piece);
        }
    }
    let length = u32::try_from(block.len() - 5).unwrap_or(u32::MAX);
    block[1..5].copy_from_slice(&length.to_be_bytes());
    block.freeze()
}

impl http_body::Body for Encoded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                self.over = true;
                None
            }
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(data) => self.say(data),
                Err(other) => self.end(&other.into_trailers().unwrap_or_default()),
            })),
            Some(Err(error)) => {
                self.exchange.record.fail(&error);
                let kind = error.kind();
                self.body = Body::empty();
                Some(Ok(self.end(&Code::of_failure(kind).trailers(kind.client_text()))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

const TRAILERS: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_their_form() {
        for (text, expected) in [
            ("application/grpc-web", Some((false, false))),
            ("application/grpc-web+proto", Some((false, true))),
            ("application/grpc-web-text", Some((true, false))),
            ("application/grpc-web-text+proto; charset=utf-8", Some((true, true))),
            ("application/grpc", None),
            ("application/grpc-webx", None),
        ] {
            let form = Form::of(&HeaderValue::from_static(text));
            assert_eq!(form.map(|form| (form.text, form.proto)), expected, "{text}");
        }
    }

    #[test]
    fn base64_is_read_however_it_is_cut_and_padded() {
        let whole = [STANDARD.encode("a"), STANDARD.encode("bcd"), STANDARD.encode("ef")].concat();
        for cut in 1..=whole.len() {
            let mut decoded = Decoded { body: Body::empty(), held: BytesMut::new() };
            let mut out = Vec::new();
            for piece in whole.as_bytes().chunks(cut) {
                out.extend(decoded.decode(piece).unwrap());
            }
            assert_eq!(out, b"abcdef", "cut at {cut}");
        }
        let mut decoded = Decoded { body: Body::empty(), held: BytesMut::new() };
        assert!(decoded.decode(b"****").is_err());
    }

    #[test]
    fn trailers_become_a_frame() {
        let trailers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("x"))]);
        assert_eq!(&block(&trailers)[..], b"\x80\0\0\0\x09etag: x\r\n");
    }
}
