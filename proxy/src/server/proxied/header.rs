//! The header of the PROXY protocol, versions 1 and 2, as its specification of 2020 (revision 2.2.1 and its errata) has
//! it. Pure: says of the bytes at hand what they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The beginning of a header, perhaps.
    More,
    /// No header.
    Absent,
    /// A header that is not well-formed; what is wrong with it.
    Malformed(&'static str),
    /// A header that is longer than it may be.
    TooLong,
    /// A header.
    Header(Header),
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// How many bytes it takes.
    pub(super) length: usize,
    /// 1 or 2.
    pub(super) version: u8,
    /// Where the connection comes from and which address it was made to; none where the proxy speaks for itself (`LOCAL`)
    /// or does not know (`UNKNOWN`, a socket of the file system).
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Judges `bytes`, the first of a connection. A header of more than `bytes_max` bytes is too long.
pub(super) fn read(bytes: &[u8], bytes_max: usize) -> Verdict {
    if begins(bytes, SIGNATURE) {
        return if bytes.len() < FIXED_BYTES { Verdict::More } else { version2(bytes, bytes_max) };
    }
    if begins(bytes, WORD) {
        return if bytes.len() < WORD.len() { Verdict::More } else { version1(bytes) };
    }
    Verdict::Absent
}

// Whether one of both is the beginning of the other.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let common = bytes.len().min(with.len());
    bytes[..common] == with[..common]
}

fn version1(bytes: &[u8]) -> Verdict {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        let broken = line.contains(&b'\n') || bytes.len() >= LINE_BYTES_MAX;
        return if broken { Verdict::Malformed("its line has no end") } else { Verdict::More };
    };
    let Ok(text) = std::str::from_utf8(&line[WORD.len()..end]) else {
        return Verdict::Malformed("its line is not ASCII");
    };
    let header = |addresses| Verdict::Header(Header { length: end + 2, version: 1, addresses });
    // Whatever follows is of no meaning.
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return header(None);
    }
    let mut words = text.split(' ');
    let read: fn(&str) -> Option<IpAddr> = match words.next() {
        Some("TCP4") => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Verdict::Malformed("it names neither TCP4 nor TCP6 nor UNKNOWN"),
    };
    let mut address = || read(words.next()?);
    let (from, to) = (address(), address());
    let mut port = || port(words.next()?);
    match (from, to, port(), port(), words.next()) {
        (Some(from), Some(to), Some(from_port), Some(to_port), None) => {
            header(Some((SocketAddr::new(from, from_port), SocketAddr::new(to, to_port))))
        }
        _ => Verdict::Malformed("it is not two addresses and two ports"),
    }
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn version2(bytes: &[u8], bytes_max: usize) -> Verdict {
    let (command, family) = (bytes[SIGNATURE.len()], bytes[SIGNATURE.len() + 1]);
    let told = usize::from(u16::from_be_bytes([bytes[SIGNATURE.len() + 2], bytes[SIGNATURE.len() + 3]]));
    let length = FIXED_BYTES + told;
    let header = |addresses| Verdict::Header(Header { length, version: 2, addresses });
    match command {
        _ if length > bytes_max => return Verdict::TooLong,
        0x20 | 0x21 if bytes.len() < length => return Verdict::More,
        // The proxy's own connection, a health check perhaps: whatever it says of addresses is of no meaning.
        0x20 => return header(None),
        0x21 => {}
        _ => return Verdict::Malformed("its version or command is not known"),
    }
    let block = &bytes[FIXED_BYTES..length];
    let addresses = match family {
        // Not said, and sockets of the file system.
        0x00 | 0x31 | 0x32 => return header(None),
        0x11 | 0x12 => pair::<4>(block),
        0x21 | 0x22 => pair::<16>(block),
        _ => return Verdict::Malformed("its address family is not known"),
    };
    // What is behind the addresses (type, length, value) is left alone.
    addresses.map_or(Verdict::Malformed("it is too short for its addresses"), |pair| header(Some(pair)))
}

fn pair<const N: usize>(block: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let address = |at: usize| Some(IpAddr::from(<[u8; N]>::try_from(block.get(at..at + N)?).ok()?));
    let port = |at: usize| Some(u16::from_be_bytes([*block.get(at)?, *block.get(at + 1)?]));
    let from = SocketAddr::new(address(0)?, port(2 * N)?);
    Some((from, SocketAddr::new(address(N)?, port(2 * N + 2)?)))
}

const WORD: &[u8] = b"PROXY ";
// With its end; nothing that is well-formed is longer.
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
// The signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

#[cfg(test)]
mod tests;
