//! The body of `POST /-/check`: a tree as JSON. One layer is `{"entries": {PATH: CONTENT, …}}`, several are
//! `{"layers": [{"source": NAME, "entries": {…}}, …]}`; a CONTENT is a text, or `{"base64": "…"}` for what is not one
//! (a module). Paths are as in a directory, from its root. Knows nothing of what the entries mean.

use std::{fmt, sync::Arc};

use imbl::OrdMap;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::source::{Entry, Layer, ReadError, Tree};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    source: Option<Arc<str>>,
    entries: Option<Entries>,
    layers: Option<Vec<AskedLayer>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedLayer {
    source: Option<Arc<str>>,
    entries: Entries,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Bytes(Encoded),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

struct Entries(OrdMap<Arc<str>, Result<Entry, ReadError>>);

/// Reads a body.
///
/// # Errors
/// In words, with line and column where it is the JSON.
pub(super) fn parse(body: &[u8]) -> Result<Tree, String> {
    let asked: Asked = serde_json::from_slice(body).map_err(|error| format!("the body is no tree: {error}"))?;
    let layer = |at: usize, source: Option<Arc<str>>, entries: Entries| Layer {
        source: source.unwrap_or_else(|| if at == 0 { "request".into() } else { format!("request-{at}").into() }),
        revision: 0,
        entries: entries.0,
    };
    match (asked.entries, asked.layers) {
        (Some(entries), None) => Ok(Tree { layers: vec![layer(0, asked.source, entries)] }),
        (None, Some(layers)) if asked.source.is_none() => {
            let layers = layers.into_iter().enumerate();
            Ok(Tree { layers: layers.map(|(at, asked)| layer(at, asked.source, asked.entries)).collect() })
        }
        _ => Err("the body is no tree: it has either `entries` or `layers`".into()),
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from path to content")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = OrdMap::new();
        while let Some((path, content)) = map.next_entry::<Arc<str>, Content>()? {
            if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
                return Err(A::Error::custom(format!("`{path}` is no path of an entry")));
            }
            let bytes = match content {
                Content::Text(text) => text.into_bytes(),
                Content::Bytes(encoded) => decode(&encoded.base64)
                    .ok_or_else(|| A::Error::custom(format!("the content of `{path}` is not base64")))?,
            };
            if entries.insert(Arc::clone(&path), Ok(Entry::new(bytes))).is_some() {
                return Err(A::Error::custom(format!("`{path}` stands there twice")));
            }
        }
        Ok(Entries(entries))
    }
}

// RFC 4648 section 4, with padding or without; line breaks are passed over, as `base64` writes them.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end().trim_end_matches('=').bytes().filter(|byte| !matches!(byte, b'\n' | b'\r'));
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits {
        bits = bits << 6 | u32::from(value(digit)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6 && bits == 0).then_some(bytes)
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_and_a_bad_one_named() {
        let tree = parse(br#"{"entries": {"a.yaml": "x: 1", "p/m.wasm": {"base64": "AGFzbQ=="}}}"#).expect("a tree");
        let entries = &tree.layers[0].entries;
        assert_eq!(entries["a.yaml"].as_ref().expect("read").bytes, "x: 1");
        assert_eq!(entries["p/m.wasm"].as_ref().expect("read").bytes, &b"\0asm"[..]);
        let two = r#"{"layers": [{"source": "base", "entries": {}}, {"entries": {"a": ""}}]}"#;
        let sources: Vec<_> = parse(two.as_bytes()).expect("a tree").layers.into_iter().map(|l| l.source).collect();
        assert_eq!(sources, ["base".into(), Arc::<str>::from("request-1")]);
        for (body, complaint) in [
            ("{}", "either `entries` or `layers`"),
            (r#"{"entries": {}, "layers": []}"#, "either `entries` or `layers`"),
            (r#"{"entries": {"a": "1", "a": "2"}}"#, "`a` stands there twice"),
            (r#"{"entries": {"../a": "1"}}"#, "`../a` is no path"),
            (r#"{"entries": {"/a": "1"}}"#, "`/a` is no path"),
            (r#"{"entries": {"a": {"base64": "?"}}}"#, "`a` is not base64"),
            (r#"{"entries": {"a": 1}}"#, "line 1"),
            (r#"{"entires": {}}"#, "unknown field `entires`"),
            ("", "EOF"),
        ] {
            let error = parse(body.as_bytes()).expect_err(body);
            assert!(error.contains(complaint), "{body}: {error}");
        }
    }

    #[test]
    fn base64_as_rfc_4648_has_it() {
        for (text, bytes) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zg", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v\n", Some("foo")),
            ("Zm9v\nYmE=\n", Some("fooba")),
            ("Z", None),
            ("Zh==", None),
            ("Zm 9", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes.map(str::as_bytes), "{text:?}");
        }
    }
}
