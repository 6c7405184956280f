//! Which certificate a client is shown: by the name that it asks for, and among those of one name by the signatures
//! that it takes. Knows no files.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureAlgorithm,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::Certified;

type Keys = Vec<Arc<CertifiedKey>>;

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Names {
    exact: HashMap<String, Keys>,
    // By what follows the star and its dot.
    wildcard: HashMap<String, Keys>,
    // For clients that name nothing, and for names that none has.
    default: Keys,
    strict: bool,
}

impl Names {
    /// Of certificates in the order written; the first is the default, with those that share a name with it. `strict`:
    /// a name that none has is refused.
    pub(super) fn new(all: &[Certified], strict: bool) -> Self {
        // Signing with an elliptic curve costs a tenth of what RSA costs, and every client of this decade takes it.
        let mut ordered: Vec<&Certified> = all.iter().collect();
        ordered.sort_by_key(|certified| certified.key.key.algorithm() == SignatureAlgorithm::RSA);
        let (mut exact, mut wildcard) = (HashMap::<String, Keys>::new(), HashMap::<String, Keys>::new());
        let mut default = Keys::new();
        for certified in ordered {
            for name in &certified.names {
                let (keys, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                keys.entry(name.to_owned()).or_default().push(Arc::clone(&certified.key));
            }
            let first = &all[0];
            let shares = certified.names.iter().any(|name| first.names.contains(name));
            if shares || Arc::ptr_eq(&certified.key, &first.key) {
                default.push(Arc::clone(&certified.key));
            }
        }
        Self { exact, wildcard, default, strict }
    }

    // The certificates for a name: those that have it, else those that have it by a wildcard (one label, RFC 9525
    // section 6.3).
    fn of(&self, name: &str) -> Option<&Keys> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.exact.get(&name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name();
        let own = named.and_then(|name| self.of(name));
        let default = Some(&self.default).filter(|_| named.is_none() || !self.strict);
        let takes = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        own.or(default)?.iter().find(takes).cloned()
    }
}
