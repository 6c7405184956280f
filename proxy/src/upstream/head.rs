//! HTTP/1.1 heads, pure: a request's into bytes, a response's from bytes (RFC 9112 sections 3 to 6). What is not
//! well-formed or ambiguous is refused. Knows no socket.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, response};
use http_body::Body as _;

use super::decode::Framing;
use crate::exchange::{Body, Request, Told, trace::TRACEPARENT};

/// Why an upstream's answer is not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunks, and perhaps trailers.
    Chunked,
}

/// A response head, and what it says about the bytes after it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) framing: Framing,
    /// Whether the connection may be used again after the body.
    pub(super) keep_alive: bool,
}

impl Sending {
    pub(super) fn of(body: &Body) -> Self {
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// Appends the head of `request` to `out`, its body framed as `sending`, for the host `host`; with `told`, what that says and a
/// `traceparent`.
///
/// Neither the method nor the target nor a field can hold a line end: the types of `http` refuse them.
pub(super) fn encode(out: &mut Vec<u8>, request: &Request, told: Option<&Told>, host: &str, sending: Sending) {
    let target = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
    let fields = &request.head.headers;
    out.reserve(64 + target.len() + host.len() + fields.len() * 48);
    for piece in [request.head.method.as_str(), " ", target, " HTTP/1.1\r\nhost: ", host, "\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    for (name, value) in fields {
        if !is_ours(name) {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    if let Some(told) = told {
        let trace = &request.exchange.trace;
        out.extend_from_slice(told.lines());
        field(out, TRACEPARENT.as_str(), &trace.traceparent_text(trace.span_id));
    }
    match sending {
        Sending::Length(0) if !announces_empty(request) => {}
        Sending::Length(length) => field(out, "content-length", decimal(length, &mut [0; 20])),
        Sending::Chunked => field(out, "transfer-encoding", b"chunked"),
    }
    if let Some(protocol) = &request.upgrade {
        field(out, "connection", b"upgrade");
        field(out, "upgrade", protocol.as_bytes());
    } else if takes_trailers(fields) {
        field(out, "connection", b"te");
        field(out, "te", b"trailers");
    }
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

// Fields that this side of the gateway writes itself, or that end with the client's connection. `Expect` is one: it is
// the server that answers 100 when the body is first read.
#[inline]
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST
            | header::CONTENT_LENGTH
            | header::TRANSFER_ENCODING
            | header::CONNECTION
            | header::UPGRADE
            | header::TE
            | header::EXPECT
    ) || is_old_hop_by_hop(name)
}

fn is_old_hop_by_hop(name: &HeaderName) -> bool {
    matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

// RFC 9110 section 8.6: where the method calls for content, or the client said so, that there is none is said.
fn announces_empty(request: &Request) -> bool {
    matches!(request.head.method, Method::POST | Method::PUT | Method::PATCH)
        || request.head.headers.contains_key(header::CONTENT_LENGTH)
}

fn takes_trailers(fields: &HeaderMap) -> bool {
    fields.get_all(header::TE).iter().any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case("trailers")))
}

/// `number` in ASCII digits.
pub(super) fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// Reads the head of the answer to one request; informational heads before it are set aside.
#[derive(Debug)]
pub(super) struct Reader {
    bytes_max: usize,
    // How much of the input was searched for the end of the head.
    searched: usize,
    informational: u8,
    /// Informational heads that were read, but for 100, which answers what the gateway itself may have expected.
    pub(super) interims: Vec<response::Parts>,
}

impl Reader {
    /// A reader of heads of at most `bytes_max` bytes.
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, searched: 0, informational: 0, interims: Vec::new() }
    }

    /// Whether an informational head was read.
    pub(super) const fn has_begun(&self) -> bool {
        self.informational > 0
    }

    /// Takes the head off the front of `input` once it is whole. `fields` are those of the request: their memory is
    /// used for those of the response, and they are untouched until then.
    ///
    /// # Errors
    /// When it is malformed, ambiguous, or longer than allowed.
    pub(super) fn read(
        &mut self,
        input: &mut BytesMut,
        method: &Method,
        fields: &mut HeaderMap,
    ) -> Result<Option<Head>, Malformed> {
        loop {
            let Some(end) = end_of_head(input, self.searched) else {
                self.searched = input.len();
                let over = input.len() >= self.bytes_max;
                return if over { Err(Malformed("its head is longer than response-head-bytes-max")) } else { Ok(None) };
            };
            if end > self.bytes_max {
                return Err(Malformed("its head is longer than response-head-bytes-max"));
            }
            self.searched = 0;
            let head = parse(&input.split_to(end).freeze(), method, fields)?;
            let status = head.parts.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.informational += 1;
            if self.informational > INFORMATIONAL_MAX {
                return Err(Malformed("it sent too many informational responses"));
            }
            if status != StatusCode::CONTINUE {
                self.interims.push(head.parts);
            }
        }
    }
}

// The position after the empty line; `searched` bytes are known to hold none. A bare LF ends a line as well (RFC 9112
// section 2.2).
fn end_of_head(input: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    memchr::memchr_iter(b'\n', &input[from..]).find_map(|at| match input[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

fn parse(bytes: &Bytes, method: &Method, fields: &mut HeaderMap) -> Result<Head, Malformed> {
    let mut storage = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; FIELDS_MAX];
    let mut raw = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut raw, bytes, &mut storage);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Malformed("its head ends in two places")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("it has more than 128 fields")),
        Err(_) => return Err(Malformed("its head is not HTTP/1")),
    }
    let status = raw.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed("its status is invalid"))?;
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = std::mem::take(fields);
    parts.headers.clear();
    parts.headers.reserve(raw.headers.len());
    let upgrades = status == StatusCode::SWITCHING_PROTOCOLS;
    let mut seen = Seen { upgrades, keep_alive: raw.version == Some(1), ..Seen::default() };
    for field in raw.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed("a field name is invalid"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
            .map_err(|_| Malformed("a field value is invalid"))?;
        seen.field(&mut parts.headers, name, value)?;
    }
    let framing = seen.framing(method, status, raw.version == Some(0))?;
    let keep_alive = seen.finish(&mut parts.headers, status) && framing != Framing::UntilClose && !upgrades;
    parts.version = Version::HTTP_11;
    Ok(Head { parts, framing, keep_alive })
}

// What the fields of a head say about its connection and its body.
#[derive(Default)]
struct Seen {
    upgrades: bool,
    keep_alive: bool,
    close: bool,
    length: Option<u64>,
    chunked: bool,
    encodings: u32,
    connection: smallvec::SmallVec<[HeaderValue; 1]>,
}

impl Seen {
    // Fields that hold for this connection only are not kept.
    fn field(&mut self, fields: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        match name {
            header::CONNECTION => self.connection.push(value),
            header::TRANSFER_ENCODING => {
                self.encodings += 1;
                self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
            }
            header::CONTENT_LENGTH => {
                let length = length(&value)?;
                match self.length.replace(length) {
                    // As it is where it is that number, without a copy.
                    None if is_plain(value.as_bytes()) => drop(fields.insert(name, value)),
                    None => drop(fields.insert(name, HeaderValue::from(length))),
                    Some(first) if first == length => {}
                    Some(_) => return Err(Malformed("it has two different content-lengths")),
                }
            }
            header::TE => {}
            header::UPGRADE if !self.upgrades => {}
            name if is_old_hop_by_hop(&name) => {}
            name => {
                fields.append(name, value);
            }
        }
        Ok(())
    }

    // RFC 9112 section 6.3.
    fn framing(&mut self, method: &Method, status: StatusCode, old: bool) -> Result<Framing, Malformed> {
        if *method == Method::HEAD || matches!(status.as_u16(), 100..=199 | 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if self.encodings > 0 {
            if old || self.encodings > 1 || !self.chunked {
                return Err(Malformed("its transfer-encoding is not chunked alone"));
            }
            // Both lengths at once are what response splitting looks like: the connection ends after it.
            self.close |= self.length.is_some();
            return Ok(Framing::Chunked);
        }
        Ok(self.length.map_or(Framing::UntilClose, Framing::Length))
    }

    // Removes what `Connection` names; answers whether the connection may be kept.
    fn finish(self, fields: &mut HeaderMap, status: StatusCode) -> bool {
        if self.encodings > 0 || status == StatusCode::NO_CONTENT || status.is_informational() {
            fields.remove(header::CONTENT_LENGTH);
        }
        let (mut keep_alive, mut close) = (self.keep_alive, self.close);
        for token in self.connection.iter().flat_map(tokens) {
            match token {
                token if token.eq_ignore_ascii_case("close") => close = true,
                token if token.eq_ignore_ascii_case("keep-alive") => keep_alive = true,
                token if token.eq_ignore_ascii_case("upgrade") => {}
                token => drop(fields.remove(token)),
            }
        }
        keep_alive && !close
    }
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim).filter(|token| !token.is_empty())
}

// Digits, and none too many.
fn is_plain(number: &[u8]) -> bool {
    number == b"0" || (number.first() != Some(&b'0') && number.iter().all(u8::is_ascii_digit))
}

// One number, or the same one again and again (RFC 9110 section 8.6).
fn length(value: &HeaderValue) -> Result<u64, Malformed> {
    let bad = Malformed("its content-length is not a number");
    let mut numbers = value.as_bytes().split(|byte| *byte == b',').map(|number| {
        let digits = number.trim_ascii();
        let digits = if digits.iter().all(u8::is_ascii_digit) { digits } else { &[] };
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
    });
    let first: u64 = numbers.next().flatten().ok_or(bad)?;
    if numbers.all(|number| number == Some(first)) { Ok(first) } else { Err(bad) }
}

const FIELDS_MAX: usize = 128;
const INFORMATIONAL_MAX: u8 = 16;

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
