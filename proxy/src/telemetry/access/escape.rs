//! Values into a line, for JSON or for a template: numbers, times, and strings that a stranger chose. Whatever they
//! hold, a line stays one line, valid UTF-8, and JSON if it was to be. Knows no fields.

use std::{io::Write, net::IpAddr, net::SocketAddr, time::Duration};

use crate::identity::hex;

/// Bytes of one value before escaping; the rest is cut off and `…` put in its place.
const VALUE_BYTES_MAX: usize = 4096;

/// A line in the making.
pub(super) struct Out<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    /// JSON, or else a template.
    pub(super) json: bool,
}

impl Out<'_> {
    pub(super) fn raw(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }

    /// `key` and a value behind it; neither, and `false`, where there is no value.
    #[inline]
    pub(super) fn keyed<T>(&mut self, key: &[u8], value: Option<T>, write: impl FnOnce(&mut Self, T)) -> bool {
        let Some(value) = value else { return false };
        self.raw(key);
        write(self, value);
        true
    }

    /// A word of ours, which needs no escaping.
    pub(super) fn word(&mut self, word: &str) {
        self.quoted(|out| out.raw(word.as_bytes()));
    }

    /// Text that a stranger chose.
    pub(super) fn text(&mut self, value: &str) {
        let cut = value.floor_char_boundary(VALUE_BYTES_MAX.min(value.len()));
        self.quoted(|out| {
            out.escaped(&value[..cut]);
            if cut < value.len() {
                out.raw("…".as_bytes());
            }
        });
    }

    /// Bytes that a stranger chose, perhaps not UTF-8.
    pub(super) fn bytes(&mut self, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(text) => self.text(text),
            Err(_) => self.text(&String::from_utf8_lossy(&value[..value.len().min(VALUE_BYTES_MAX + 4)])),
        }
    }

    pub(super) fn number(&mut self, value: u64) {
        // Most of a line's numbers: workers, attempts, bytes that were not sent, parts of addresses.
        if value < 10 {
            return self.bytes.push(b'0' + value as u8);
        }
        self.raw(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Milliseconds with three decimals: microseconds are as fine as anyone reads.
    pub(super) fn millis(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.number(micros / 1000);
        let rest = (micros % 1000) as u16;
        self.raw(&[b'.', digit(rest / 100), digit(rest / 10 % 10), digit(rest % 10)]);
    }

    /// Lower-case hexadecimal, `digits` wide.
    pub(super) fn hex(&mut self, value: u128, digits: usize) {
        let mut text = [0; 32];
        hex(&mut text, &value.to_be_bytes());
        self.quoted(|out| out.raw(&text[text.len() - digits..]));
    }

    pub(super) fn address(&mut self, address: IpAddr) {
        self.quoted(|out| out.plain_address(address));
    }

    pub(super) fn socket(&mut self, address: SocketAddr) {
        self.quoted(|out| match address {
            SocketAddr::V4(four) => {
                out.plain_address(IpAddr::V4(*four.ip()));
                out.raw(b":");
                out.number(four.port().into());
            }
            SocketAddr::V6(six) => out.display(six),
        });
    }

    /// `write`, between quotes in JSON.
    pub(super) fn quoted(&mut self, write: impl FnOnce(&mut Self)) {
        if self.json {
            self.bytes.push(b'"');
        }
        write(self);
        if self.json {
            self.bytes.push(b'"');
        }
    }

    fn plain_address(&mut self, address: IpAddr) {
        let IpAddr::V4(four) = address else { return self.display(address) };
        let [first, rest @ ..] = four.octets();
        self.number(first.into());
        for octet in rest {
            self.raw(b".");
            self.number(octet.into());
        }
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        write!(self.bytes, "{value}").expect("a Vec takes everything");
    }

    fn escaped(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| NEEDS_ESCAPE[usize::from(*byte)]) {
            self.raw(&rest[..at]);
            self.escape(rest[at]);
            rest = &rest[at + 1..];
        }
        self.raw(rest);
    }

    fn escape(&mut self, byte: u8) {
        let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        match byte {
            b'"' | b'\\' => self.raw(&[b'\\', byte]),
            _ if self.json => self.raw(&[b'\\', b'u', b'0', b'0', high, low]),
            _ => self.raw(&[b'\\', b'x', high, low]),
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

const fn digit(value: u16) -> u8 {
    b'0' + value as u8
}

// DEL is legal in JSON but no friend of terminals. Bytes of longer UTF-8 sequences are 0x80 and above.
const NEEDS_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = byte < 0x20 || matches!(byte as u8, b'"' | b'\\' | 0x7f);
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: bool, write: impl FnOnce(&mut Out<'_>)) -> String {
        let mut bytes = Vec::new();
        write(&mut Out { bytes: &mut bytes, json });
        String::from_utf8(bytes).expect("UTF-8, whatever was written")
    }

    #[test]
    fn values_look_as_expected() {
        for (json, template, write) in [
            ("0", "0", (|out| out.number(0)) as fn(&mut Out<'_>)),
            ("18446744073709551615", "18446744073709551615", |out| out.number(u64::MAX)),
            ("1.042", "1.042", |out| out.millis(Duration::from_nanos(1_042_999))),
            ("\"00000000000000ff\"", "00000000000000ff", |out| out.hex(255, 16)),
            ("\"10.0.1.20\"", "10.0.1.20", |out| out.address([10, 0, 1, 20].into())),
            ("\"[::1]:80\"", "[::1]:80", |out| out.socket(([0, 0, 0, 0, 0, 0, 0, 1], 80).into())),
            ("\"127.0.0.1:80\"", "127.0.0.1:80", |out| out.socket(([127, 0, 0, 1], 80).into())),
            (r#""a\"b\\c\u000ad\u007f""#, r#"a\"b\\c\x0ad\x7f"#, |out| out.text("a\"b\\c\nd\u{7f}")),
            ("\"Ä\u{fffd}\"", "Ä\u{fffd}", |out| out.bytes(b"\xc3\x84\xff")),
        ] {
            assert_eq!(written(true, write), json);
            assert_eq!(written(false, write), template);
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let text = written(false, |out| out.text(&"Ä".repeat(5000)));
        assert_eq!(text, "Ä".repeat(VALUE_BYTES_MAX / 2) + "…");
        let lossy = written(false, |out| out.bytes(&[0xff; 9000]));
        assert!(lossy.len() <= VALUE_BYTES_MAX + 8 && lossy.ends_with('…'), "{}", lossy.len());
    }
}
