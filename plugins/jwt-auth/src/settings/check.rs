//! From what an operator wrote to what the plugin goes by, or everything that is wrong with it.

use serde_json::Value;
use tidegate_guest::{
    Problem, Problems,
    fields::{is_reserved, is_token},
};

use super::{Fetch, Keys, Place, Settings};
use crate::{
    claims::{Path, Rules},
    fetched::{Source, Times},
    identity::Passed,
    key::{Algorithm, jwk, pem},
    keys::KeySet,
    place,
};

/// Settings that were checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) keys: KeySet,
    pub(crate) source: Option<Source>,
    pub(crate) rules: Rules,
    pub(crate) places: Vec<place::Place>,
    pub(crate) token_bytes_max: usize,
    pub(crate) forward: bool,
    pub(crate) optional: bool,
    pub(crate) passed: Passed,
    pub(crate) realm: String,
    pub(crate) verified_max: usize,
}

const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 64..=65_536;
const VERIFIED_MAX: usize = 10_000;
const SET_BYTES_MAX: usize = 1_000_000;
const PASSED_MAX: usize = 32;

impl Settings {
    /// Checks everything, and says everything that is wrong.
    pub(crate) fn checked(self) -> Result<Checked, Problems> {
        let mut problems = Wrong::default();
        let keys = self.keys.inline(&mut problems);
        let source = self.keys.fetch.as_ref().map(|fetch| fetch.source(&mut problems));
        if self.keys.jwks.is_none() && self.keys.pem.0.is_empty() && source.is_none() {
            problems.at("/keys", "has no key: write `jwks`, `pem` or `fetch`");
        }
        problems.unless(!self.algorithms.is_empty(), "/algorithms", "must allow one at least");
        let tokens = "must be from 64 to 65536";
        problems.unless(TOKEN_BYTES.contains(&self.token_bytes_max), "/token-bytes-max", tokens);
        problems.unless(self.verified_max <= VERIFIED_MAX, "/verified-max", "must be at most 10000");
        let quotable =
            |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
        problems.unless(quotable(&self.realm), "/realm", "must be printable ASCII without `\"` and `\\`");
        let word = |text: &String| !text.is_empty() && !text.contains(' ') && quotable(text);
        problems.unless(self.scopes.iter().all(word), "/scopes", "must be words of printable ASCII");
        let places = self.places(&mut problems);
        let passed = self.passed(&mut problems);
        let rules = self.rules();
        problems.0.or(())?;
        let Self { algorithms, token_bytes_max, forward, optional, realm, verified_max, .. } = self;
        Ok(Checked {
            algorithms,
            keys,
            source,
            rules,
            places,
            token_bytes_max,
            forward,
            optional,
            passed,
            realm,
            verified_max,
        })
    }

    fn rules(&self) -> Rules {
        let path = |name: &String| Path(name.clone());
        Rules {
            issuers: self.issuer.0.clone(),
            audiences: self.audience.0.clone(),
            kinds: self.types.0.clone(),
            leeway: self.leeway.0.as_secs_f64(),
            expiry_required: self.expiry_required,
            age_max: self.age_max.map(|age| age.0.as_secs_f64()),
            required: self.required.iter().map(path).collect(),
            allowed: self.allowed.iter().map(|(name, values)| (path(name), values.0.clone())).collect(),
            scopes: self.scopes.clone(),
        }
    }

    fn places(&self, problems: &mut Wrong) -> Vec<place::Place> {
        if self.token.is_empty() {
            let (name, scheme) = ("authorization".to_owned(), Some("Bearer".to_owned()));
            return vec![place::Place::Header { name, scheme }];
        }
        let places = self.token.iter().enumerate();
        places.filter_map(|(position, place)| place.checked(&format!("/token/{position}"), problems)).collect()
    }

    fn passed(&self, problems: &mut Wrong) -> Passed {
        let mut passed = Passed::default();
        passed.attributes.push(("consumer".to_owned(), Path(self.consumer.clone())));
        for (name, claim) in &self.attributes {
            let own = name == "consumer" || name == "refused";
            problems.unless(!own, &format!("/attributes/{}", Problem::token(name)), "is the plugin's own attribute");
            passed.attributes.push((name.clone(), Path(claim.clone())));
        }
        for (name, claim) in &self.headers {
            let at = format!("/headers/{}", Problem::token(name));
            problems.unless(is_token(name), &at, "must be a header name: letters, digits and `-`");
            problems.unless(!is_reserved(name), &at, "is not a plugin's to set");
            passed.headers.push((name.to_ascii_lowercase(), Path(claim.clone())));
        }
        problems.unless(self.attributes.len() <= PASSED_MAX, "/attributes", "has more than 32 members");
        problems.unless(self.headers.len() <= PASSED_MAX, "/headers", "has more than 32 members");
        passed
    }
}

impl Keys {
    fn inline(&self, problems: &mut Wrong) -> KeySet {
        let mut set = KeySet { id: 0, keys: Vec::new(), unnamed_fit_all: true };
        if let Some(jwks) = &self.jwks {
            // Of a set that was written here, every key is meant.
            match jwk::set(jwks) {
                Err(why) => problems.at("/keys/jwks", format!("is no JSON Web Key Set: {why}")),
                Ok((keys, unused)) => {
                    set.keys.extend(keys);
                    for (position, why) in unused {
                        problems.at(format!("/keys/jwks/keys/{position}"), format!("is not used: {}", why.why()));
                    }
                    problems.unless(jwks["keys"] != Value::Array(Vec::new()), "/keys/jwks/keys", "has no key");
                }
            }
        }
        for text in &self.pem.0 {
            match pem::keys(text) {
                Ok(keys) => set.keys.extend(keys),
                Err(why) => problems.at("/keys/pem", why),
            }
        }
        set
    }
}

impl Fetch {
    fn source(&self, problems: &mut Wrong) -> Source {
        problems.unless(!self.upstream.is_empty(), "/keys/fetch/upstream", "must name an upstream");
        let path = self.path.starts_with('/') && self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        problems.unless(path, "/keys/fetch/path", "must be a path such as `/.well-known/jwks.json`");
        problems.unless(!self.refresh.0.is_zero(), "/keys/fetch/refresh", "must be longer than nothing");
        problems.unless(self.stale >= self.refresh, "/keys/fetch/stale", "must be at least `refresh`");
        problems.unless(!self.retry.0.is_zero(), "/keys/fetch/retry", "must be longer than nothing");
        problems.unless(!self.timeout.0.is_zero(), "/keys/fetch/timeout", "must be longer than nothing");
        let bytes = (1..=SET_BYTES_MAX).contains(&self.bytes_max);
        problems.unless(bytes, "/keys/fetch/bytes-max", "must be from 1 to 1000000");
        Source {
            upstream: self.upstream.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            bytes_max: self.bytes_max,
            times: Times { refresh: self.refresh.0, stale: self.stale.0, retry: self.retry.0, timeout: self.timeout.0 },
        }
    }
}

impl Place {
    fn checked(&self, at: &str, problems: &mut Wrong) -> Option<place::Place> {
        let named = |name: &str, problems: &mut Wrong| {
            problems.unless(is_token(name), at, "must name a header, a cookie or a parameter");
        };
        match (&self.header, &self.cookie, &self.query) {
            (Some(name), None, None) => {
                named(name, problems);
                let bearer = name.eq_ignore_ascii_case("authorization").then(|| "Bearer".to_owned());
                Some(place::Place::Header { name: name.clone(), scheme: self.scheme.clone().or(bearer) })
            }
            (None, Some(name), None) if self.scheme.is_none() => {
                named(name, problems);
                Some(place::Place::Cookie(name.clone()))
            }
            (None, None, Some(name)) if self.scheme.is_none() => {
                named(name, problems);
                Some(place::Place::Query(name.clone()))
            }
            _ => {
                problems.at(at, "must have one of `header` (with `scheme`, perhaps), `cookie` and `query`");
                None
            }
        }
    }
}

#[derive(Default)]
struct Wrong(Problems);

impl Wrong {
    fn at(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::at(pointer, message));
    }

    fn unless(&mut self, good: bool, pointer: &str, message: &str) {
        if !good {
            self.at(pointer, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(mut settings: Value) -> String {
        if settings.get("keys").is_none() {
            settings["keys"] = json!({ "fetch": { "upstream": "idp", "path": "/jwks" } });
        }
        let checked = serde_json::from_value::<Settings>(settings).unwrap().checked();
        checked.map_or_else(|problems| format!("{problems:?}"), |_| String::new())
    }

    #[test]
    fn what_is_written_is_checked_and_everything_wrong_is_said() {
        assert_eq!(problems(json!({})), "");
        let cases = [
            (json!({ "keys": {} }), "/keys"),
            (json!({ "keys": { "jwks": { "keys": [] } } }), "/keys/jwks/keys"),
            (json!({ "keys": { "jwks": [] } }), "/keys/jwks"),
            (json!({ "keys": { "jwks": { "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] } } }), "/keys/jwks/keys/0"),
            (json!({ "keys": { "pem": "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----" } }), "/keys/pem"),
            (json!({ "keys": { "fetch": { "upstream": "idp", "path": "jwks" } } }), "/keys/fetch/path"),
            (json!({ "keys": { "fetch": { "upstream": "", "path": "/jwks" } } }), "/keys/fetch/upstream"),
            (json!({ "keys": { "fetch": { "upstream": "a", "path": "/jwks", "stale": "1s" } } }), "/keys/fetch/stale"),
            (json!({ "algorithms": [] }), "/algorithms"),
            (json!({ "token-bytes-max": 1 }), "/token-bytes-max"),
            (json!({ "verified-max": 100_000 }), "/verified-max"),
            (json!({ "realm": "a\"b" }), "/realm"),
            (json!({ "scopes": ["a b"] }), "/scopes"),
            (json!({ "token": [{ "cookie": "a" }, { "cookie": "a", "query": "b" }] }), "/token/1"),
            (json!({ "token": [{ "query": "a", "scheme": "Bearer" }] }), "/token/0"),
            (json!({ "attributes": { "consumer": "sub" } }), "/attributes/consumer"),
            (json!({ "headers": { "Host": "sub" } }), "/headers/Host"),
            (json!({ "headers": { "a b": "sub" } }), "/headers/a b"),
        ];
        for (settings, pointer) in cases {
            let said = problems(settings.clone());
            assert!(said.contains(&format!("pointer: \"{pointer}\"")), "{settings}: {said}");
        }
    }

    #[test]
    fn an_algorithm_that_is_not_one_of_the_three_is_no_setting() {
        for name in ["none", "HS256", "RS512", "rs256"] {
            let settings = json!({ "algorithms": [name], "keys": {} });
            let error = serde_json::from_value::<Settings>(settings).unwrap_err().to_string();
            assert!(error.contains("expected one of `RS256`, `ES256`, `EdDSA`"), "{error}");
        }
    }
}
