//! Whose bucket a request draws from: a text made of facts of the exchange. Knows neither buckets nor limits.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, SeqAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};
use sha2::{Digest, Sha256};
use tidegate_guest::{Request, exchange};

/// One fact that sets buckets apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// The client's address, or the network that it is in.
    ClientIp,
    /// The route.
    Route,
    /// A header field of the request.
    Header(String),
    /// What an earlier plugin noted, by full name (`auth.consumer`).
    Attribute(String),
}

/// What sets buckets apart: one fact, or several together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Vec<Part>);

/// How many leading bits of a client's address count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Networks {
    pub(crate) ipv4_bits: u8,
    pub(crate) ipv6_bits: u8,
}

/// Bytes of a bucket's name; a longer one is stored as its SHA-256.
const NAME_BYTES_MAX: usize = 192;

impl Key {
    /// The name of the bucket of the exchange under way. Where a header or an attribute is not there, the client's
    /// address is in its place: leaving it out gains nothing.
    pub(crate) fn name(&self, request: Request, networks: Networks) -> String {
        let facts = self.0.iter().map(|part| part.fact(request, networks));
        joined(facts.collect())
    }
}

impl Part {
    fn fact(&self, request: Request, networks: Networks) -> String {
        let named = match self {
            Self::ClientIp => None,
            Self::Route => exchange::route().map(|route| format!("r{route}")),
            Self::Attribute(name) => exchange::attribute(name).map(|value| format!("a{value}")),
            Self::Header(name) => header(&request.header_values(name)),
        };
        named.unwrap_or_else(|| network(&exchange::client_address(), networks))
    }
}

// Every value counts: which of them the upstream reads is not known here.
fn header(values: &[Vec<u8>]) -> Option<String> {
    match values {
        [] => None,
        [one] => Some(match std::str::from_utf8(one) {
            Ok(text) => format!("h{text}"),
            Err(_) => format!("x{}", digest(one)),
        }),
        several => Some(format!("x{}", digest(&several.join(&b'\n')))),
    }
}

/// `i` and the network that an address is in; an IPv4 address written as an IPv6 one is what it stands for.
fn network(address: &str, networks: Networks) -> String {
    // The gateway writes addresses in one way only: one that counts whole is taken as it is.
    if networks.ipv4_bits == 32 && is_ipv4(address) {
        return ["i", address].concat();
    }
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(networks.ipv4_bits)).unwrap_or(0);
            format!("i{}", Ipv4Addr::from_bits(address.to_bits() & kept))
        }
        Ok(IpAddr::V6(address)) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(networks.ipv6_bits)).unwrap_or(0);
            format!("i{}", Ipv6Addr::from_bits(address.to_bits() & kept))
        }
        Err(_) => format!("i{address}"),
    }
}

fn is_ipv4(address: &str) -> bool {
    address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

// Different facts never give one name: each is told with its length where there are several.
fn joined(mut facts: Vec<String>) -> String {
    let name = match facts.len() {
        1 => facts.remove(0),
        _ => facts.iter().fold(String::new(), |mut name, fact| {
            name += &fact.len().to_string();
            name.push(':');
            name += fact;
            name
        }),
    };
    if name.len() > NAME_BYTES_MAX { format!("#{}", digest(name.as_bytes())) } else { name }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Default for Key {
    fn default() -> Self {
        Self(vec![Part::ClientIp])
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

impl JsonSchema for Key {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<Part>();
        json_schema!({ "anyOf": [part, { "type": "array", "items": part, "minItems": 1 }] })
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`client-ip`, `route`, `{header: NAME}`, `{attribute: NAME}`, or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
        Part::deserialize(StrDeserializer::new(text)).map(|part| Key(vec![part]))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Key, A::Error> {
        Part::deserialize(MapAccessDeserializer::new(map)).map(|part| Key(vec![part]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Key, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        Ok(Key(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORKS: Networks = Networks { ipv4_bits: 32, ipv6_bits: 64 };

    #[test]
    fn a_client_is_its_address_or_the_network_that_it_is_in() {
        let cases = [
            ("203.0.113.7", NETWORKS, "i203.0.113.7"),
            ("203.0.113.7", Networks { ipv4_bits: 24, ..NETWORKS }, "i203.0.113.0"),
            ("203.0.113.7", Networks { ipv4_bits: 0, ..NETWORKS }, "i0.0.0.0"),
            ("::ffff:203.0.113.7", NETWORKS, "i203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", NETWORKS, "i2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", Networks { ipv6_bits: 56, ..NETWORKS }, "i2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", Networks { ipv6_bits: 128, ..NETWORKS }, "i2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", Networks { ipv6_bits: 0, ..NETWORKS }, "i::"),
            ("unix", NETWORKS, "iunix"),
        ];
        for (address, networks, expected) in cases {
            assert_eq!(network(address, networks), expected, "{address} {networks:?}");
        }
    }

    #[test]
    fn different_facts_have_different_names_of_bounded_length() {
        let values = |values: &[&[u8]]| header(&values.iter().map(|value| value.to_vec()).collect::<Vec<_>>()).unwrap();
        let long = "x".repeat(5_000);
        let mut names = vec![
            values(&[b"a"]),
            values(&[b"a", b"b"]),
            values(&[b"a\nb"]),
            values(&[b"\xff"]),
            values(&[b""]),
            joined(vec!["ha".into(), "b".into()]),
            joined(vec!["h".into(), "ab".into()]),
            joined(vec![long.clone()]),
            joined(vec![long.clone() + "y"]),
            joined(vec![long.clone(), "y".into()]),
        ];
        assert!(names.iter().all(|name| name.len() <= NAME_BYTES_MAX), "{names:?}");
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        assert_eq!(header(&[]), None);
    }

    #[test]
    fn a_key_is_one_fact_or_a_list() {
        let read = |text| serde_json::from_str::<Key>(text).map(|key| key.0).map_err(|error| error.to_string());
        assert_eq!(read(r#""route""#), Ok(vec![Part::Route]));
        assert_eq!(read(r#"{"header": "x-key"}"#), Ok(vec![Part::Header("x-key".into())]));
        assert_eq!(
            read(r#"["client-ip", {"attribute": "auth.consumer"}]"#),
            Ok(vec![Part::ClientIp, Part::Attribute("auth.consumer".into())])
        );
        assert!(read(r#""ip""#).unwrap_err().contains("unknown variant `ip`, expected one of `client-ip`"));
        assert!(read("5").unwrap_err().contains("`client-ip`, `route`, `{header: NAME}`"));
    }
}
