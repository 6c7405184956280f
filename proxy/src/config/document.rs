//! Splits a document into named objects. Knows the sections of a document and nothing of what is in an object.

use std::{collections::HashSet, sync::Arc};

use super::{
    diagnostic::{Diagnostic, Place},
    manifest::Manifest,
    node::{Key, Node, Pos, Value},
    spec::Name,
    suggest,
};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One field of the `gateway` section.
    Setting,
    /// A listener.
    Listener,
    /// An upstream.
    Upstream,
    /// A middleware.
    Middleware,
    /// A routing table.
    Table,
    /// A route.
    Route,
}

/// A named thing of a document.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    /// Where its name stands.
    pub(crate) at: Pos,
    /// For a setting: a map with that one field.
    pub(crate) node: Node,
    pub(crate) file: Arc<str>,
    /// For what a table yielded: where everything in it is said to stand.
    pub(crate) stands_at: Option<Place>,
}

/// A document's objects in the order written, and what is wrong with the document itself.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Manifests of Kubernetes, as they were written.
    pub(crate) manifests: Vec<Manifest>,
    /// Whether it could not be read at all, so that objects may be missing.
    pub(crate) broken: bool,
    /// Whether it holds nothing.
    pub(crate) empty: bool,
}

impl Kind {
    /// What a message calls one of it, with its article.
    const fn one(self) -> &'static str {
        match self {
            Self::Setting => "a gateway setting",
            Self::Listener => "a listener",
            Self::Upstream => "an upstream",
            Self::Middleware => "a middleware",
            Self::Table => "a table",
            Self::Route => "a route",
        }
    }

    /// What a message calls it.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Setting => "gateway setting",
            Self::Listener => "listener",
            Self::Upstream => "upstream",
            Self::Middleware => "middleware",
            Self::Table => "table",
            Self::Route => "route",
        }
    }
}

impl Object {
    /// How a message calls it.
    pub(crate) fn title(&self) -> String {
        match self.kind {
            Kind::Setting => "`gateway`".into(),
            // What a table yields is named around the message.
            Kind::Route if !self.is_named() || self.stands_at.is_some() => "this route".into(),
            kind => format!("{} `{}`", kind.noun(), self.name),
        }
    }

    /// Whether its name is its own; a route without `id` is called after its line.
    pub(crate) fn is_named(&self) -> bool {
        !self.name.starts_with(UNNAMED)
    }

    /// Where its name stands.
    pub(crate) fn place(&self) -> Place {
        self.place_of(self.at)
    }

    /// A position in it as a place.
    pub(crate) fn place_of(&self, pos: Pos) -> Place {
        self.stands_at.clone().unwrap_or_else(|| pos.within(&self.file))
    }
}

impl Document {
    /// Takes in what follows in the same file.
    pub(crate) fn append(&mut self, next: Self) {
        self.objects.extend(next.objects);
        self.diagnostics.extend(next.diagnostics);
        self.manifests.extend(next.manifests);
        self.broken |= next.broken;
    }
}

/// Splits the document `root` of `file`.
pub(crate) fn split(file: &Arc<str>, root: Node) -> Document {
    let mut splitter = Splitter { file, seen: HashSet::new(), document: Document::default() };
    root.duplicates(&mut |first, second| splitter.duplicate(first, second));
    match root.value {
        Value::List(items) => splitter.routes(items),
        Value::Map(entries) if is_manifest(&entries) => {
            splitter.manifest(Node { value: Value::Map(entries), pos: root.pos });
        }
        Value::Map(entries) if is_flat_route(&entries) => {
            splitter.route_of_list(Node { value: Value::Map(entries), pos: root.pos });
        }
        Value::Map(entries) => splitter.sections(entries),
        _ => {
            splitter.document.broken = true;
            splitter.error(
                "wrong-type",
                root.pos,
                format!("a document is a map of sections or a list of routes, found {}", root.kind()),
                Some(format!("the sections are {}", suggest::listed(SECTIONS.into_iter()))),
            );
        }
    }
    splitter.document
}

/// What the names of routes without `id` begin with. No name that people write can hold a space.
const UNNAMED: &str = "at line ";
const SECTIONS: [&str; 6] = ["gateway", "listeners", "upstreams", "middleware", "tables", "routes"];

/// Whether a document is itself one route: no section in it, but what only routes have.
fn is_flat_route(entries: &[(Key, Node)]) -> bool {
    let has = |names: &[&str]| entries.iter().any(|(key, _)| names.contains(&&*key.text));
    has(&["route_id", "route-id", "id", "path", "target", "upstream", "targets"])
        && !has(&["gateway", "listeners", "upstreams", "tables", "routes"])
}

/// Whether a document is a manifest of Kubernetes.
fn is_manifest(entries: &[(Key, Node)]) -> bool {
    ["apiVersion", "kind"].iter().all(|name| entries.iter().any(|(key, _)| &*key.text == *name))
}

struct Splitter<'a> {
    file: &'a Arc<str>,
    seen: HashSet<(Kind, Box<str>)>,
    document: Document,
}

impl Splitter<'_> {
    fn error(&mut self, code: &'static str, pos: Pos, message: impl Into<String>, hint: Option<String>) {
        let found = Diagnostic { hint, ..Diagnostic::error(code, message).at(pos.within(self.file)) };
        self.document.diagnostics.push(found);
    }

    fn duplicate(&mut self, first: &Key, second: &Key) {
        let found = Diagnostic::error("duplicate-key", format!("`{}` is given twice in this map", second.text))
            .at(second.pos.within(self.file))
            .related(first.pos.within(self.file), "first given here")
            .hint("remove one of them, or rename it");
        self.document.diagnostics.push(found);
    }

    // A list of manifests is what it lists.
    fn manifest(&mut self, node: Node) {
        let listed = match (node.find("kind").map(|kind| &kind.value), node.find("items").map(|items| &items.value)) {
            (Some(Value::Text(kind)), Some(Value::List(items))) if kind.ends_with("List") => Some(items),
            _ => None,
        };
        match listed {
            Some(items) => items.clone().into_iter().for_each(|item| self.manifest(item)),
            None => self.document.manifests.push(Manifest { node, file: Arc::clone(self.file) }),
        }
    }

    fn sections(&mut self, entries: Vec<(Key, Node)>) {
        for (key, node) in entries {
            let kind = match &*key.text {
                "gateway" => Kind::Setting,
                "listeners" => Kind::Listener,
                "upstreams" => Kind::Upstream,
                "middleware" => Kind::Middleware,
                "tables" => Kind::Table,
                "routes" => Kind::Route,
                // What anchors are defined in, for other places to refer to.
                text if text.starts_with("x-") => continue,
                _ => {
                    self.unknown(&key);
                    continue;
                }
            };
            match (kind, node.value) {
                (_, Value::Null) => self.document.diagnostics.push(
                    Diagnostic::warning("empty-section", format!("the section `{}` is empty", key.text))
                        .at(key.pos.within(self.file))
                        .hint("remove it, or fill it in"),
                ),
                (Kind::Route, Value::List(items)) => self.routes(items),
                (_, Value::Map(objects)) => objects.into_iter().for_each(|(key, node)| self.named(kind, key, node)),
                (_, value) => {
                    let expected = if kind == Kind::Route { "a list or a map" } else { "a map from names" };
                    let found = Node { value, pos: node.pos };
                    let message = format!("expected {expected} in `{}`, found {}", key.text, found.kind());
                    self.error("wrong-type", found.pos, message, None);
                }
            }
        }
    }

    fn unknown(&mut self, key: &Key) {
        let hint = match suggest::nearest(&key.text, SECTIONS.into_iter()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the sections of a document are {}", suggest::listed(SECTIONS.into_iter())),
        };
        self.error("unknown-field", key.pos, format!("unknown section `{}`", key.text), Some(hint));
    }

    fn named(&mut self, kind: Kind, key: Key, node: Node) {
        let node = match kind {
            Kind::Setting => Node { pos: node.pos, value: Value::Map(vec![(key.clone(), node)]) },
            _ => node,
        };
        // A name given twice in one map is reported as a duplicate key already; the first one counts.
        if !self.seen.insert((kind, key.text.clone())) {
            return;
        }
        self.object(kind, &key.text, key.pos, node);
    }

    fn routes(&mut self, items: Vec<Node>) {
        items.into_iter().for_each(|item| self.route_of_list(item));
    }

    fn route_of_list(&mut self, node: Node) {
        let id = ["id", "route_id", "route-id"].iter().find_map(|name| node.find(name));
        match id.map(|id| (&id.value, id.pos)) {
            Some((Value::Text(text) | Value::Number(_, text) | Value::Bool(_, text), pos)) => {
                let name = text.clone();
                self.object(Kind::Route, &name, pos, node);
            }
            Some((_, pos)) => {
                self.error("wrong-type", pos, "a route's `id` is text", Some("such as `id: users`".into()))
            }
            None if matches!(node.value, Value::Map(_)) => {
                self.error(
                    "missing-field",
                    node.pos,
                    "this route has no `id`",
                    Some("give it one, such as `id: users`; logs, metrics and other layers name it by that".into()),
                );
                // Whatever else is wrong with it is worth saying too.
                let name = format!("{UNNAMED}{}", node.pos.line);
                self.object(Kind::Route, &name, node.pos, node);
            }
            None => {
                let message = format!("expected a map with the fields of a route, found {}", node.kind());
                self.error("wrong-type", node.pos, message, None);
            }
        }
    }

    fn object(&mut self, kind: Kind, name: &str, at: Pos, node: Node) {
        if kind != Kind::Setting && !name.starts_with(UNNAMED) && !is_name(name) {
            self.error(
                "bad-name",
                at,
                format!("`{name}` cannot be the name of {}", kind.one()),
                Some("names are made of letters, digits, `-`, `_` and `.`, 1 to 128 of them".into()),
            );
        }
        let object = Object { kind, name: name.into(), at, node, file: Arc::clone(self.file), stands_at: None };
        self.document.objects.push(Arc::new(object));
    }
}

/// Whether people may call an object this.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
