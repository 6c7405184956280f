//! TLS of listeners. Knows nothing of certificates.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, OneOrMany, Period, Text};

/// TLS of a listener: HTTP/1.1 and HTTP/2 over TLS 1.2 and 1.3. Files are read from the configuration (a path from its
/// root) and read again when they change: the next handshake shows the new certificate, and no connection ends.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ListenerTls {
    /// The certificates, chosen by the name that a client asks for: one that has the name, else one whose wildcard
    /// covers it, else the first. Several of one name, such as ECDSA and RSA, are chosen by what the client can verify.
    /// Required, at least one.
    pub(crate) certificates: Field<Vec<Field<Certificate>>>,
    /// The oldest version spoken: `1.2` or `1.3`.
    #[schemars(extend("x-default" = "1.2"))]
    pub(crate) min_version: Field<Text>,
    /// Protocols offered (ALPN), the most preferred first: `h2`, `http/1.1`.
    #[schemars(extend("x-default" = "[h2, http/1.1]"))]
    pub(crate) alpn: Field<Vec<Field<Alpn>>>,
    /// Whether a client that asks for a name that no certificate has is refused; otherwise it is shown the first
    /// certificate.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) strict_names: Field<bool>,
    /// From an accepted connection to the end of its handshake. Over it the connection is closed.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) handshake_timeout: Field<Period>,
    /// Handshakes under way at a time, in the whole process. Over it connections are closed.
    #[schemars(extend("x-default" = "10000"))]
    pub(crate) handshakes_max: Field<Count>,
    /// Asks clients for a certificate of their own; nobody is asked where this is not given.
    pub(crate) client_certificates: Field<ClientCertificates>,
}

/// Certificates of clients. One that is shown must lead to the authority, be in force, and be for the use of clients:
/// otherwise the handshake fails, `optional` or not.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ClientCertificates {
    /// PEM with the certificates of those who may have signed them: a path from the root of the configuration, or
    /// `${env:NAME}` or `${file:PATH}`. Required.
    pub(crate) ca: Field<String>,
    /// `required`: a client without one is refused; `optional`: it is served, and has no identity;
    /// `optional-unverified`: so is one whose certificate does not hold.
    #[schemars(extend("x-default" = "required"))]
    pub(crate) mode: Field<ClientMode>,
    /// The field that tells upstreams who the client is, in the form of `X-Forwarded-Client-Cert` (`Hash`, `Subject`,
    /// `DNS`, `URI`). What a client sends in it is removed. Upstreams are not told where this is not given.
    pub(crate) forward_header: Field<String>,
}

/// Whether a client must have a certificate.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum ClientMode {
    Required,
    Optional,
    OptionalUnverified,
}

/// A certificate and its private key, both PEM: a path from the root of the configuration, or `${env:NAME}` or
/// `${file:PATH}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Certificate {
    /// The certificate, then those that lead to its root. Required.
    pub(crate) certificate: Field<String>,
    /// Its private key, without a password. Required.
    pub(crate) key: Field<String>,
}

/// A protocol over TLS.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum Alpn {
    #[serde(rename = "h2")]
    H2,
    #[serde(rename = "http/1.1")]
    Http1,
}

/// TLS to the endpoints of an upstream. Their certificates are verified: signed by somebody who is trusted, in force, and
/// for the name that is asked for. `tls: {}` is TLS with whom the system trusts.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct UpstreamTls {
    /// PEM with the certificates of those who may have signed, in place of whom the system trusts: a path from the root
    /// of the configuration, or `${env:NAME}` or `${file:PATH}`.
    pub(crate) ca: Field<String>,
    /// The name asked for (SNI) and looked for in certificates.
    #[schemars(extend("x-default" = "the host of each endpoint"))]
    pub(crate) server_name: Field<String>,
    /// Names of which a certificate must have one, in place of the name asked for: DNS names, and URIs such as
    /// `spiffe://example.com/users`.
    pub(crate) subject_alt_names: Field<OneOrMany<String>>,
    /// A certificate that is shown to endpoints, as of a listener.
    pub(crate) certificate: Field<String>,
    /// Its private key.
    pub(crate) key: Field<String>,
    /// The oldest version spoken: `1.2` or `1.3`.
    #[schemars(extend("x-default" = "1.2"))]
    pub(crate) min_version: Field<Text>,
    /// Takes whatever certificate an endpoint shows: whoever can reach the network can read and change everything.
    /// For tests only; it is warned of at each load.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) dangerously_accept_any_certificate: Field<bool>,
}
