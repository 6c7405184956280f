//! Upstreams. Knows nothing of connections.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Affinity, BalanceForm, Breaker, Count, Dns, Ejection, EndpointForm, Field, HealthCheck, Hedge, Limit, Percent,
    Period, Protocol, ProxyVersion, Queue, Retry, Size, Text, UpstreamHttp2, UpstreamTls,
};

/// A set of endpoints that serve the same thing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Upstream {
    /// `HOST:PORT`, or a map with `address` or `srv` and more. Required, at least one.
    pub(crate) endpoints: Field<Vec<Field<EndpointForm>>>,
    /// TLS to each of them; none where this is not given.
    pub(crate) tls: Field<UpstreamTls>,
    /// What is spoken: `auto`: over TLS what both ends agree on (ALPN), HTTP/2 first, without TLS HTTP/1.1; `http1`;
    /// `h2`: HTTP/2 over TLS; `h2c`: HTTP/2 without TLS.
    #[schemars(extend("x-default" = "auto"))]
    pub(crate) protocol: Field<Protocol>,
    /// How HTTP/2 is spoken, where it is.
    pub(crate) http2: Field<UpstreamHttp2>,
    /// Says whose each connection is, before anything else (PROXY protocol): `v1`, a line, or `v2`, binary. A connection
    /// then serves one client connection only, in HTTP/1.1. Nothing is said where this is not given.
    pub(crate) proxy_protocol: Field<ProxyVersion>,
    /// How an endpoint is chosen: `round-robin`: each in turn, by weight; `least-request`: the less busy of two at
    /// random; `peak-ewma`: the one of two at random that is expected to answer first; a map with `hash`: the same one
    /// for the same key.
    #[schemars(extend("x-default" = "round-robin"))]
    pub(crate) balance: Field<BalanceForm>,
    /// Below this share of healthy endpoints all are used, whatever is known of them; `never`: where none is healthy,
    /// requests fail.
    #[schemars(extend("x-default" = "0%: all are used where none is healthy"))]
    pub(crate) panic_threshold: Field<Text>,
    /// How long an endpoint that is new, healthy again or back takes less than its share, which grows from a tenth.
    #[schemars(extend("x-default" = "not at all"))]
    pub(crate) slow_start: Field<Period>,
    /// Where endpoints have a `zone` and the gateway is in one (`--zone`): below this share of healthy endpoints in its
    /// own zone it gives as much to others as is lacking.
    #[schemars(extend("x-default" = "70%"))]
    pub(crate) zone_overflow_below: Field<Percent>,
    /// Passive ejection of endpoints that fail; none where this is not given.
    pub(crate) ejection: Field<Ejection>,
    /// Binds clients to endpoints with a cookie; none where this is not given.
    pub(crate) affinity: Field<Affinity>,
    /// How the DNS names of its endpoints are resolved.
    #[schemars(extend("x-default" = "as `gateway.dns`"))]
    pub(crate) dns: Field<Dns>,
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
