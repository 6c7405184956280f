//! The `gateway` section. Knows nothing of what its settings do.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Dns, Field, Limit, Manifests, Modules, Period, Step, Tracing};

/// Settings of the whole gateway. `workers`, `admin` and `guest-slots` are settings of the process: a change needs a
/// restart. Only one document of a layer may define any one of these fields.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Gateway {
    /// Steps around every exchange, the first is the outermost.
    pub(crate) middleware: Field<Vec<Field<Step>>>,
    /// Worker threads.
    #[schemars(extend("x-default" = "one a core"))]
    pub(crate) workers: Field<Count>,
    /// The admin endpoint.
    pub(crate) admin: Field<Admin>,
    /// How long the exchanges of a generation may go on once another serves: those that have no response yet are
    /// answered with 503, the others break off. Tunnels hold no generation and stay.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) generation_age_max: Field<Limit<Period>>,
    /// How long shutdown waits for exchanges and tunnels.
    #[schemars(extend("x-default" = "30s"))]
    pub(crate) shutdown_deadline: Field<Period>,
    /// The access log; off where this is not given.
    pub(crate) access_log: Field<AccessLog>,
    /// Traces; off where this is not given.
    pub(crate) tracing: Field<Tracing>,
    /// How the DNS names of endpoints are resolved, where their upstream does not say it.
    pub(crate) dns: Field<Dns>,
    /// How many guests the process has slots for.
    #[schemars(extend("x-default" = "enough for the plugins configured"))]
    pub(crate) guest_slots: Field<Count>,
    /// Where modules may come from besides the configuration, and whose signature they need.
    pub(crate) modules: Field<Modules>,
    /// How manifests of the Kubernetes Gateway API among the documents are taken.
    pub(crate) manifests: Field<Manifests>,
    /// `trusted-proxies` of every listener that has none of its own.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) trusted_proxies: Field<Vec<Field<String>>>,
}

/// The admin endpoint.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Admin {
    /// Where it listens; an address that is not loopback needs a `token`.
    #[schemars(extend("x-default" = "127.0.0.1:9901"))]
    pub(crate) address: Field<String>,
    /// A Unix socket, made with mode 0600.
    pub(crate) socket: Field<String>,
    /// The bearer token that verbs which change something ask for: `${env:NAME}` or `${file:PATH}`.
    pub(crate) token: Field<String>,
    /// Whether those verbs are allowed from loopback without a token.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) trust_loopback: Field<bool>,
}

/// The access log.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct AccessLog {
    /// `stdout`, `off`, or the path of a file, which is appended to and opened anew on `USR1`.
    #[schemars(extend("x-default" = "stdout"))]
    pub(crate) to: Field<String>,
    /// `json`: one JSON object a line with every field; a list of field names: with these; other text: a template in
    /// which `%{field}` is replaced.
    #[schemars(extend("x-default" = "json"))]
    pub(crate) format: Field<FormatForm>,
    /// How many lines may wait for the writer before further ones are dropped and counted.
    #[schemars(extend("x-default" = "8192"))]
    pub(crate) queue_lines_max: Field<Count>,
}

/// A template, `json`, or a list of fields.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum FormatForm {
    Text(String),
    List(Vec<Field<String>>),
}
