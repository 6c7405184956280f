//! Upstreams. Knows nothing of connections.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Breaker, Count, Field, Hedge, Limit, Period, Protocol, Queue, Retry, Size, UpstreamHttp2, UpstreamTls};

/// A set of endpoints that serve the same thing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Upstream {
    /// `HOST:PORT`, or a map with `address` and `weight`. Required, at least one.
    pub(crate) endpoints: Field<Vec<Field<EndpointForm>>>,
    /// TLS to each of them; none where this is not given.
    pub(crate) tls: Field<UpstreamTls>,
    /// What is spoken: `auto`: over TLS what both ends agree on (ALPN), HTTP/2 first, without TLS HTTP/1.1; `http1`;
    /// `h2`: HTTP/2 over TLS; `h2c`: HTTP/2 without TLS.
    #[schemars(extend("x-default" = "auto"))]
    pub(crate) protocol: Field<Protocol>,
    /// How HTTP/2 is spoken, where it is.
    pub(crate) http2: Field<UpstreamHttp2>,
    /// How an endpoint is chosen: `round-robin`: each in turn, by weight; `least-request`: the less busy of two at
    /// random.
    #[schemars(extend("x-default" = "round-robin"))]
    pub(crate) balance: Field<Balance>,
    /// Active health checks; none where this is not given.
    pub(crate) health_check: Field<HealthCheck>,
    /// Until a connection stands.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) connect_timeout: Field<Period>,
    /// From the request sent to the response head. Over it: 504.
    #[schemars(extend("x-default" = "60s"))]
    pub(crate) response_timeout: Field<Period>,
    /// Between two reads of a response body.
    #[schemars(extend("x-default" = "60s"))]
    pub(crate) idle_timeout: Field<Period>,
    /// Of one try, from its connection to the last byte of its response. Over it: 504, or the response breaks off.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) try_timeout: Field<Limit<Period>>,
    /// When a request is sent again; without it, only where it reached no endpoint.
    pub(crate) retry: Field<Retry>,
    /// Further tries where the first is slow; none where this is not given.
    pub(crate) hedge: Field<Hedge>,
    /// How long an unused connection is kept.
    #[schemars(extend("x-default" = "60s"))]
    pub(crate) pool_idle_timeout: Field<Period>,
    /// Unused connections kept to each endpoint, in the whole process.
    #[schemars(extend("x-default" = "256"))]
    pub(crate) pool_idle_max: Field<Count>,
    /// Open connections to each endpoint, in the whole process. Over it: 503.
    #[schemars(extend("x-default" = "10000"))]
    pub(crate) connections_max: Field<Count>,
    /// Requests under way at once, in the whole process. Over it they wait in the `queue`, or get 503.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) requests_max: Field<Limit<Count>>,
    /// Where requests over `requests-max` wait; none where this is not given.
    pub(crate) queue: Field<Queue>,
    /// Refuses requests at once while the upstream fails; none where this is not given.
    pub(crate) breaker: Field<Breaker>,
    /// The response head. Over it: 502.
    #[schemars(extend("x-default" = "64KiB"))]
    pub(crate) response_head_bytes_max: Field<Size>,
    /// Whether the client's `Host` is passed on; otherwise the endpoint's address is sent.
    #[schemars(extend("x-default" = "true"))]
    pub(crate) preserve_host: Field<bool>,
}

/// `HOST:PORT`, or a map with a weight.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum EndpointForm {
    Text(String),
    Map(Endpoint),
}

/// One address of an upstream, with a weight.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Endpoint {
    /// `HOST:PORT`, the host an IP address or a DNS name. Required.
    pub(crate) address: Field<String>,
    /// Its share; 0 takes none.
    #[schemars(extend("x-default" = "1"))]
    pub(crate) weight: Field<u32>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Balance {
    RoundRobin,
    LeastRequest,
}

/// Active health checks with GET requests; 2xx and 3xx are healthy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct HealthCheck {
    /// What is asked for. Required.
    pub(crate) path: Field<String>,
    /// Between two checks.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) interval: Field<Period>,
    /// Until an answer.
    #[schemars(extend("x-default" = "1s"))]
    pub(crate) timeout: Field<Period>,
    /// Failures in a row until it is unhealthy.
    #[schemars(extend("x-default" = "3"))]
    pub(crate) unhealthy_after: Field<u32>,
    /// Successes in a row until it is healthy again.
    #[schemars(extend("x-default" = "2"))]
    pub(crate) healthy_after: Field<u32>,
}
