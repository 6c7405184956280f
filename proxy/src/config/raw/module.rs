//! Modules that are named by more than a path, and the terms on which they are fetched. Knows nothing of registries.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Entries, Field, Period, Size};

/// A module: a path, a reference `oci://REGISTRY/REPOSITORY@sha256:…`, or a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum ModuleForm {
    Text(String),
    Map(Box<Module>),
}

/// A module and how it is known to be the right one. Exactly one of `path` and `url` says where it is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Module {
    /// A `.wasm` or `.wat` file, from the root of the configuration.
    pub(crate) path: Field<String>,
    /// `https://HOST/PATH`, with a `sha256`; or `oci://REGISTRY/REPOSITORY@sha256:DIGEST`.
    pub(crate) url: Field<String>,
    /// What the bytes at an `https://` address hash to: 64 hexadecimal digits. Required there.
    pub(crate) sha256: Field<String>,
    /// A detached signature over the module, for `signed-by`: a file of the configuration that holds it in base64, or an
    /// `https://` address.
    #[schemars(extend("x-default" = "the `url` with `.sig` after it; of a registry, what `cosign sign` puts there"))]
    pub(crate) signature: Field<String>,
}

/// Where modules may come from besides the configuration, and whose signature they need.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Modules {
    /// From the first attempt to fetch a module until it is there and verified. Over it the configuration is refused.
    #[schemars(extend("x-default" = "30s"))]
    pub(crate) fetch_timeout: Field<Period>,
    /// How often one request is sent before that is given up: what may go away by itself is tried again, later each time.
    #[schemars(extend("x-default" = "4"))]
    pub(crate) tries_max: Field<Count>,
    /// A module that is fetched, and what it is packed in. Over it the configuration is refused.
    #[schemars(extend("x-default" = "64MiB"))]
    pub(crate) module_bytes_max: Field<Size>,
    /// What is kept of fetched modules on disk, in the state directory; what was used longest ago goes first.
    #[schemars(extend("x-default" = "1GiB"))]
    pub(crate) cache_bytes_max: Field<Size>,
    /// Credentials for registries, as `docker login` writes them (`config.json`): a path from the root of the
    /// configuration, or `${env:NAME}` or `${file:PATH}`.
    pub(crate) docker_config: Field<String>,
    /// What is particular about a host, by name, with its port where that is not 443.
    pub(crate) hosts: Field<Entries<ModuleHost>>,
    /// Whose signature modules need: the first rule that is about a module holds. None where none is.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) signed_by: Field<Vec<Field<SignedBy>>>,
}

/// A host that modules are fetched from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ModuleHost {
    /// Who asks; with a `password`.
    pub(crate) username: Field<String>,
    /// `${env:NAME}` or `${file:PATH}`.
    pub(crate) password: Field<String>,
    /// A bearer token in place of both: `${env:NAME}` or `${file:PATH}`.
    pub(crate) token: Field<String>,
    /// PEM with the certificates of those who may have signed the host's, in place of whom the system trusts: a path from
    /// the root of the configuration, or `${env:NAME}` or `${file:PATH}`.
    pub(crate) ca: Field<String>,
    /// HTTP without TLS. For registries on loopback alone.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) plain_http: Field<bool>,
}

/// A rule of who must have signed a module.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct SignedBy {
    /// Which modules: those whose path or address is this, or goes on from it after a `/`, `:` or `@`.
    #[schemars(extend("x-default" = "all"))]
    pub(crate) from: Field<String>,
    /// Public keys, Ed25519 or ECDSA P-256 (as cosign makes them), one of which must have signed: PEM, a path from the
    /// root of the configuration, or `${env:NAME}` or `${file:PATH}`. Required; an empty list lets modules go unsigned.
    pub(crate) keys: Field<Vec<Field<String>>>,
}
