//! How endpoints are found and chosen, checked. Knows nothing of how that is done.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use serde::{Serialize, Serializer};

use super::Secret;

/// One endpoint of an upstream, or a name that leads to several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// `host:port`, the host an address or a DNS name; for [`Resolve::Srv`], the name that has the records.
    pub address: String,
    /// What the address stands for.
    pub resolve: Resolve,
    /// 0 takes none.
    pub weight: u32,
    /// The least that has a usable endpoint takes everything; that of the record, for [`Resolve::Srv`], where `None`.
    pub priority: Option<u16>,
    /// The zone that it is in.
    pub zone: Option<String>,
}

/// What the address of an endpoint stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Resolve {
    /// One endpoint, whatever its name resolves to.
    #[default]
    Any,
    /// An endpoint for each address that its name resolves to.
    Each,
    /// An endpoint for each address of each target of its SRV records.
    Srv,
}

impl Endpoint {
    /// An endpoint with every default.
    pub fn new(address: String) -> Self {
        Self { address, resolve: Resolve::Any, weight: 1, priority: None, zone: None }
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Balance {
    /// Each in turn, by weight.
    RoundRobin,
    /// The less busy of two at random.
    LeastRequest,
    /// The one of two at random that is expected to answer first.
    PeakEwma {
        /// How long a slow answer counts.
        decay: Duration,
    },
    /// The same endpoint for the same key.
    Hash {
        /// Where the key is looked for, in order.
        keys: Vec<HashKey>,
        /// How many percent of the average one may have under way.
        load_percent_max: Option<u32>,
    },
}

/// Where the key of a request is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum HashKey {
    /// The value of a header field.
    Header(#[serde(serialize_with = "name")] HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The value of a query parameter, as it was sent.
    Query(String),
    /// The client's address.
    ClientIp,
    /// The path, without the query.
    Path,
}

/// When all endpoints are used, healthy or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Panic {
    /// Never: where none is healthy, requests fail.
    Never,
    /// Where fewer than this many percent are healthy, or none is.
    Below(u32),
}

/// Passive ejection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ejection {
    /// Failures and 5xx in a row; 0 is off.
    pub consecutive_errors: u32,
    /// Failures, 502, 503 and 504 in a row; 0 is off.
    pub consecutive_gateway_errors: u32,
    /// Comparison of success rates.
    pub success_rate: Option<SuccessRate>,
    /// How often rates are compared.
    pub interval: Duration,
    /// How long the first ejection lasts.
    pub base_time: Duration,
    /// How long any lasts at most.
    pub time_max: Duration,
    /// The share that may be out.
    pub percent_max: u32,
}

/// Comparison of success rates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuccessRate {
    /// Thousandths of a standard deviation below the average that are too low.
    pub deviations_thousandths: u32,
    /// Fewer requests in the interval say nothing.
    pub requests_min: u64,
    /// Fewer endpoints with enough requests are not compared.
    pub endpoints_min: usize,
}

/// An active health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Another port than the endpoint's own.
    pub port: Option<u16>,
    /// Between two checks.
    pub interval: Duration,
    /// Between two checks of an unhealthy endpoint.
    pub unhealthy_interval: Duration,
    /// How many percent longer an interval may be.
    pub jitter_percent: u32,
    /// Until an answer.
    pub timeout: Duration,
    /// Failures in a row until it is unhealthy.
    pub unhealthy_after: u32,
    /// Successes in a row until it is healthy again.
    pub healthy_after: u32,
    /// What an endpoint is before its first check.
    pub initially_healthy: bool,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Probe {
    /// An HTTP/1.1 request.
    Http {
        /// Path and query.
        path: String,
        /// The method.
        #[serde(serialize_with = "method_name")]
        method: Method,
        /// The `Host`, where it is not the endpoint's address.
        host: Option<String>,
        /// Ranges of good statuses, both ends included.
        status: Vec<(u16, u16)>,
        /// Further fields.
        #[serde(serialize_with = "pairs")]
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service; the whole server where it is empty.
        service: String,
        /// The `:authority`, where it is not the endpoint's address.
        host: Option<String>,
    },
    /// A connection.
    Tcp,
}

/// What binds a client to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Affinity {
    /// The cookie's name.
    pub cookie: String,
    /// What follows its value: `; Path=/; …`, without `Secure`.
    pub attributes: String,
    /// Whether it is `Secure`; by the client's connection where `None`.
    pub secure: Option<bool>,
    /// What its value is made with. Its hash is part of the identity.
    #[serde(serialize_with = "hashed")]
    pub secret: Option<Secret>,
    /// How it is rendered.
    pub ttl: Option<Duration>,
    /// The cookie's path.
    pub path: String,
    /// `strict`, `lax` or `none`.
    pub same_site: &'static str,
}

/// How DNS names are resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Dns {
    /// Name servers; the system's where empty.
    pub servers: Vec<SocketAddr>,
    /// Answers hold so long at least.
    pub ttl_min: Duration,
    /// And so long at most.
    pub ttl_max: Duration,
    /// Until an answer of one server.
    pub timeout: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
        }
    }
}

fn name<S: Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

fn method_name<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}

fn pairs<S: Serializer>(fields: &[(HeaderName, HeaderValue)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

// A secret is never serialised, and another one is another configuration.
fn hashed<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(Secret(text)) => serializer.collect_str(&crate::identity::Identity::of_bytes(text.as_bytes())),
        None => serializer.serialize_none(),
    }
}
