//! Listeners: address, policies, limits and timeouts. Knows nothing of sockets.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::Serialize;

use super::{HostPattern, Http3, ListenerTls, Name, ProxyProtocol};

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// The port that clients connect to, where something before the gateway maps it to that of `address`.
    pub public_port: Option<u16>,
    /// Its parts by host, by their whole names (`web/shop`); none where the routes of the listener are one table.
    pub sections: BTreeMap<Name, Section>,
    /// TLS; none where clients speak without.
    pub tls: Option<ListenerTls>,
    /// HTTP/3; none where only TCP is listened on.
    pub http3: Option<Http3>,
    /// PROXY protocol in front of everything else; none where connections come as they are.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Steps around every exchange of this listener, inside the gateway's.
    pub middleware: Vec<Name>,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether responses carry `tidegate-generation`.
    pub generation_header: bool,
    /// How paths are normalised.
    pub path: PathPolicy,
    /// Limits and timeouts.
    pub limits: Limits,
}

/// A part of a listener: the requests for some hosts, which only its own routes serve and those of the whole listener
/// (Gateway API `Listener`, with the isolation that it asks for).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Whose requests it takes, unless another section is more specific; all others' where `None`.
    pub host: Option<HostPattern>,
    /// Steps around every exchange of this section, inside the listener's.
    pub middleware: Vec<Name>,
}

/// How a request path is normalised before it is routed; what is routed is what is forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathPolicy {
    /// `.` and `..` segments, plain or percent-encoded.
    pub dot_segments: Treatment,
    /// Empty segments (`//`).
    pub empty_segments: Treatment,
    /// `%2f` and `%5c`, and a bare backslash.
    pub encoded_slashes: Treatment,
    /// `%00` and other encoded control characters.
    pub encoded_controls: Treatment,
}

/// What to do with a suspicious piece of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Treatment {
    /// Resolve, merge or decode it, route and forward the result.
    Normalize,
    /// Answer 400.
    Reject,
    /// Leave it as it is.
    Keep,
}

/// Limits and timeouts of a listener; every one of them holds for each connection or exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Open connections of this listener, in the whole process.
    pub connections_max: usize,
    /// Request line and header fields. Over it: 431.
    pub head_bytes_max: usize,
    /// Fields in a request. Over it: 431.
    pub headers_max: usize,
    /// The request target. Over it: 414.
    pub uri_bytes_max: usize,
    /// Request body; `None` is unlimited. Over it: 413.
    pub body_bytes_max: Option<u64>,
    /// From the first byte of a head to its last; over it: 408.
    pub head_timeout: Duration,
    /// Between two reads of a request body; over it: 408.
    pub body_idle_timeout: Duration,
    /// Between two writes that the client takes; over it the connection is closed.
    pub write_idle_timeout: Duration,
    /// Between two requests on a connection.
    pub keep_alive_timeout: Duration,
    /// Requests on one connection before it is closed after a response; `None` is unlimited.
    pub requests_per_connection_max: Option<u64>,
    /// Without a byte in either direction of a tunnel.
    pub tunnel_idle_timeout: Duration,
    /// HTTP/2 streams open at a time on one connection.
    pub streams_max: u32,
    /// HTTP/2 streams that a client may reset in a row of 30 s, beyond those that ended, before the connection is
    /// closed (rapid reset).
    pub resets_max: u32,
    /// HTTP/2 control frames (PING, SETTINGS, PRIORITY, empty DATA, CONTINUATION) in 10 s before the connection is
    /// closed.
    pub control_frames_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            head_bytes_max: 64 * 1024,
            headers_max: 100,
            uri_bytes_max: 16 * 1024,
            body_bytes_max: None,
            head_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(60),
            write_idle_timeout: Duration::from_secs(60),
            keep_alive_timeout: Duration::from_secs(75),
            requests_per_connection_max: None,
            tunnel_idle_timeout: Duration::from_secs(3600),
            streams_max: 128,
            resets_max: 200,
            control_frames_max: 1000,
        }
    }
}

impl Default for PathPolicy {
    fn default() -> Self {
        Self {
            dot_segments: Treatment::Normalize,
            empty_segments: Treatment::Normalize,
            encoded_slashes: Treatment::Reject,
            encoded_controls: Treatment::Reject,
        }
    }
}
