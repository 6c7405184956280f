//! The PROXY protocol of listeners. Knows nothing of headers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, Period, Size};

/// A header of the PROXY protocol (versions 1 and 2) in front of everything else, TLS included, by which a proxy says who
/// its client is. That address is the client's from then on: in logs, for plugins, for access by address, in
/// `X-Forwarded-For`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ProxyProtocol {
    /// `required`: a connection without a header, or from elsewhere than `from`, is closed; `optional`: it is served as
    /// what it is, but a header from elsewhere is refused.
    #[schemars(extend("x-default" = "required"))]
    pub(crate) mode: Field<ProxyMode>,
    /// Networks, or single addresses, whose headers are believed, such as `10.0.0.0/8`. Required, at least one.
    pub(crate) from: Field<Vec<Field<String>>>,
    /// From an accepted connection to the end of the header. Over it the connection is closed.
    #[schemars(extend("x-default" = "3s"))]
    pub(crate) header_timeout: Field<Period>,
    /// A header. Over it the connection is closed.
    #[schemars(extend("x-default" = "4KiB"))]
    pub(crate) header_bytes_max: Field<Size>,
}

/// Whether a connection must begin with a header.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum ProxyMode {
    Required,
    Optional,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum ProxyVersion {
    V1,
    V2,
}
