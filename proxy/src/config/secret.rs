//! Secrets that texts name: `${env:NAME}` and `${file:PATH}`; `$${` is a plain `${`. Says what they stand for, from
//! the tree and the environment it is given. What they hold never enters a message.

use std::{collections::BTreeMap, sync::Arc};

use crate::{identity::Identity, source::Tree};

/// What secrets are looked up in.
pub(crate) struct Environment<'a> {
    /// Variables of the process.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// Files.
    pub(crate) tree: &'a Tree,
    /// What manifests of the kind `Secret` hold, by `NAMESPACE/NAME/KEY`.
    pub(crate) secrets: &'a BTreeMap<Arc<str>, Arc<str>>,
}

/// A secret that a text names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reference {
    /// A variable of the process's environment.
    Variable(Arc<str>),
    /// An entry of the tree.
    File(Arc<str>),
    /// An entry of a `Secret` among the documents, `NAMESPACE/NAME/KEY`.
    Kept(Arc<str>),
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This.
    Text(String),
    /// A file that the source has not been asked for yet.
    Unread,
    /// Nothing: why, and the next step.
    Missing(String, String),
}

/// What a part of a text is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Itself.
    Plain(&'a str),
    /// A secret.
    Secret(Reference),
    /// `${kind:…}` of no known kind.
    Unknown(&'a str),
}

/// Whether a text may hold anything but itself.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.contains("${")
}

/// Divides a text into its pieces.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            pieces.push(Piece::Plain(&rest[..start - 1]));
            pieces.push(Piece::Plain("${"));
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start..].find('}') else { break };
        pieces.push(Piece::Plain(&rest[..start]));
        let whole = &rest[start..=start + length];
        pieces.push(match whole[2..whole.len() - 1].split_once(':') {
            Some(("env", name)) if !name.is_empty() => Piece::Secret(Reference::Variable(name.into())),
            Some(("file", path)) if !path.is_empty() => Piece::Secret(Reference::File(path.into())),
            Some(("secret", path)) if !path.is_empty() => Piece::Secret(Reference::Kept(path.into())),
            Some(_) => Piece::Unknown(whole),
            None => Piece::Plain(whole),
        });
        rest = &rest[start + length + 1..];
    }
    pieces.push(Piece::Plain(rest));
    pieces
}

impl Reference {
    /// The entry of the tree that it is, if it is one.
    pub(crate) const fn file(&self) -> Option<&Arc<str>> {
        match self {
            Self::File(path) => Some(path),
            Self::Variable(_) | Self::Kept(_) => None,
        }
    }

    /// What it stands for.
    pub(crate) fn find(&self, environment: &Environment<'_>) -> Found {
        match self {
            Self::Variable(name) => (environment.variable)(name).map_or_else(
                || {
                    Found::Missing(
                        format!("the environment variable `{name}` is not set"),
                        format!("set `{name}` in the gateway's environment, or write `$${{` for a plain `${{`"),
                    )
                },
                Found::Text,
            ),
            Self::File(path) => file(path, environment.tree),
            Self::Kept(path) => environment.secrets.get(path).map_or_else(
                || {
                    Found::Missing(
                        format!("no Gateway names the entry `{path}` of a Secret"),
                        "such entries are those that manifests of Gateways name; write `${file:PATH}` for a file"
                            .into(),
                    )
                },
                |text| Found::Text(text.to_string()),
            ),
        }
    }

    /// A fingerprint of what it stands for at present; a changed secret changes it.
    pub(crate) fn fingerprint(&self, environment: &Environment<'_>) -> Identity {
        match self.find(environment) {
            Found::Text(text) => Identity::of_bytes(text.as_bytes()),
            Found::Unread => Identity::of_bytes(b"\xffunread"),
            Found::Missing(why, _) => Identity::of_bytes(format!("\u{1}{why}").as_bytes()),
        }
    }
}

/// The newest layer that has the file.
fn file(path: &str, tree: &Tree) -> Found {
    let mut missing = Found::Unread;
    for entry in tree.layers.iter().rev().filter_map(|layer| layer.entries.get(path)) {
        match entry {
            Ok(entry) => match std::str::from_utf8(&entry.bytes) {
                Ok(text) => return Found::Text(text.trim_end_matches(['\r', '\n']).into()),
                Err(_) => {
                    return Found::Missing(
                        format!("the file `{path}` is not UTF-8"),
                        "it has to be text; save it as UTF-8".into(),
                    );
                }
            },
            Err(why) => {
                missing = Found::Missing(
                    format!("the file `{path}` cannot be read: {why}"),
                    "the path is taken from the root of the configuration".into(),
                );
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_divided() {
        let variable = |name: &str| Piece::Secret(Reference::Variable(name.into()));
        assert_eq!(pieces("a${env:B}c"), [Piece::Plain("a"), variable("B"), Piece::Plain("c")]);
        assert_eq!(pieces("$${env:B}"), [Piece::Plain(""), Piece::Plain("${"), Piece::Plain("env:B}")]);
        assert_eq!(pieces("${x}"), [Piece::Plain(""), Piece::Plain("${x}"), Piece::Plain("")]);
        assert_eq!(pieces("${evn:X}"), [Piece::Plain(""), Piece::Unknown("${evn:X}"), Piece::Plain("")]);
        assert_eq!(pieces("open ${env:"), [Piece::Plain("open ${env:")]);
    }
}
