//! The settings, and what they come to once they are checked. Knows no requests.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_guest::{Period, Problem, Problems, fields::is_token};

use crate::{
    bucket::{COUNT_MAX, Limit, Rate},
    fields::Policy,
    key::{Key, Networks, Part},
};

/// Limits requests: a token bucket each. See the README.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Requests admitted in each `per`, on average.
    requests: u32,
    /// The time for `requests`.
    #[serde(default = "second")]
    per: Period,
    /// Requests that a client that was silent may send at once. `requests` where it is not given.
    burst: Option<u32>,
    /// What sets buckets apart: `client-ip`, `route`, `{header: NAME}`, `{attribute: NAME}`, or a list of them.
    #[serde(default)]
    key: Key,
    /// What the limit is called in the response's fields.
    #[serde(default = "default_policy")]
    policy: String,
    /// Which responses say how much is left: `all`, `limited` (refusals only), `none`.
    #[serde(default)]
    fields: Fields,
    /// What happens to a request whose bucket cannot be stored: `closed` (503) or `open` (it passes).
    #[serde(default)]
    on_full: OnFull,
    /// Leading bits of an IPv4 address that make a client.
    #[serde(default = "ipv4_bits")]
    ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that make a client.
    #[serde(default = "ipv6_bits")]
    ipv6_prefix: u8,
    /// `false`: counts and tells, and refuses nobody.
    #[serde(default = "yes")]
    enforce: bool,
}

/// Which responses say how much is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fields {
    #[default]
    All,
    Limited,
    None,
}

/// What happens to a request whose bucket cannot be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnFull {
    #[default]
    Closed,
    Open,
}

/// Settings that were checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) limit: Limit,
    pub(crate) key: Key,
    pub(crate) networks: Networks,
    pub(crate) policy: Policy,
    pub(crate) fields: Fields,
    pub(crate) on_full: OnFull,
    pub(crate) enforce: bool,
}

const fn second() -> Period {
    Period::from_secs(1)
}

fn default_policy() -> String {
    "default".to_owned()
}

const fn ipv4_bits() -> u8 {
    32
}

const fn ipv6_bits() -> u8 {
    64
}

const fn yes() -> bool {
    true
}

const KEY_PARTS_MAX: usize = 8;

impl Settings {
    /// Checks everything, and says everything that is wrong.
    pub(crate) fn checked(self) -> Result<Checked, Problems> {
        let mut problems = Problems::default();
        let mut check = |good: bool, pointer: &str, message: &str| {
            if !good {
                problems.push(Problem::at(pointer, message));
            }
        };
        let burst = self.burst.unwrap_or(self.requests);
        let counts = 1..=COUNT_MAX;
        check(
            counts.contains(&self.requests),
            "/requests",
            "must be from 1 to 1000000000; to refuse all, use `respond`",
        );
        check(!self.per.0.is_zero(), "/per", "must be longer than nothing");
        let given = if self.burst.is_some() { "/burst" } else { "/requests" };
        check(!counts.contains(&self.requests) || counts.contains(&burst), given, "must be from 1 to 1000000000");
        check(self.ipv4_prefix <= 32, "/ipv4-prefix", "must be from 0 to 32");
        check(self.ipv6_prefix <= 128, "/ipv6-prefix", "must be from 0 to 128");
        check(is_name(&self.policy), "/policy", "must be 1 to 64 printable ASCII characters, `\"` and `\\` excepted");
        let parts = self.key.0.len();
        check((1..=KEY_PARTS_MAX).contains(&parts), "/key", "must be a fact, or a list of 1 to 8");
        for (position, part) in self.key.0.iter().enumerate() {
            let at = if parts == 1 { "/key".to_owned() } else { format!("/key/{position}") };
            match part {
                Part::Header(name) => check(is_token(name), &at, "must name a header: letters, digits and `-`"),
                Part::Attribute(name) => {
                    check(name.contains('.'), &at, "must be `MIDDLEWARE.NAME`, such as `auth.consumer`");
                }
                Part::ClientIp | Part::Route => {}
            }
        }
        problems.or(())?;
        let limit = Limit { rate: Rate { requests: self.requests, per: self.per.0 }, burst };
        let networks = Networks { ipv4_bits: self.ipv4_prefix, ipv6_bits: self.ipv6_prefix };
        let policy = Policy::new(&self.policy, &limit);
        let Self { key, fields, on_full, enforce, .. } = self;
        Ok(Checked { limit, key, networks, policy, fields, on_full, enforce })
    }
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Checked, Problems> {
        serde_json::from_str::<Settings>(text).unwrap().checked()
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let checked = checked(r#"{"requests": 5}"#).unwrap();
        assert_eq!(checked.limit.burst, 5);
        assert_eq!(checked.limit.rate.per, std::time::Duration::from_secs(1));
        assert_eq!(checked.networks, Networks { ipv4_bits: 32, ipv6_bits: 64 });
        assert_eq!((checked.fields, checked.on_full, checked.enforce), (Fields::All, OnFull::Closed, true));
        assert_eq!(checked.key, Key(vec![Part::ClientIp]));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_its_place() {
        let cases = [
            (r#"{"requests": 0}"#, "/requests"),
            (r#"{"requests": 1000000001}"#, "/requests"),
            (r#"{"requests": 1, "burst": 0}"#, "/burst"),
            (r#"{"requests": 1, "per": "0s"}"#, "/per"),
            (r#"{"requests": 1, "ipv4-prefix": 33}"#, "/ipv4-prefix"),
            (r#"{"requests": 1, "ipv6-prefix": 129}"#, "/ipv6-prefix"),
            (r#"{"requests": 1, "policy": ""}"#, "/policy"),
            (r#"{"requests": 1, "policy": "a\"b"}"#, "/policy"),
            (r#"{"requests": 1, "key": []}"#, "/key"),
            (r#"{"requests": 1, "key": {"header": "a b"}}"#, "/key"),
            (r#"{"requests": 1, "key": ["route", {"attribute": "consumer"}]}"#, "/key/1"),
        ];
        for (text, pointer) in cases {
            let problems = format!("{:?}", checked(text).unwrap_err());
            assert!(problems.contains(&format!("pointer: \"{pointer}\"")), "{text}: {problems}");
        }
    }
}
