//! Routes. Knows nothing of how requests are matched.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Entries, Field, Hedge, Limit, OneOrMany, Period, Retry, Size, Step, Text};

/// What a request must be like, what happens to it on the way, and where it leads. Of several routes that match, the
/// most specific wins: exact path, then the longest prefix, then method, number of headers, number of query
/// parameters, then order. Exactly one of `upstream`, `target` and `targets` says where it leads; none, where a step
/// answers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Route {
    /// Its name, unique in the configuration; `route_id` is the same. Required, unless the routes are a map.
    #[serde(alias = "route_id", alias = "route-id")]
    pub(crate) id: Field<Text>,
    /// Listeners that serve it.
    #[schemars(extend("x-default" = "all"))]
    pub(crate) listeners: Field<OneOrMany<String>>,
    /// A host or a list of hosts: `api.example.com`, or `*.example.com` for every name below.
    #[schemars(extend("x-default" = "any"))]
    pub(crate) host: Field<OneOrMany<String>>,
    /// The same as `host`.
    #[schemars(extend("x-default" = "any"))]
    pub(crate) hosts: Field<OneOrMany<String>>,
    /// `/exact`, `/prefix/*`, `/users/{id}/photo`, or `~^/regular-(expression)$`; or a map with one of `exact`,
    /// `prefix`, `template`, `regex`.
    #[schemars(extend("x-default" = "`/*`"))]
    pub(crate) path: Field<PathForm>,
    /// A method or a list of methods.
    #[schemars(extend("x-default" = "any"))]
    pub(crate) method: Field<OneOrMany<String>>,
    /// The same as `method`.
    #[schemars(extend("x-default" = "any"))]
    pub(crate) methods: Field<OneOrMany<String>>,
    /// What header fields must be, all of them: a value, or a map with `exact` or `regex`.
    pub(crate) headers: Field<Entries<ValueForm>>,
    /// What query parameters must be, all of them: a value, or a map with `exact` or `regex`.
    pub(crate) query: Field<Entries<ValueForm>>,
    /// Several ways to match, any of which will do, instead of `path`, `method`, `headers` and `query`.
    pub(crate) matches: Field<Vec<Field<Match>>>,
    /// Its steps, inside the listener's: names and inline definitions.
    pub(crate) middleware: Field<OneOrMany<Step>>,
    /// The upstream that it leads to.
    pub(crate) upstream: Field<String>,
    /// An endpoint that it leads to, `HOST:PORT`, or a list of them that are used in turn. `https://HOST:PORT` is spoken to
    /// over TLS and verified by whom the system trusts; its port is 443 where none is written.
    pub(crate) target: Field<OneOrMany<String>>,
    /// Several targets by weight.
    pub(crate) targets: Field<Vec<Field<Target>>>,
    /// Of the whole exchange, to the response's last byte. Over it: 504.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) timeout: Field<Limit<Period>>,
    /// From the request sent to the response head, instead of the upstream's. Over it: 504.
    #[schemars(extend("x-default" = "the upstream's"))]
    pub(crate) response_timeout: Field<Period>,
    /// Between two reads of a response body, instead of the upstream's.
    #[schemars(extend("x-default" = "the upstream's"))]
    pub(crate) idle_timeout: Field<Period>,
    /// Of one try, from its connection to the last byte of its response, instead of the upstream's. Over it: 504.
    #[schemars(extend("x-default" = "the upstream's"))]
    pub(crate) try_timeout: Field<Limit<Period>>,
    /// When a request is sent again, instead of what the upstream says; `attempts: 0` for never.
    #[schemars(extend("x-default" = "the upstream's"))]
    pub(crate) retry: Field<Retry>,
    /// Further tries where the first is slow, instead of what the upstream says.
    #[schemars(extend("x-default" = "the upstream's"))]
    pub(crate) hedge: Field<Hedge>,
    /// Of the request body, instead of the listener's limit. Over it: 413.
    #[schemars(extend("x-default" = "the listener's"))]
    pub(crate) body_bytes_max: Field<Limit<Size>>,
}

/// One way to match: all of its conditions hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Match {
    /// As a route's `path`.
    #[schemars(extend("x-default" = "`/*`"))]
    pub(crate) path: Field<PathForm>,
    /// A method or a list of methods.
    #[schemars(extend("x-default" = "any"))]
    pub(crate) method: Field<OneOrMany<String>>,
    /// As a route's `headers`.
    pub(crate) headers: Field<Entries<ValueForm>>,
    /// As a route's `query`.
    pub(crate) query: Field<Entries<ValueForm>>,
}

/// A path in short form, or a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum PathForm {
    Text(String),
    Map(Path),
}

/// A path pattern; exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "PathPattern")]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Path {
    /// This path.
    pub(crate) exact: Field<String>,
    /// This path and what is below it, by whole segments.
    pub(crate) prefix: Field<String>,
    /// Segments, `{name}` standing for any one of them.
    pub(crate) template: Field<String>,
    /// A regular expression over the whole path.
    pub(crate) regex: Field<String>,
}

/// A value, or a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum ValueForm {
    Text(Text),
    Map(Value),
}

/// A condition on a value; exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "ValuePattern")]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Value {
    /// This value.
    pub(crate) exact: Field<Text>,
    /// A regular expression over the whole value.
    pub(crate) regex: Field<String>,
}

/// One of a route's targets: an upstream, an address, or a share that fails.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Target {
    /// An upstream.
    pub(crate) upstream: Field<String>,
    /// An endpoint, `HOST:PORT`.
    pub(crate) address: Field<String>,
    /// Its share; 0 takes none. Where all are 0, the route answers 500.
    #[schemars(extend("x-default" = "1"))]
    pub(crate) weight: Field<u32>,
    /// Its steps, inside the route's: names and inline definitions.
    pub(crate) middleware: Field<OneOrMany<Step>>,
    /// Instead of an upstream: its share is answered with this status, 500 or 503, unless one of its steps answers.
    pub(crate) fails: Field<u16>,
    /// Why it fails, for the log.
    pub(crate) because: Field<Text>,
}
