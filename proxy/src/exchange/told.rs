//! What an upstream is told of a client beside what the client itself sent. The same for all requests of a connection to one host,
//! so it is kept ready to be sent, and put among a request's fields only where somebody looks at them.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::trace::TRACEPARENT;

/// Fields, and the same as lines of HTTP/1.1.
#[derive(Debug)]
pub struct Told {
    fields: Box<[(HeaderName, HeaderValue)]>,
    lines: Box<[u8]>,
}

impl Told {
    /// Of fields in this order.
    pub fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let fields: Box<[_]> = fields.into_iter().collect();
        let mut lines = Vec::new();
        for (name, value) in &fields {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(piece);
            }
        }
        Self { fields, lines: lines.into() }
    }

    /// As they go out over HTTP/1.1, each line with its end.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Whether it, or the `traceparent` that goes with it, says something in a field of this name, however that is written.
    pub fn speaks_in(&self, name: &str) -> bool {
        let mut names = self.fields.iter().map(|(name, _)| name).chain([&TRACEPARENT]);
        names.any(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// Puts them among the fields of a request: in place of what is there by their names, but `Via`, which is added to (RFC 9110
    /// section 7.6.3).
    pub fn spell_out(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.fields {
            if *name == header::VIA {
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_fields_say_the_same() {
        let told = Told::new([
            (header::FORWARDED, HeaderValue::from_static("for=192.0.2.1")),
            (header::VIA, HeaderValue::from_static("1.1 gate")),
        ]);
        assert_eq!(told.lines(), b"forwarded: for=192.0.2.1\r\nvia: 1.1 gate\r\n");
        for (name, speaks) in [("Via", true), ("forwarded", true), ("traceParent", true), ("x-forwarded-for", false)] {
            assert_eq!(told.speaks_in(name), speaks, "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::FORWARDED, HeaderValue::from_static("for=forged"));
        headers.insert(header::VIA, HeaderValue::from_static("1.1 before"));
        told.spell_out(&mut headers);
        assert_eq!(headers[header::FORWARDED], "for=192.0.2.1");
        assert_eq!(headers.get_all(header::VIA).iter().collect::<Vec<_>>(), ["1.1 before", "1.1 gate"]);
    }
}
