//! gRPC as HTTP carries it (the project's `PROTOCOL-HTTP2.md` and `http-grpc-status-mapping.md`): which requests are
//! calls, their deadline, and how an answer of the gateway's own is said to who called. Pure.

use std::{fmt::Write, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{Body, Exchange, Response};
use crate::error::Kind;

/// What kind of call a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rpc {
    /// None.
    #[default]
    None,
    /// gRPC: its status is in trailers.
    Grpc,
    /// grpc-web: its status is in the body.
    Web,
}

/// A status of gRPC, 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u16);

impl Rpc {
    /// What `content_type` says.
    pub fn of(content_type: &HeaderValue) -> Self {
        let Some(rest) = content_type.as_bytes().strip_prefix(b"application/grpc") else { return Self::None };
        match rest {
            [] | [b'+' | b';' | b' ', ..] => Self::Grpc,
            [b'-', b'w', b'e', b'b', ..] => Self::Web,
            _ => Self::None,
        }
    }
}

impl Code {
    /// It took too long.
    pub const DEADLINE_EXCEEDED: Self = Self(4);

    /// The status of gRPC for one of HTTP, where the answer is not gRPC's.
    pub const fn of_status(status: StatusCode) -> Self {
        Self(match status.as_u16() {
            200 => 0,
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        })
    }

    /// The status of gRPC for a failure of the gateway's own.
    pub const fn of_failure(kind: Kind) -> Self {
        match kind {
            Kind::UpstreamTimeout
            | Kind::UpstreamTryTimeout
            | Kind::UpstreamIdleTimeout
            | Kind::ExchangeTimeout
            | Kind::RequestTimeout
            | Kind::PluginTimeout => Self::DEADLINE_EXCEEDED,
            // What was sent is more than is taken.
            Kind::BodyTooLarge | Kind::HeadTooLarge => Self(8),
            // The Gateway API's GRPCRoute has it so: nothing is there to take the call.
            Kind::NoTarget => Self(14),
            // Nobody reads it.
            Kind::ClientGone => Self(1),
            _ => Self::of_status(kind.status()),
        }
    }

    /// The trailers that say it, with a text.
    pub fn trailers(self, text: &str) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(&STATUS, HeaderValue::from(self.0));
        trailers.insert(&MESSAGE, message(text));
        trailers
    }
}

/// The status that trailers, or a head without a body, say.
pub fn status(fields: &HeaderMap) -> Option<u16> {
    fields.get(&STATUS)?.to_str().ok()?.parse().ok()
}

/// Whether a response is gRPC's own.
pub fn is_answer(fields: &HeaderMap) -> bool {
    fields.get(header::CONTENT_TYPE).is_some_and(|value| Rpc::of(value) != Rpc::None)
}

/// Makes an answer to a call of what is none, such as an error of the gateway or a step's refusal: status and text in
/// the head, and no body ("Trailers-Only"), under `content_type`.
pub fn translate(exchange: &Exchange, response: &mut Response, content_type: &HeaderValue) {
    let status = response.head.status;
    let failed = exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| *kind));
    let failed = failed.filter(|kind| kind.status() == status);
    let code = failed.map_or_else(|| Code::of_status(status), Code::of_failure);
    let text = failed.map_or_else(|| said(response), |kind| kind.client_text().to_owned());
    response.head.status = StatusCode::OK;
    response.body = Body::empty();
    let headers = &mut response.head.headers;
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRAILER] {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, content_type.clone());
    headers.extend(code.trailers(&text));
}

// The text of a short answer, else what its status is called.
fn said(response: &Response) -> String {
    let plain = |value: &HeaderValue| value.as_bytes().starts_with(b"text/plain");
    let short = response.body.in_memory().filter(|bytes| bytes.len() <= TEXT_BYTES_MAX);
    let text = short.filter(|_| response.head.headers.get(header::CONTENT_TYPE).is_some_and(plain));
    match text.and_then(|bytes| std::str::from_utf8(bytes).ok()) {
        Some(text) => text.trim_end().to_owned(),
        None => response.head.status.to_string(),
    }
}

/// The deadline that a client sets (`grpc-timeout`): up to 8 digits and a unit.
pub fn timeout(fields: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = fields.get(&TIMEOUT)?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Says in `fields`, where they set a deadline, how much time is `left` of it.
pub fn tell_timeout(fields: &mut HeaderMap, left: Duration) {
    let Some(field) = fields.get_mut(&TIMEOUT) else { return };
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (left.as_secs().into(), 'S')];
    let (number, unit) = units.into_iter().find(|(number, _)| *number <= DIGITS_MAX).unwrap_or((DIGITS_MAX, 'S'));
    if let Ok(value) = HeaderValue::try_from(format!("{}{unit}", number.max(1))) {
        *field = value;
    }
}

// Percent-encoded, so that it is a field value whatever it says.
fn message(text: &str) -> HeaderValue {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte.into()),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    HeaderValue::try_from(out).expect("printable ASCII is a field value")
}

static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
// Of a `grpc-timeout`.
const DIGITS_MAX: u128 = 99_999_999;
const TEXT_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(TIMEOUT.clone(), value.parse().unwrap())])
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        let of = |text| Rpc::of(&HeaderValue::from_static(text));
        for text in ["application/grpc", "application/grpc+proto", "application/grpc;charset=x"] {
            assert_eq!(of(text), Rpc::Grpc, "{text}");
        }
        for text in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"] {
            assert_eq!(of(text), Rpc::Web, "{text}");
        }
        for text in ["application/json", "application/grpcx", "text/plain"] {
            assert_eq!(of(text), Rpc::None, "{text}");
        }
    }

    #[test]
    fn timeouts_are_read_and_said() {
        for (text, expected) in [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("3S", Some(3_000_000_000)),
            ("4m", Some(4_000_000)),
            ("5u", Some(5000)),
            ("6n", Some(6)),
            ("99999999H", Some(359_999_996_400_000_000_000)),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1s", None),
            ("1.5S", None),
        ] {
            assert_eq!(timeout(&fields(text)).map(|time| time.as_nanos()), expected, "{text}");
        }
        for (left, expected) in [
            (Duration::from_millis(1500), "1500000u"),
            (Duration::from_secs(1000), "1000000m"),
            (Duration::from_secs(1_000_000), "1000000S"),
            (Duration::ZERO, "1u"),
        ] {
            let mut said = fields("1H");
            tell_timeout(&mut said, left);
            assert_eq!(said, fields(expected));
        }
        let mut none = HeaderMap::new();
        tell_timeout(&mut none, Duration::ZERO);
        assert!(none.is_empty());
    }

    #[test]
    fn a_message_is_a_field_value_whatever_it_says() {
        assert_eq!(message("50% of ä\r\n"), "50%25 of %C3%A4%0D%0A");
    }
}
