//! The settings as an operator writes them. What they come to is in `check`.

mod check;
mod texts;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tidegate_guest::Period;

pub(crate) use self::check::Checked;
use self::texts::{OneOrMore, Texts};
use crate::key::Algorithm;

/// Lets requests pass that carry a JSON Web Token of an issuer that is trusted. See the README.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Who may have issued the token: its `iss` is one of these. Anybody with a key, if there are none.
    #[serde(default)]
    issuer: Texts,
    /// Whom the token is for: one of its `aud` is one of these. Anybody, if there are none.
    #[serde(default)]
    audience: Texts,
    /// What a token may be signed with. The token's own `alg` must be one of these and fit the key.
    #[serde(default = "every_algorithm")]
    algorithms: Vec<Algorithm>,
    /// The issuer's public keys.
    keys: Keys,
    /// By how much clocks may differ, for `exp`, `nbf` and `iat`.
    #[serde(default = "leeway")]
    leeway: Period,
    /// Whether a token must have an `exp`.
    #[serde(default = "yes")]
    expiry_required: bool,
    /// How long ago a token may have been issued; it must have an `iat` then.
    age_max: Option<Period>,
    /// The token's `typ` is one of these, such as `at+jwt` (RFC 9068). Anything, if there are none.
    #[serde(default)]
    types: Texts,
    /// Claims that must be there: a name, or a JSON pointer such as `/org/id`.
    #[serde(default)]
    required: Vec<String>,
    /// Values that claims must have, one of a list; a claim that is a list must hold one. 403 where it does not.
    #[serde(default)]
    allowed: BTreeMap<String, OneOrMore>,
    /// Words that the claim `scope` (or `scp`) must all have. 403 where it does not.
    #[serde(default)]
    scopes: Vec<String>,
    /// Where a request carries its token: `{header: NAME, scheme: Bearer}`, `{cookie: NAME}`, `{query: NAME}`. The
    /// `authorization` header, if none are given.
    #[serde(default)]
    token: Vec<Place>,
    /// A longer token is refused unread.
    #[serde(default = "token_bytes")]
    token_bytes_max: usize,
    /// Whether the upstream sees the token.
    #[serde(default = "yes")]
    forward: bool,
    /// Whether a request without a token passes, as nobody's. One with a token that is not good never does.
    #[serde(default)]
    optional: bool,
    /// The claim that names the consumer: it goes into the attribute `consumer`.
    #[serde(default = "subject")]
    consumer: String,
    /// Further attributes, each with the claim that goes into it.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// Header fields for the upstream, each with the claim that goes into it. What a client sends under these names is
    /// taken off first.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// What `WWW-Authenticate` calls this place.
    #[serde(default = "realm")]
    realm: String,
    /// Tokens whose verification each guest remembers, at least.
    #[serde(default = "verified")]
    verified_max: usize,
}

/// Public keys. One source at least; what stands here is looked at before what is fetched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// A JSON Web Key Set.
    #[serde(default)]
    jwks: Option<Value>,
    /// Keys in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`), one or more in a text. They fit any `kid`.
    #[serde(default)]
    pem: Texts,
    /// Where the issuer publishes its key set.
    #[serde(default)]
    fetch: Option<Fetch>,
}

/// Where the issuer publishes its key set, and when it is fetched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Fetch {
    /// The upstream to ask; it must be granted (`grants: {upstreams: [NAME]}`).
    upstream: String,
    /// The path of the key set there, such as `/.well-known/jwks.json`.
    path: String,
    /// The host to ask for; the upstream's name, if none is given.
    host: Option<String>,
    /// After this, keys are fetched again.
    #[serde(default = "refresh")]
    refresh: Period,
    /// For so long after they were fetched, keys are used while the issuer does not answer.
    #[serde(default = "stale")]
    stale: Period,
    /// Between one attempt and the next, after a failure or for a key that is not known.
    #[serde(default = "retry")]
    retry: Period,
    /// For one attempt. Keep it below the plugin's `call-timeout`.
    #[serde(default = "timeout")]
    timeout: Period,
    /// A larger answer is not taken; 1000000 at most.
    #[serde(default = "set_bytes")]
    bytes_max: usize,
}

/// A place to look for the token: one of `header`, `cookie` and `query`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Place {
    /// A header field.
    #[serde(default)]
    header: Option<String>,
    /// What stands before the token there; `Bearer` for `authorization`, else nothing.
    #[serde(default)]
    scheme: Option<String>,
    /// A cookie.
    #[serde(default)]
    cookie: Option<String>,
    /// A parameter of the query.
    #[serde(default)]
    query: Option<String>,
}

fn every_algorithm() -> Vec<Algorithm> {
    Algorithm::ALL.to_vec()
}

const fn leeway() -> Period {
    Period::from_secs(30)
}

const fn yes() -> bool {
    true
}

const fn token_bytes() -> usize {
    8192
}

fn subject() -> String {
    "sub".to_owned()
}

fn realm() -> String {
    "gateway".to_owned()
}

const fn verified() -> usize {
    512
}

const fn refresh() -> Period {
    Period::from_secs(300)
}

const fn stale() -> Period {
    Period::from_secs(86_400)
}

const fn retry() -> Period {
    Period::from_secs(10)
}

const fn timeout() -> Period {
    Period::from_millis(400)
}

const fn set_bytes() -> usize {
    262_144
}
