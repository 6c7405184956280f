//! What a token must claim (RFC 7519 section 4.1, RFC 8725). Knows no keys and no host; the time is told.

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// A token's claims.
pub(crate) type Claims = Map<String, Value>;

/// Which claims a token must have. Times are in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Any of them; all, if there are none.
    pub(crate) issuers: Vec<String>,
    /// Any of them; all, if there are none.
    pub(crate) audiences: Vec<String>,
    /// Any of them; all, if there are none.
    pub(crate) kinds: Vec<String>,
    pub(crate) leeway: f64,
    pub(crate) expiry_required: bool,
    pub(crate) age_max: Option<f64>,
    pub(crate) required: Vec<Path>,
    pub(crate) allowed: Vec<(Path, Vec<Value>)>,
    /// All of them.
    pub(crate) scopes: Vec<String>,
}

/// Where a claim stands: its name, or a JSON pointer (RFC 6901) if it begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) String);

/// When a token is good, in seconds since 1970, leeway included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    not_before: f64,
    issued: f64,
    expires: f64,
    too_old: f64,
}

impl Path {
    /// The claim there.
    pub(crate) fn of<'a>(&self, claims: &'a Claims) -> Option<&'a Value> {
        let mut tokens = match self.0.strip_prefix('/') {
            None => return claims.get(&self.0),
            Some(pointer) => pointer.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")),
        };
        let first = claims.get(&tokens.next()?)?;
        tokens.try_fold(first, |value, token| match value {
            Value::Object(members) => members.get(&token),
            Value::Array(list) => list.get(token.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

impl Rules {
    /// Whether a token could be one of a trusted issuer: asked before anything is fetched for it.
    pub(crate) fn trusts(&self, claims: &Claims) -> Result<(), Refusal> {
        let issuer = claims.get("iss").and_then(Value::as_str);
        if self.issuers.is_empty() || issuer.is_some_and(|issuer| self.issuers.iter().any(|known| known == issuer)) {
            return Ok(());
        }
        match claims.get("iss") {
            None => Err(Refusal::Claim("iss".into())),
            Some(other) => Err(Refusal::Issuer(plain(other))),
        }
    }

    /// Whether a token whose signature is good may pass as far as its claims say, whenever that is.
    pub(crate) fn check(&self, kind: Option<&str>, claims: &Claims) -> Result<Window, Refusal> {
        self.trusts(claims)?;
        self.check_audience(claims)?;
        self.check_kind(kind)?;
        for path in &self.required {
            path.of(claims).filter(|value| !value.is_null()).ok_or_else(|| Refusal::Claim(path.0.clone()))?;
        }
        let window = self.window(claims)?;
        for (path, values) in &self.allowed {
            let claim = path.of(claims).ok_or_else(|| Refusal::Claim(path.0.clone()))?;
            if !values.iter().any(|value| holds(claim, value)) {
                return Err(Refusal::Value(path.0.clone(), plain(claim)));
            }
        }
        let granted = scopes(claims);
        match self.scopes.iter().find(|scope| !granted.contains(&scope.as_str())) {
            Some(scope) => Err(Refusal::Scope(scope.clone())),
            None => Ok(window),
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.audiences.is_empty() {
            return Ok(());
        }
        let audience = claims.get("aud").ok_or_else(|| Refusal::Claim("aud".into()))?;
        let wanted = |name: &Value| self.audiences.iter().any(|known| name == known.as_str());
        let fits = match audience {
            Value::Array(list) => list.iter().any(wanted),
            one => wanted(one),
        };
        if fits { Ok(()) } else { Err(Refusal::Audience(plain(audience))) }
    }

    // Media types: `application/` may be left out, and case does not count (RFC 7515 section 4.1.9).
    fn check_kind(&self, kind: Option<&str>) -> Result<(), Refusal> {
        let short = |kind: &str| {
            let kind = kind.to_ascii_lowercase();
            kind.strip_prefix("application/").map_or_else(|| kind.clone(), str::to_owned)
        };
        let fits = |kind: &str| self.kinds.iter().any(|known| short(known) == short(kind));
        if self.kinds.is_empty() || kind.is_some_and(fits) {
            Ok(())
        } else {
            Err(Refusal::Kind(kind.map(str::to_owned)))
        }
    }

    fn window(&self, claims: &Claims) -> Result<Window, Refusal> {
        let expires = date(claims, "exp")?;
        if expires.is_none() && self.expiry_required {
            return Err(Refusal::Claim("exp".into()));
        }
        let (not_before, issued) = (date(claims, "nbf")?, date(claims, "iat")?);
        let too_old = match (self.age_max, issued) {
            (Some(_), None) => return Err(Refusal::Claim("iat".into())),
            (Some(age), Some(issued)) => Some(issued + age),
            (None, _) => None,
        };
        let after = |date: Option<f64>| date.map_or(f64::NEG_INFINITY, |date| date - self.leeway);
        let before = |date: Option<f64>| date.map_or(f64::INFINITY, |date| date + self.leeway);
        Ok(Window {
            not_before: after(not_before),
            issued: after(issued),
            expires: before(expires),
            too_old: before(too_old),
        })
    }
}

impl Window {
    /// Whether a token is good at a time. It is asked at each use, so a clock that jumps is believed as soon as it does.
    pub(crate) fn check(&self, now: f64) -> Result<(), Refusal> {
        let refused = [
            (now >= self.expires, Refusal::Expired),
            (now < self.not_before, Refusal::NotYet),
            (now < self.issued, Refusal::IssuedLater),
            (now >= self.too_old, Refusal::TooOld),
        ];
        refused.into_iter().find(|(is, _)| *is).map_or(Ok(()), |(_, why)| Err(why))
    }
}

/// A claim as text: text as it is, everything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

// NumericDate (RFC 7519 section 2): seconds, perhaps with a fraction.
fn date(claims: &Claims, name: &'static str) -> Result<Option<f64>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let date = value.as_f64().filter(|date| date.is_finite() && *date >= 0.0);
    date.map(Some).ok_or(Refusal::Malformed("a time in it (`exp`, `nbf`, `iat`) is no number of seconds"))
}

// A list holds each of its items.
fn holds(claim: &Value, value: &Value) -> bool {
    claim == value || claim.as_array().is_some_and(|list| list.contains(value))
}

// `scope` (RFC 8693 section 4.2), or `scp` as some issuers have it: words in a text, or a list.
fn scopes(claims: &Claims) -> Vec<&str> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn rules() -> Rules {
        Rules { leeway: 30.0, expiry_required: true, ..Rules::default() }
    }

    #[test]
    fn a_time_is_kept_to_within_the_leeway() {
        let now = 1_000_000.0;
        let check = |rules: &Rules, value: Value| {
            let window = rules.check(None, &claims(value))?;
            window.check(now)
        };
        let aged = Rules { age_max: Some(600.0), ..rules() };
        let cases = [
            (&rules(), json!({ "exp": 1_000_001 }), Ok(())),
            (&rules(), json!({ "exp": 999_970.5 }), Ok(())),
            (&rules(), json!({ "exp": 999_970 }), Err(Refusal::Expired)),
            (&rules(), json!({ "exp": 0 }), Err(Refusal::Expired)),
            (&rules(), json!({ "exp": 1e300, "nbf": 1_000_030 }), Ok(())),
            (&rules(), json!({ "exp": 2e9, "nbf": 1_000_031 }), Err(Refusal::NotYet)),
            (&rules(), json!({ "exp": 2e9, "iat": 1_000_031 }), Err(Refusal::IssuedLater)),
            (&rules(), json!({ "exp": 2e9, "iat": 0 }), Ok(())),
            (&aged, json!({ "exp": 2e9, "iat": 999_371 }), Ok(())),
            (&aged, json!({ "exp": 2e9, "iat": 999_370 }), Err(Refusal::TooOld)),
            (&aged, json!({ "exp": 2e9 }), Err(Refusal::Claim("iat".into()))),
            (&rules(), json!({}), Err(Refusal::Claim("exp".into()))),
            (&Rules { expiry_required: false, ..rules() }, json!({}), Ok(())),
        ];
        for (rules, value, expected) in cases {
            assert_eq!(check(rules, value.clone()), expected, "{value}");
        }
        for wrong in [json!("1000001"), json!(null), json!(-1), json!([]), json!(true)] {
            let claims = claims(json!({ "exp": wrong }));
            assert!(matches!(rules().check(None, &claims), Err(Refusal::Malformed(_))), "{wrong}");
        }
    }

    #[test]
    fn issuer_audience_and_type_are_those_that_are_wanted() {
        let rules = Rules {
            issuers: vec!["https://a".into(), "https://b".into()],
            audiences: vec!["x".into(), "y".into()],
            kinds: vec!["at+jwt".into()],
            ..Rules::default()
        };
        let check = |kind: Option<&str>, value: Value| rules.check(kind, &claims(value)).err().map(|why| why.word());
        let good = json!({ "iss": "https://b", "aud": ["z", "y"] });
        for kind in ["at+jwt", "AT+JWT", "application/at+jwt"] {
            assert_eq!(check(Some(kind), good.clone()), None, "{kind}");
        }
        assert_eq!(check(Some("JWT"), good.clone()), Some("type"));
        assert_eq!(check(None, good), Some("type"));
        let cases = [
            (json!({ "aud": "x" }), Some("claim-missing")),
            (json!({ "iss": ["https://a"], "aud": "x" }), Some("issuer")),
            (json!({ "iss": "https://a/", "aud": "x" }), Some("issuer")),
            (json!({ "iss": "https://a" }), Some("claim-missing")),
            (json!({ "iss": "https://a", "aud": "x" }), None),
            (json!({ "iss": "https://a", "aud": "z" }), Some("audience")),
            (json!({ "iss": "https://a", "aud": [] }), Some("audience")),
            (json!({ "iss": "https://a", "aud": { "x": 1 } }), Some("audience")),
        ];
        for (value, expected) in cases {
            assert_eq!(check(Some("at+jwt"), value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn claims_are_there_and_have_a_value_that_is_allowed() {
        let rules = Rules {
            required: vec![Path("/org/id".into()), Path("https://example.com/a".into())],
            allowed: vec![
                (Path("role".into()), vec![json!("admin"), json!("staff")]),
                (Path("ok".into()), vec![json!(true)]),
            ],
            scopes: vec!["read".into(), "write".into()],
            ..Rules::default()
        };
        let good = json!({ "org": { "id": 7 }, "https://example.com/a": 1, "role": ["x", "staff"], "ok": true, "scope": "write read" });
        let with = |name: &str, value: Value| {
            let mut claims = claims(good.clone());
            claims.insert(name.into(), value);
            rules.check(None, &claims).err().map(|why| why.word())
        };
        assert_eq!(with("x", json!(1)), None);
        assert_eq!(with("scope", json!(["read", "write"])), None);
        assert_eq!(with("role", json!("admin")), None);
        assert_eq!(with("role", json!("Admin")), Some("claim-value"));
        assert_eq!(with("ok", json!("true")), Some("claim-value"));
        assert_eq!(with("org", json!({ "id": null })), Some("claim-missing"));
        assert_eq!(with("org", json!("id")), Some("claim-missing"));
        assert_eq!(with("scope", json!("read writes")), Some("scope"));
        assert_eq!(with("scope", json!(null)), Some("scope"));
    }
}
