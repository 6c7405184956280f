//! HTTP/3 of listeners. Knows no QUIC.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, Period};

/// HTTP/3 beside HTTP/1.1 and HTTP/2: over QUIC (UDP), at the same address and port, with the certificates of `tls`, to the
/// same routes. `http3: {}` is enough.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Http3 {
    /// Whether responses over TCP tell clients of it (`Alt-Svc`).
    #[schemars(extend("x-default" = "true"))]
    pub(crate) advertise: Field<bool>,
    /// The UDP port that clients are told, where it is another one outside.
    #[schemars(extend("x-default" = "the listener's"))]
    pub(crate) advertised_port: Field<Count>,
    /// How long clients may remember it.
    #[schemars(extend("x-default" = "24h"))]
    pub(crate) max_age: Field<Period>,
}
