//! How endpoints are found and chosen. Knows nothing of how that is done.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Entries, Field, OneOrMany, Percent, Period, Text};

/// `HOST:PORT`, or a map with a weight.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum EndpointForm {
    Text(String),
    Map(Endpoint),
}

/// One endpoint of an upstream, or a name that leads to several: `address` or `srv`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Endpoint {
    /// `HOST:PORT`, the host an IP address or a DNS name.
    pub(crate) address: Field<String>,
    /// A name with SRV records, such as `_http._tcp.users.internal`: every address of every target is an endpoint, with
    /// the record's port, weight and priority.
    pub(crate) srv: Field<String>,
    /// What the addresses of a DNS name are: `any`: one endpoint, the addresses tried in turn; `each`: an endpoint each.
    #[schemars(extend("x-default" = "any; with `srv`: each"))]
    pub(crate) resolve: Field<Resolve>,
    /// Its share; 0 takes none but the clients that are bound to it.
    #[schemars(extend("x-default" = "1"))]
    pub(crate) weight: Field<u32>,
    /// The least number that has a usable endpoint takes everything.
    #[schemars(extend("x-default" = "0; with `srv`: that of the record"))]
    pub(crate) priority: Field<u16>,
    /// The zone that it is in. Those in the gateway's own zone are preferred.
    pub(crate) zone: Field<String>,
}

/// What the addresses of a DNS name are.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Resolve {
    Any,
    Each,
}

/// A policy, or one with its settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum BalanceForm {
    Text(Policy),
    Map(Box<Balance>),
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Policy {
    RoundRobin,
    LeastRequest,
    PeakEwma,
}

/// A policy with its settings: `hash` or `peak-ewma`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Balance {
    /// Requests with the same key go to the same endpoint. `client-ip`, `path`, or a map of one of `header`, `cookie`
    /// and `query` to a name; of a list, the first that the request has.
    pub(crate) hash: Field<HashForm>,
    /// With `hash`: how much more than the average of all endpoints one may have under way before the next one takes the
    /// request, such as `125%`.
    #[schemars(extend("x-default" = "no bound"))]
    pub(crate) load_max: Field<Percent>,
    /// The one of two at random that is expected to answer first, by the times it took lately and what it has under way.
    pub(crate) peak_ewma: Field<PeakEwma>,
}

/// Settings of `peak-ewma`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct PeakEwma {
    /// How long a slow answer counts.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) decay: Field<Period>,
}

/// One source of a key, or a list of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum HashForm {
    Text(HashWord),
    Map(HashName),
    List(Vec<Field<HashSource>>),
}

/// One source of a key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum HashSource {
    Text(HashWord),
    Map(HashName),
}

/// A source that needs no name.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum HashWord {
    ClientIp,
    Path,
}

/// A source with a name; exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct HashName {
    /// The value of this header field.
    pub(crate) header: Field<String>,
    /// The value of this cookie.
    pub(crate) cookie: Field<String>,
    /// The value of this query parameter.
    pub(crate) query: Field<String>,
}

/// Passive ejection: an endpoint that fails takes nothing for a while.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Ejection {
    /// Failures and answers with 5xx in a row; 0 is off.
    #[schemars(extend("x-default" = "5"))]
    pub(crate) consecutive_errors: Field<u32>,
    /// Failures and answers with 502, 503 or 504 in a row; 0 is off.
    #[schemars(extend("x-default" = "0"))]
    pub(crate) consecutive_gateway_errors: Field<u32>,
    /// Ejects those that succeed much less often than the others; off where this is not given.
    pub(crate) success_rate: Field<SuccessRate>,
    /// How often success rates are compared, and how long an endpoint must do well for one ejection to be forgotten.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) interval: Field<Period>,
    /// How long the first ejection lasts; the second lasts twice as long, and so on.
    #[schemars(extend("x-default" = "30s"))]
    pub(crate) base_time: Field<Period>,
    /// No ejection lasts longer.
    #[schemars(extend("x-default" = "5m"))]
    pub(crate) time_max: Field<Period>,
    /// The share of the endpoints that may be out at once, rounded down, but one at least.
    #[schemars(extend("x-default" = "50%"))]
    pub(crate) percent_max: Field<Percent>,
}

/// Comparison of success rates.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct SuccessRate {
    /// How many standard deviations below the average is too low.
    #[schemars(extend("x-default" = "1.9"))]
    pub(crate) deviations: Field<Text>,
    /// An endpoint with fewer requests in the interval is not looked at.
    #[schemars(extend("x-default" = "100"))]
    pub(crate) requests_min: Field<Count>,
    /// With fewer endpoints that have enough requests, none is ejected.
    #[schemars(extend("x-default" = "5"))]
    pub(crate) endpoints_min: Field<Count>,
}

/// Active health checks: HTTP with `path`, `grpc` or `tcp`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct HealthCheck {
    /// HTTP: what is asked for.
    pub(crate) path: Field<String>,
    /// HTTP: the method.
    #[schemars(extend("x-default" = "GET"))]
    pub(crate) method: Field<String>,
    /// HTTP and gRPC: the host that is asked for.
    #[schemars(extend("x-default" = "the endpoint's address"))]
    pub(crate) host: Field<String>,
    /// HTTP: which statuses are good: one, a range such as `200-299`, or a list of them.
    #[schemars(extend("x-default" = "200-399"))]
    pub(crate) status: Field<OneOrMany<Text>>,
    /// HTTP: further header fields.
    pub(crate) headers: Field<Entries<Text>>,
    /// The gRPC health protocol (`grpc.health.v1.Health/Check`), over HTTP/2.
    pub(crate) grpc: Field<GrpcCheck>,
    /// A connection is enough (with TLS, its handshake).
    #[schemars(extend("x-default" = "false"))]
    pub(crate) tcp: Field<bool>,
    /// Another port than the endpoint's own.
    pub(crate) port: Field<u16>,
    /// Between two checks.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) interval: Field<Period>,
    /// Between two checks of an endpoint that is unhealthy.
    #[schemars(extend("x-default" = "as `interval`"))]
    pub(crate) unhealthy_interval: Field<Period>,
    /// Each interval is up to this much longer, at random, so that not all are asked at once.
    #[schemars(extend("x-default" = "10%"))]
    pub(crate) jitter: Field<Percent>,
    /// Until an answer.
    #[schemars(extend("x-default" = "1s"))]
    pub(crate) timeout: Field<Period>,
    /// Failures in a row until it is unhealthy.
    #[schemars(extend("x-default" = "3"))]
    pub(crate) unhealthy_after: Field<u32>,
    /// Successes in a row until it is healthy again.
    #[schemars(extend("x-default" = "2"))]
    pub(crate) healthy_after: Field<u32>,
    /// What an endpoint is before its first check. From `unhealthy`, one success is enough.
    #[schemars(extend("x-default" = "healthy"))]
    pub(crate) initially: Field<Initially>,
}

/// The gRPC health protocol.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct GrpcCheck {
    /// The service that is asked about; the server as a whole where this is empty.
    #[schemars(extend("x-default" = ""))]
    pub(crate) service: Field<String>,
}

/// What an endpoint is before its first check.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Initially {
    Healthy,
    Unhealthy,
}

/// Binds a client to the endpoint that answered it first, by a cookie.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Affinity {
    /// The cookie's name.
    #[schemars(extend("x-default" = "tidegate-affinity"))]
    pub(crate) cookie: Field<String>,
    /// How long the client keeps it; for its session where this is not given.
    pub(crate) ttl: Field<Period>,
    /// The cookie's path.
    #[schemars(extend("x-default" = "/"))]
    pub(crate) path: Field<String>,
    /// The cookie's `SameSite`.
    #[schemars(extend("x-default" = "lax"))]
    pub(crate) same_site: Field<SameSite>,
    /// Whether the cookie is for encrypted connections only.
    #[schemars(extend("x-default" = "where the client's own request was encrypted"))]
    pub(crate) secure: Field<bool>,
    /// What the cookie's value is made with, so that nobody can find an endpoint's address by trying:
    /// `${env:NAME}` or `${file:PATH}`. The same for all gateways in front of the same endpoints.
    pub(crate) secret: Field<Text>,
}

/// The `SameSite` attribute of a cookie.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum SameSite {
    Strict,
    Lax,
    None,
}

/// How DNS names are resolved.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Dns {
    /// Name servers, as `ADDRESS` or `ADDRESS:PORT`, asked in turn.
    #[schemars(extend("x-default" = "those of the system, with its hosts file and search list"))]
    pub(crate) servers: Field<Vec<Field<String>>>,
    /// A name is asked for again after the time that its records say, but not sooner than this.
    #[schemars(extend("x-default" = "1s"))]
    pub(crate) ttl_min: Field<Period>,
    /// And not later than this.
    #[schemars(extend("x-default" = "5m"))]
    pub(crate) ttl_max: Field<Period>,
    /// Until an answer of one name server.
    #[schemars(extend("x-default" = "2s"))]
    pub(crate) timeout: Field<Period>,
}
