//! A request's head: the request line, the fields, and how the body is framed (RFC 9112 sections 3, 5 and 6).

use super::{
    Bounds, Fault,
    line::{self, Lines},
};
use crate::{error::Kind, server::authority};

/// A head that is being read.
#[derive(Debug, Default)]
pub(super) struct Head {
    lines: Lines,
    empty_lines: u32,
    version: Option<Version>,
    get: bool,
    fields: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: Option<bool>,
    connection_upgrade: bool,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// A body of so many bytes.
    Length(u64),
    /// A body in chunks.
    Chunked,
    /// Another protocol, perhaps.
    Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl Head {
    /// Reads on in `bytes`, which begins with the head. Nothing of a head is taken before all of it is there; empty
    /// lines before it are.
    pub(super) fn read(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<(usize, Option<Framing>), Fault> {
        if self.version.is_none() && bytes.starts_with(b"\r\n") {
            return self.empty_line();
        }
        // Whether a request line or a head is too long is said before anything else of it, so that the answer is the
        // same however the bytes arrive. The least of both limits makes it a question of the line first.
        let head_bytes_max = bounds.head_bytes_max;
        let line_bytes_max = (bounds.uri_bytes_max + AROUND_URI_BYTES).min(head_bytes_max.saturating_sub(2));
        while let Some((line, end)) = self.lines.next(bytes) {
            if self.version.is_none() && end > line_bytes_max + 2 {
                return Err(LINE_TOO_LONG);
            }
            if end > head_bytes_max {
                return Err(HEAD_TOO_LARGE);
            }
            match (self.version, line::whole(line)?) {
                (None, line) => self.version = Some(self.request_line(line, bounds)?),
                (Some(version), []) => return Ok((end, Some(self.framing(version)?))),
                (Some(version), line) => self.field(line, (version, bounds))?,
            }
        }
        if self.version.is_none() && bytes.len() > line_bytes_max + 2 {
            return Err(LINE_TOO_LONG);
        }
        if bytes.len() > head_bytes_max {
            return Err(HEAD_TOO_LARGE);
        }
        Ok((0, None))
    }

    // RFC 9112 section 2.2: some old clients send one after a body.
    fn empty_line(&mut self) -> Result<(usize, Option<Framing>), Fault> {
        let empty_lines = self.empty_lines + 1;
        if empty_lines > EMPTY_LINES_MAX {
            return Err(Fault::malformed("empty lines before a request"));
        }
        *self = Self { empty_lines, ..Self::default() };
        Ok((2, None))
    }

    fn request_line(&mut self, line: &[u8], bounds: &Bounds) -> Result<Version, Fault> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Fault::malformed("a request line that is not three words"));
        };
        if !line::is_token(method) || method.len() > METHOD_BYTES_MAX {
            return Err(Fault::malformed("an invalid method"));
        }
        if target.len() > bounds.uri_bytes_max.min(URI_BYTES_MOST) {
            return Err(Fault { kind: Kind::UriTooLong, detail: "the request target is over its limit" });
        }
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            _ => return Err(Fault::malformed("a version that is neither HTTP/1.0 nor HTTP/1.1")),
        };
        if method == b"CONNECT" {
            return Err(Fault { kind: Kind::MethodNotAllowed, detail: "CONNECT is never forwarded" });
        }
        if !is_target(method, target) {
            return Err(Fault::malformed("an invalid request target"));
        }
        self.get = method == b"GET";
        Ok(version)
    }

    fn field(&mut self, line: &[u8], (version, bounds): (Version, &Bounds)) -> Result<(), Fault> {
        let (name, value) = line::field(line)?;
        self.fields += 1;
        if self.fields > bounds.headers_max {
            return Err(Fault { kind: Kind::HeadTooLarge, detail: "there are too many header fields" });
        }
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                // An upgrade to HTTP/2 is not on offer: RFC 9113 has taken it back.
                let other = !value.is_empty() && !line::has_token(value, "h2c");
                self.upgrade = Some(other && self.upgrade != Some(false));
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_upgrade |= line::has_token(value, "upgrade");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value, version)?,
            14 | 17 if is_disguised(name) => {
                return Err(Fault::malformed("a field that some servers read as one that frames the message"));
            }
            _ => {}
        }
        Ok(())
    }

    // RFC 9110 section 8.6, in one form only: digits, no list, no sign, no leading zero (octal, to some), not more than
    // fit.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let digits = !value.is_empty() && value.len() <= LENGTH_DIGITS_MAX && value.iter().all(u8::is_ascii_digit);
        if !digits || value.len() > 1 && value[0] == b'0' {
            return Err(Fault::malformed("an invalid Content-Length"));
        }
        let length = value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0'));
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Fault::malformed("more than one Content-Length")),
        }
    }

    // RFC 9112 section 6.1, with the one coding that every server knows.
    fn transfer_encoding(&mut self, value: &[u8], version: Version) -> Result<(), Fault> {
        if version == Version::Http10 {
            return Err(Fault::malformed("a Transfer-Encoding in HTTP/1.0"));
        }
        if std::mem::replace(&mut self.chunked, true) || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::malformed("a Transfer-Encoding that is not chunked and nothing else"));
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, Fault> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Fault::malformed("both Transfer-Encoding and Content-Length")),
            (true, None) => Ok(Framing::Chunked),
            (false, None | Some(0)) if self.switches(version) => Ok(Framing::Switch),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }

    fn switches(&self, version: Version) -> bool {
        self.get && version == Version::Http11 && self.connection_upgrade && self.upgrade == Some(true)
    }
}

// Whether a name is that of a framing field with underscores in it, which is the same name to whoever makes variables
// of fields (CGI).
fn is_disguised(name: &[u8]) -> bool {
    let alike = |(is, would): (&u8, &u8)| is.eq_ignore_ascii_case(would) || (*is, *would) == (b'_', b'-');
    let framing: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];
    framing.iter().any(|framing| framing.len() == name.len() && name.iter().zip(*framing).all(alike))
}

// RFC 9112 section 3.2: origin form, absolute form, asterisk form.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    match target {
        [b'/', ..] => line::is_path_and_query(target),
        b"*" => method == b"OPTIONS",
        _ => {
            let schemes: [&[u8]; 2] = [b"http://", b"https://"];
            let mut rests = schemes.iter().filter_map(|scheme| {
                let (found, rest) = target.split_at_checked(scheme.len())?;
                found.eq_ignore_ascii_case(scheme).then_some(rest)
            });
            rests.next().is_some_and(|rest| {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
                authority::is_valid(&rest[..end]) && line::is_path_and_query(&rest[end..])
            })
        }
    }
}

const LINE_TOO_LONG: Fault = Fault { kind: Kind::UriTooLong, detail: "the request line is over its limit" };
const HEAD_TOO_LARGE: Fault = Fault { kind: Kind::HeadTooLarge, detail: "the head is over its limit" };
// A method, two spaces and the version.
const AROUND_URI_BYTES: usize = METHOD_BYTES_MAX + 10;
const METHOD_BYTES_MAX: usize = 32;
// What the `http` crate can hold.
const URI_BYTES_MOST: usize = u16::MAX as usize - 1;
const EMPTY_LINES_MAX: u32 = 4;
// Any number of so many digits fits into 64 bits.
const LENGTH_DIGITS_MAX: usize = 18;
