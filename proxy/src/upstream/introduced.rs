//! Whose connection it is, said to an endpoint before anything else (PROXY protocol, revision 2.2.1). Pure.

use std::net::{IpAddr, SocketAddr};

use crate::{config::spec::ProxyVersion, exchange::Exchange};

/// The header for the client of `exchange`: its address behind trusted proxies, with its port where that is known, and the
/// address that it connected to.
pub(super) fn header(version: ProxyVersion, exchange: &Exchange) -> Box<[u8]> {
    let connection = &exchange.connection;
    let known = exchange.client == connection.peer.ip().to_canonical();
    let client = SocketAddr::new(exchange.client, if known { connection.peer.port() } else { 0 });
    let local = SocketAddr::new(connection.local.ip().to_canonical(), connection.local.port());
    match version {
        ProxyVersion::V1 => line(client, local).into_bytes().into(),
        ProxyVersion::V2 => block(client, local).into(),
    }
}

/// The header of a connection of the gateway's own, such as a health check.
pub(super) const fn local(version: ProxyVersion) -> &'static [u8] {
    match version {
        ProxyVersion::V1 => b"PROXY UNKNOWN\r\n",
        ProxyVersion::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    }
}

// Section 2.1.
fn line(client: SocketAddr, local: SocketAddr) -> String {
    let (from, to) = same_family(client.ip(), local.ip());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port())
}

// Section 2.2.
fn block(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (from, to) = same_family(client.ip(), local.ip());
    let (family, addresses) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
        (from, to) => (0x21, [octets(from), octets(to)].concat()),
    };
    let length = addresses.len() as u16 + 4;
    let mut block = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    block.push(family);
    block.extend(length.to_be_bytes());
    block.extend(addresses);
    block.extend(client.port().to_be_bytes());
    block.extend(local.port().to_be_bytes());
    block
}

// Both are of one family: where they are not, IPv4 is written as IPv6 (RFC 4291 section 2.5.5.2).
fn same_family(from: IpAddr, to: IpAddr) -> (IpAddr, IpAddr) {
    if from.is_ipv4() == to.is_ipv4() {
        return (from, to);
    }
    (IpAddr::from(octets(from)), IpAddr::from(octets(to)))
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn lines_and_blocks_are_those_of_the_specification() {
        let (client, local) = (at("192.0.2.1:4660"), at("192.0.2.2:443"));
        assert_eq!(line(client, local), "PROXY TCP4 192.0.2.1 192.0.2.2 4660 443\r\n");
        let expected = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 1, 0xbb]];
        assert_eq!(block(client, local), expected.concat());
        assert_eq!(line(at("[2001:db8::1]:1"), at("[::1]:2")), "PROXY TCP6 2001:db8::1 ::1 1 2\r\n");
        assert_eq!(block(at("[2001:db8::1]:1"), at("[::1]:2")).len(), 16 + 36);
        assert_eq!(line(client, at("[::1]:443")), "PROXY TCP6 ::ffff:192.0.2.1 ::1 4660 443\r\n");
    }
}
