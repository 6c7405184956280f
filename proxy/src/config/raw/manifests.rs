//! How manifests of Kubernetes are taken. Knows nothing of manifests.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Entries, Field, OneOrMany, Text};

/// How manifests of the Kubernetes Gateway API among the documents are taken (docs/gateway-api.md).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Manifests {
    /// The IP address that listeners of Gateways listen on, where the Gateway does not say one.
    #[schemars(extend("x-default" = "0.0.0.0"))]
    pub(crate) address: Field<String>,
    /// What is listened on, by the port that a Gateway says, where the two differ: a port or an address and a port, such as
    /// `{80: 8080, 443: "127.0.0.1:8443"}`. Redirects name the Gateway's port. 0 is a free port.
    pub(crate) ports: Field<Entries<Text>>,
    /// Classes of Gateways that are served; others are left alone.
    #[schemars(extend("x-default" = "all"))]
    pub(crate) gateway_class: Field<OneOrMany<String>>,
    /// What a Service leads to for which no endpoints are among the documents, and no upstream has its name: `declared`:
    /// nothing, 500 or 503; `dns`: what `NAME.NAMESPACE.svc` and its port resolve to.
    #[schemars(extend("x-default" = "declared"))]
    pub(crate) services: Field<Services>,
    /// What follows `NAME.NAMESPACE.svc`, such as `cluster.local`.
    #[schemars(extend("x-default" = "nothing"))]
    pub(crate) cluster_domain: Field<String>,
}

/// Where Services are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Services {
    Declared,
    Dns,
}
