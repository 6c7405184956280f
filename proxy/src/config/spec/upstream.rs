//! Upstreams: endpoints, balance, health checks. Knows nothing of connections.

use std::time::Duration;

use serde::Serialize;

use super::{
    Affinity, Balance, Breaker, Dns, Ejection, Endpoint, HealthCheck, Hedge, Panic, Protocol, ProxyVersion, Queue,
    Retry, UpstreamHttp2, UpstreamTls,
};

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
    /// Whether endpoints are told whose connections are, and how.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How one is chosen.
    pub balance: Balance,
    /// When all are used, healthy or not.
    pub panic: Panic,
    /// How long an endpoint that is new or back takes less than its share.
    pub slow_start: Option<Duration>,
    /// Below how many percent of healthy endpoints the own zone gives some away.
    pub zone_overflow_percent: u32,
    /// Passive ejection.
    pub ejection: Option<Ejection>,
    /// What binds clients to endpoints.
    pub affinity: Option<Affinity>,
    /// How names are resolved; as the gateway does where `None`.
    pub dns: Option<Dns>,
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

impl Upstream {
    /// Of these endpoints, with every default.
    pub fn of(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            tls: None,
            protocol: Protocol::Auto,
            proxy_protocol: None,
            http2: UpstreamHttp2::default(),
            balance: Balance::RoundRobin,
            panic: Panic::Below(0),
            slow_start: None,
            zone_overflow_percent: 70,
            ejection: None,
            affinity: None,
            dns: None,
            health_check: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            try_timeout: None,
            retry: None,
            hedge: None,
            pool_idle_timeout: Duration::from_secs(60),
            pool_idle_max: 256,
            connections_max: 10_000,
            requests_max: None,
            queue: None,
            breaker: None,
            response_head_bytes_max: 64 << 10,
            preserve_host: true,
        }
    }
}
