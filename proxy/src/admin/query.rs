//! The query of an admin request, by name. Percent-encoding and `+` as forms write them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Names and values, in order.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn new(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(n, v)| (decoded(n), decoded(v)))
                .collect(),
        )
    }

    /// The first value of `name`.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` is set: present, or 1, or true.
    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.value(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(format!("`{name}` is 1 or 0, not `{other}`")),
        }
    }

    /// Refuses what is not in `known`, so that a misspelt `dry_run` does not reload.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => Err(format!("unknown parameter `{name}`: this takes none")),
            Some((name, _)) => Err(format!("unknown parameter `{name}`: this takes {}", known.join(", "))),
        }
    }
}

fn decoded(text: &str) -> String {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let query = Query::new(Some("a=1&b=x+y%26z&a=2&c&&d=%ff"));
        assert_eq!(query.values("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.value("b"), Some("x y&z"));
        assert_eq!(query.flag("c"), Ok(true));
        assert_eq!(query.flag("nothing"), Ok(false));
        assert!(query.flag("b").is_err());
        assert_eq!(query.value("d"), Some("\u{fffd}"));
        assert_eq!(query.only(&["a", "b", "c"]), Err("unknown parameter `d`: this takes a, b, c".into()));
        assert_eq!(Query::new(None).only(&[]), Ok(()));
    }
}
