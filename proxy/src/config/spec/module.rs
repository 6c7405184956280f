//! Where modules come from besides the configuration, and what they must show. Knows no protocol.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Pem, Secret};
use crate::identity::Identity;

/// How a module comes to be there, beside its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleTerms {
    /// None: it is in the configuration, and its name is its path.
    pub remote: Option<Remote>,
    /// Where a detached signature over it is, if that was said.
    pub signature: Option<Signature>,
}

/// A module that has to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A file.
    Url {
        /// `https://…`, its host in lower case.
        url: String,
        /// Of its bytes.
        sha256: Identity,
    },
    /// An image or artifact of a registry (OCI distribution specification 1.1).
    Oci {
        /// `HOST` or `HOST:PORT`, in lower case.
        registry: String,
        /// Without the registry.
        repository: String,
        /// Of its manifest.
        digest: Identity,
    },
}

/// A detached signature.
#[derive(Clone, Debug, PartialEq)]
pub enum Signature {
    /// In the configuration.
    File(Pem),
    /// To be fetched: `https://…`.
    Url(String),
}

/// The terms on which modules are fetched and taken.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleSources {
    /// Of one module, until it is there and verified.
    pub fetch_timeout: Duration,
    /// Requests for the same thing.
    pub tries_max: u32,
    /// A module, and what it is packed in.
    pub module_bytes_max: usize,
    /// All that is kept on disk.
    pub cache_bytes_max: usize,
    /// By `HOST` or `HOST:PORT`, in lower case.
    pub hosts: BTreeMap<Arc<str>, ModuleHost>,
    /// Who asks registries, by `HOST` or `HOST:PORT`; from a `config.json` of docker.
    pub docker: BTreeMap<String, Credentials>,
    /// `docker-config`, as it was written.
    pub docker_config: Option<Pem>,
    /// The first that is about a module holds.
    pub signed_by: Vec<SignedBy>,
}

/// What is particular about a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleHost {
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Whom it is to be signed by; whom the system trusts, where `None`.
    pub ca: Option<Pem>,
    /// Without TLS.
    pub plain_http: bool,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// By name.
    User {
        /// Not secret.
        name: String,
        /// Secret.
        password: Secret,
    },
    /// A token that is shown as it is.
    Bearer(Secret),
    /// A token that a registry's authority gives others for.
    Refresh(Secret),
}

/// Who must have signed some modules.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedBy {
    /// Of their names; all where it is empty.
    pub from: String,
    /// One of these; nobody where there is none.
    pub keys: Vec<Pem>,
}

impl SignedBy {
    /// Whether it is about the module of this name.
    pub fn is_about(&self, module: &str) -> bool {
        let Some(rest) = module.strip_prefix(&self.from) else { return false };
        self.from.is_empty() || self.from.ends_with('/') || rest.is_empty() || rest.starts_with(['/', ':', '@'])
    }
}

impl ModuleSources {
    /// Who asks a host.
    pub fn credentials(&self, host: &str) -> Option<&Credentials> {
        let own = self.hosts.get(host).and_then(|host| host.credentials.as_ref());
        own.or_else(|| self.docker.get(host))
    }
}

impl Default for ModuleSources {
    fn default() -> Self {
        Self {
            fetch_timeout: Duration::from_secs(30),
            tries_max: 4,
            module_bytes_max: 64 << 20,
            cache_bytes_max: 1 << 30,
            hosts: BTreeMap::new(),
            docker: BTreeMap::new(),
            docker_config: None,
            signed_by: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_about_whole_segments() {
        for (from, module, about) in [
            ("", "plugins/a.wasm", true),
            ("plugins/", "plugins/a.wasm", true),
            ("plugins", "plugins/a.wasm", true),
            ("plugins", "plugins-2/a.wasm", false),
            ("oci://r.example/team", "oci://r.example/team/a@sha256:00", true),
            ("oci://r.example/team/a", "oci://r.example/team/a@sha256:00", true),
            ("oci://r.example/team/a", "oci://r.example/team/ab@sha256:00", false),
            ("oci://r.example", "oci://r.example.org/team/a@sha256:00", false),
            ("oci://r.example", "oci://r.example:5000/a@sha256:00", true),
            ("https://f.example/x.wasm", "https://f.example/x.wasm@sha256:00", true),
        ] {
            let rule = SignedBy { from: from.into(), keys: Vec::new() };
            assert_eq!(rule.is_about(module), about, "{from} {module}");
        }
    }
}
