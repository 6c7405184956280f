//! Upstreams: endpoints, balance, health checks. Knows nothing of connections.

use std::time::Duration;

use serde::Serialize;

use super::{Breaker, Hedge, Protocol, Queue, Retry, UpstreamHttp2, UpstreamTls};

/// A set of endpoints that serve the same thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upstream {
    /// In the order written.
    pub endpoints: Vec<Endpoint>,
    /// TLS to each of them; none where they speak without.
    pub tls: Option<UpstreamTls>,
    /// What is spoken to them.
    pub protocol: Protocol,
    /// How HTTP/2 is spoken, where it is.
    pub http2: UpstreamHttp2,
    /// How one is chosen.
    pub balance: Balance,
    /// Active health checks.
    pub health_check: Option<HealthCheck>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// From the request sent to the response head.
    pub response_timeout: Duration,
    /// Between two reads of a response body.
    pub idle_timeout: Duration,
    /// Of one try, to the last byte of its response; `None` is unlimited.
    pub try_timeout: Option<Duration>,
    /// When a request is sent again, beyond what is always safe.
    pub retry: Option<Retry>,
    /// Further tries where the first is slow.
    pub hedge: Option<Hedge>,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept to each endpoint, in the whole process.
    pub pool_idle_max: usize,
    /// Open connections to each endpoint, in the whole process. Over it: 503.
    pub connections_max: usize,
    /// Requests under way at once, in the whole process; `None` is unlimited.
    pub requests_max: Option<usize>,
    /// Where requests over that wait.
    pub queue: Option<Queue>,
    /// When it is spared for a while.
    pub breaker: Option<Breaker>,
    /// Response head. Over it: 502.
    pub response_head_bytes_max: usize,
    /// Whether the client's `Host` is passed on (otherwise the endpoint's address is sent).
    pub preserve_host: bool,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// `host:port`, the host an address or a DNS name.
    pub address: String,
    /// 0 takes none.
    pub weight: u32,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Balance {
    /// Each in turn, by weight.
    RoundRobin,
    /// The less busy of two at random.
    LeastRequest,
}

/// An active health check over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthCheck {
    /// What is asked for with GET.
    pub path: String,
    /// Between two checks.
    pub interval: Duration,
    /// Until an answer.
    pub timeout: Duration,
    /// Failures in a row until it is unhealthy.
    pub unhealthy_after: u32,
    /// Successes in a row until it is healthy again.
    pub healthy_after: u32,
}
