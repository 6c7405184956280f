//! What the upstream is told of the client: `X-Forwarded-*`, `Forwarded` (RFC 7239) and `Via`, and whose word about it
//! is believed. A peer that is not a trusted proxy is believed nothing: what it says is replaced. Values that are the
//! same for every request of a connection are made once.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use ipnet::IpNet;

use super::authority::Known;
use crate::{
    config::spec::Listener,
    exchange::{Authority, Connection, Told},
};

/// What a connection's peer is believed, and what is said of it.
#[derive(Debug)]
pub(super) struct Trust {
    // Whether the peer is a trusted proxy.
    proxy: bool,
    peer: HeaderValue,
    port: HeaderValue,
    proto: &'static str,
    // `for="[2001:db8::1]"`, as `Forwarded` writes the peer.
    node: String,
    // The field that says who the client is by its certificate, and what it says.
    client: Option<(HeaderName, Option<HeaderValue>)>,
}

impl Trust {
    /// What `listener` believes the peer of `connection`.
    pub(super) fn new(connection: &Connection, listener: &Listener) -> Self {
        let peer = canonical(connection.peer.ip());
        let text = |text: String| HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits, dots and colons");
        Self {
            proxy: is_trusted(peer, &listener.trusted_proxies),
            peer: text(peer.to_string()),
            port: text(connection.local.port().to_string()),
            proto: if connection.secure { "https" } else { "http" },
            node: match peer {
                IpAddr::V4(peer) => format!("for={peer}"),
                IpAddr::V6(peer) => format!("for=\"[{peer}]\""),
            },
            client: told_of_client(connection, listener),
        }
    }

    /// The client's address and whether its own request was encrypted: the peer's, or what a chain of trusted proxies
    /// says, from the nearest one back to the first address that is not trusted.
    pub(super) fn origin(&self, connection: &Connection, headers: &HeaderMap, proxies: &[IpNet]) -> (IpAddr, bool) {
        let peer = canonical(connection.peer.ip());
        if !self.proxy {
            return (peer, connection.secure);
        }
        if headers.contains_key(&FOR) {
            let client = client(peer, elements(headers, &FOR).map(address), proxies);
            let proto = elements(headers, &PROTO).next().map_or(connection.secure, is_https);
            return (client, proto);
        }
        let hops = elements(headers, &header::FORWARDED).map(|element| parameter(element, "for").and_then(address));
        let proto = elements(headers, &header::FORWARDED).next().and_then(|element| parameter(element, "proto"));
        (client(peer, hops, proxies), proto.map_or(connection.secure, is_https))
    }

    /// Whether all that the upstream is told is the same for each request of the connection to one host, whatever the client
    /// says.
    pub(super) const fn is_plain(&self) -> bool {
        !self.proxy && self.client.is_none()
    }

    /// What the upstream is told where the peer is no proxy that is trusted.
    pub(super) fn told(&self, known: &Known, version: Version) -> Told {
        Told::new([
            (FOR.clone(), self.peer.clone()),
            (PROTO.clone(), HeaderValue::from_static(self.proto)),
            (HOST.clone(), known.field.clone()),
            (PORT.clone(), self.port.clone()),
            (header::FORWARDED, known.forwarded.clone()),
            (header::VIA, via(version)),
        ])
    }

    /// Writes what the upstream is told.
    pub(super) fn tell(&self, headers: &mut HeaderMap, known: &Known, version: Version) {
        if self.proxy {
            self.tell_more(headers, known);
            headers.append(header::VIA, via(version));
        } else {
            known.told(self, version).spell_out(headers);
        }
        if let Some((name, value)) = &self.client {
            headers.remove(name);
            value.iter().for_each(|value| drop(headers.insert(name, value.clone())));
        }
    }

    // Behind trusted proxies what they said stays, and the peer is added.
    fn tell_more(&self, headers: &mut HeaderMap, known: &Known) {
        add(headers, &FOR, &self.peer);
        add(headers, &header::FORWARDED, &known.forwarded);
        headers.entry(&PROTO).or_insert_with(|| HeaderValue::from_static(self.proto));
        headers.entry(&HOST).or_insert_with(|| known.field.clone());
        headers.entry(&PORT).or_insert_with(|| self.port.clone());
    }

    /// The element of `Forwarded` for this peer and an authority.
    pub(super) fn element(&self, authority: &Authority) -> HeaderValue {
        let mut text = String::with_capacity(self.node.len() + authority.as_str().len() + 24);
        let quote = if authority.as_str().contains([':', '[', '~']) { "\"" } else { "" };
        write!(text, "{};host={quote}{authority}{quote};proto={}", self.node, self.proto)
            .expect("writing to a string does not fail");
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect("an authority is visible ASCII")
    }
}

/// The element of `Via` for a message that was received as `version` (RFC 9110 section 7.6.3).
pub(super) const fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_10 => HeaderValue::from_static("1.0 tidegate"),
        Version::HTTP_2 => HeaderValue::from_static("2.0 tidegate"),
        Version::HTTP_3 => HeaderValue::from_static("3.0 tidegate"),
        _ => HeaderValue::from_static("1.1 tidegate"),
    }
}

/// Whether a field of this name is one that [`Trust::told`] says something of.
pub(super) fn is_told(name: &HeaderName) -> bool {
    // Asked of every field of every request: most are told by their length.
    match name.as_str().len() {
        3 => *name == header::VIA,
        9 => *name == header::FORWARDED,
        15..=17 => [&FOR, &PROTO, &HOST, &PORT].contains(&name),
        _ => false,
    }
}

// Whoever the client is, nobody but the gateway writes this field.
fn told_of_client(connection: &Connection, listener: &Listener) -> Option<(HeaderName, Option<HeaderValue>)> {
    let clients = listener.tls.as_ref()?.client_certificates.as_ref()?;
    let name = clients.forward_header.as_ref()?.parse().ok()?;
    let client = connection.tls.as_ref().and_then(|tls| tls.client.as_ref());
    Some((name, client.and_then(|client| HeaderValue::try_from(client.forwarded()).ok())))
}

fn add(headers: &mut HeaderMap, name: &HeaderName, more: &HeaderValue) {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(more.as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(all)) {
        headers.insert(name, value);
    }
}

fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    proxies.iter().any(|net| net.contains(&address))
}

// From the nearest hop outwards; a hop that cannot be read ends what is believed.
fn client(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for hop in hops.map_while(|hop| hop) {
        client = hop;
        if !is_trusted(hop, proxies) {
            break;
        }
    }
    client
}

// The elements of a list field, over all of its lines, the last first.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().rev();
    let elements = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    elements.map(str::trim).filter(|element| !element.is_empty())
}

// A parameter of an element of `Forwarded`. A comma or semicolon within quotes makes it unreadable, so it ends there.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| found.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().trim_matches('"'))
}

// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; not `unknown`, not `_hidden`.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim_matches('"');
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let parsed = bare.parse::<IpAddr>().or_else(|_| node.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(canonical)
}

// An IPv4 address that came over an IPv6 socket is that IPv4 address.
const fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

const fn is_https(proto: &str) -> bool {
    proto.eq_ignore_ascii_case("https")
}

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

#[cfg(test)]
mod tests;
