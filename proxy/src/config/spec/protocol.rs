//! What is spoken to the endpoints of an upstream. Knows nothing of connections.

use std::time::Duration;

use serde::Serialize;

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// What ALPN agrees on over TLS; HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, over TLS, and nothing else.
    H2,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113 section 3.3).
    H2c,
}

/// How HTTP/2 is spoken to endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamHttp2 {
    /// Streams at a time on one connection. Over it: another connection.
    pub streams_max: usize,
    /// Silence on a connection with open streams until a PING is sent.
    pub ping_after: Duration,
    /// Until the answer to a PING.
    pub ping_timeout: Duration,
}

impl Default for UpstreamHttp2 {
    fn default() -> Self {
        Self { streams_max: 128, ping_after: Duration::from_secs(10), ping_timeout: Duration::from_secs(10) }
    }
}
