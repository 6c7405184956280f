//! Why a request is turned away: one text for its sender (RFC 6750 section 3), another for the log. Knows no host.

use std::fmt;

use tidegate_guest::LocalResponse;

use crate::token::Malformed;

/// Why a request does not pass.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// It has no token.
    Missing,
    /// It has more than one (RFC 6750 section 2).
    Several,
    /// The token is over its limit.
    TooLong(usize),
    /// The token is none.
    Malformed(&'static str),
    /// The token is signed with what is not allowed.
    Algorithm(String),
    /// No key that is known could have signed it.
    UnknownKey(Option<String>),
    /// The signature is nobody's who is known.
    Signature(Option<String>),
    /// `typ` is not one that is wanted.
    Kind(Option<String>),
    /// `exp` has passed.
    Expired,
    /// `nbf` has not come.
    NotYet,
    /// `iat` has not come.
    IssuedLater,
    /// `iat` is too long ago.
    TooOld,
    /// `iss` is not trusted.
    Issuer(String),
    /// `aud` is somebody else.
    Audience(String),
    /// A claim is missing that must be there.
    Claim(String),
    /// A claim that goes into a header or attribute is too long.
    ClaimTooLong(String),
    /// A claim has another value than those allowed.
    Value(String, String),
    /// A scope is missing.
    Scope(String),
    /// No key can be had.
    NoKeys,
}

impl Refusal {
    /// A word for logs and metrics.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Several => "several",
            Self::TooLong(_) => "too-long",
            Self::Malformed(_) => "malformed",
            Self::Algorithm(_) => "algorithm",
            Self::UnknownKey(_) => "unknown-key",
            Self::Signature(_) => "signature",
            Self::Kind(_) => "type",
            Self::Expired => "expired",
            Self::NotYet => "not-yet-valid",
            Self::IssuedLater => "issued-later",
            Self::TooOld => "too-old",
            Self::Issuer(_) => "issuer",
            Self::Audience(_) => "audience",
            Self::Claim(_) => "claim-missing",
            Self::ClaimTooLong(_) => "claim-too-long",
            Self::Value(..) => "claim-value",
            Self::Scope(_) => "scope",
            Self::NoKeys => "no-keys",
        }
    }

    /// What the sender is told: no more than it can find out by itself.
    pub(crate) fn answer(&self, realm: &str, scopes: &[String]) -> LocalResponse {
        let (status, error, text) = self.told();
        let answer = LocalResponse::new(status);
        let answer = match (status, error) {
            (503, _) => answer.field("retry-after", "1"),
            (_, "") => answer.field("www-authenticate", format!("Bearer realm=\"{realm}\"")),
            (_, error) => {
                let scope = match self {
                    Self::Scope(_) => format!(", scope=\"{}\"", scopes.join(" ")),
                    _ => String::new(),
                };
                let challenge =
                    format!("Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{text}\"{scope}");
                answer.field("www-authenticate", challenge)
            }
        };
        answer.field("cache-control", "no-store").text(format!("{text}\n"))
    }

    // Status, error code (RFC 6750 section 3.1; none where no token was given) and description.
    const fn told(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Missing => (401, "", "An access token is required"),
            Self::Several => (400, "invalid_request", "The request has more than one access token"),
            Self::TooLong(_) | Self::Malformed(_) => (401, "invalid_token", "The access token is malformed"),
            Self::Algorithm(_) => {
                (401, "invalid_token", "The access token is signed with an algorithm that is not accepted")
            }
            Self::UnknownKey(_) | Self::Signature(_) => {
                (401, "invalid_token", "The access token's signature is not valid")
            }
            Self::Kind(_) => (401, "invalid_token", "The access token is of another type"),
            Self::Expired | Self::TooOld => (401, "invalid_token", "The access token has expired"),
            Self::NotYet | Self::IssuedLater => (401, "invalid_token", "The access token is not yet valid"),
            Self::Issuer(_) => (401, "invalid_token", "The access token's issuer is not trusted"),
            Self::Audience(_) => (401, "invalid_token", "The access token is for another audience"),
            Self::Claim(_) | Self::ClaimTooLong(_) => (401, "invalid_token", "The access token lacks a claim"),
            Self::Value(..) | Self::Scope(_) => (403, "insufficient_scope", "The access token does not allow this"),
            Self::NoKeys => (503, "", "Service unavailable"),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// For the log. What comes out of a token is quoted and cut; the token itself is never there.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no token"),
            Self::Several => f.write_str("there is more than one token"),
            Self::TooLong(bytes) => write!(f, "the token has {bytes} bytes, over `token-bytes-max`"),
            Self::Malformed(why) => write!(f, "the token is malformed: {why}"),
            Self::Algorithm(name) => write!(f, "the token's `alg` is {}, which `algorithms` does not allow", Cut(name)),
            Self::UnknownKey(kid) => write!(f, "no key is known for the token{}", Of(kid)),
            Self::Signature(kid) => write!(f, "the token's signature does not fit{}", Of(kid)),
            Self::Kind(Some(kind)) => write!(f, "the token's `typ` is {}, not one of `types`", Cut(kind)),
            Self::Kind(None) => f.write_str("the token has no `typ`, and `types` wants one"),
            Self::Expired => f.write_str("the token's `exp` has passed"),
            Self::NotYet => f.write_str("the token's `nbf` has not come"),
            Self::IssuedLater => f.write_str("the token's `iat` has not come: does a clock go wrong?"),
            Self::TooOld => f.write_str("the token's `iat` is longer ago than `age-max`"),
            Self::Issuer(issuer) => write!(f, "the token's `iss` is {}, which is not `issuer`", Cut(issuer)),
            Self::Audience(audience) => write!(f, "the token's `aud` is {}, not one of `audience`", Cut(audience)),
            Self::Claim(name) => write!(f, "the token has no claim {}", Cut(name)),
            Self::ClaimTooLong(name) => write!(f, "the token's claim {} is over 1024 bytes", Cut(name)),
            Self::Value(name, value) => {
                write!(f, "the token's claim {} is {}, which is not allowed", Cut(name), Cut(value))
            }
            Self::Scope(scope) => write!(f, "the token's scopes lack {}", Cut(scope)),
            Self::NoKeys => f.write_str("no key can be had to verify the token with"),
        }
    }
}

struct Cut<'a>(&'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = (0..=self.0.len().min(100)).rev().find(|at| self.0.is_char_boundary(*at)).unwrap_or(0);
        write!(f, "{:?}{}", &self.0[..end], if end < self.0.len() { "..." } else { "" })
    }
}

struct Of<'a>(&'a Option<String>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(kid) => write!(f, " (`kid` {})", Cut(kid)),
            None => f.write_str(" (it has no `kid`)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(refusal: &Refusal) -> (u16, String) {
        let answer = refusal.answer("api", &["a".into(), "b".into()]);
        let found = answer.fields.iter().find(|(name, _)| name == "www-authenticate");
        (answer.status, found.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).unwrap_or_default())
    }

    #[test]
    fn a_sender_is_told_what_the_standard_says_and_no_more() {
        assert_eq!(challenge(&Refusal::Missing), (401, "Bearer realm=\"api\"".into()));
        let (status, text) = challenge(&Refusal::Issuer("https://\"evil\"".into()));
        assert_eq!(status, 401);
        assert!(text.contains("error=\"invalid_token\"") && !text.contains("evil"), "{text}");
        let (status, text) = challenge(&Refusal::Scope("b".into()));
        assert!(status == 403 && text.ends_with("error=\"insufficient_scope\", error_description=\"The access token does not allow this\", scope=\"a b\""), "{text}");
        assert_eq!(challenge(&Refusal::NoKeys), (503, String::new()));
        assert_eq!(challenge(&Refusal::Several).0, 400);
    }

    #[test]
    fn the_log_quotes_what_a_token_says_and_cuts_it() {
        let text = Refusal::Issuer(format!("a\n{}", "ü".repeat(200))).to_string();
        assert!(text.contains("\"a\\nüü") && text.contains("...") && text.len() < 300, "{text}");
        assert!(Refusal::UnknownKey(None).to_string().contains("no `kid`"));
    }
}
