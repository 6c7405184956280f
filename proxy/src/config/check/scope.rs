//! What checking one object yields: the checked value, everything that is wrong with it, and what it needs of the
//! rest. Knows no object in particular.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{
    config::{
        decode::decode,
        diagnostic::{Diagnostic, Place},
        document::{Kind, Object},
        node::{Node, Pos},
        secret::{self, Environment, Found, Piece, Reference as SecretReference},
        spec::{Gateway, Listener, Middleware, Name, Part, Route, Table, Upstream},
    },
    identity::Identity,
};

/// A checked object.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// All but the one setting is default. Trusted proxies are set apart: they are the listeners' default.
    Setting(Box<Gateway>, Vec<ipnet::IpNet>),
    Listener(Arc<Part<Listener>>),
    Upstream(Arc<Part<Upstream>>),
    Middleware(Arc<Part<Middleware>>),
    Table(Arc<Part<Table>>),
    /// Where it has no target, the place that says so.
    Route(Arc<Part<Route>>, Option<Place>),
}

/// A name that must be defined somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) at: Place,
}

/// All that comes of checking one object.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) value: Option<Value>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) mentions: Vec<Mention>,
    /// Middleware defined inline.
    pub(crate) middleware: Vec<(Name, Arc<Part<Middleware>>)>,
    /// Upstreams that targets name in place.
    pub(crate) upstreams: Vec<(Name, Arc<Part<Upstream>>)>,
    /// Modules.
    pub(crate) modules: Vec<(Arc<str>, Place)>,
    /// Secrets, with the fingerprint of what they stood for.
    pub(crate) secrets: Vec<(SecretReference, Identity)>,
}

/// The checking of one object.
pub(crate) struct Scope<'a> {
    object: &'a Object,
    environment: &'a Environment<'a>,
    pub(crate) outcome: Outcome,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(object: &'a Object, environment: &'a Environment<'a>) -> Self {
        Self { object, environment, outcome: Outcome::default() }
    }

    /// The object's name.
    pub(crate) fn name(&self) -> Name {
        Arc::clone(&self.object.name)
    }

    /// Whether the object has a name of its own.
    pub(crate) fn is_named(&self) -> bool {
        self.object.is_named()
    }

    /// Where the object's name stands.
    pub(crate) fn at(&self) -> Pos {
        self.object.at
    }

    pub(crate) fn place(&self, pos: Pos) -> Place {
        self.object.place_of(pos)
    }

    /// The object's content as its raw type. What does not read is reported; the rest is there.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.read_node(&self.object.node)
    }

    fn read_node<T: DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        let (value, faults) = decode(node);
        for fault in faults {
            let pos = fault.pos.unwrap_or(node.pos);
            let message = match self.field(pos).filter(|_| fault.code != "unknown-field") {
                Some(field) => format!("{field}: {}", fault.message),
                None => format!("{} in {}", fault.message, self.object.title()),
            };
            let found = Diagnostic::error(fault.code, message).at(self.place(pos));
            self.outcome.diagnostics.push(Diagnostic { hint: fault.hint, ..found });
        }
        value
    }

    pub(crate) fn error(&mut self, code: &'static str, pos: Pos, message: impl Into<String>, hint: impl Into<String>) {
        let found = Diagnostic::error(code, message).at(self.place(pos)).hint(hint);
        self.outcome.diagnostics.push(found);
    }

    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        pos: Pos,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let found = Diagnostic::warning(code, message).at(self.place(pos)).hint(hint);
        self.outcome.diagnostics.push(found);
    }

    /// How a message calls the field whose value stands at `pos`.
    pub(crate) fn field(&self, pos: Pos) -> Option<String> {
        let path = self.object.node.path_to(pos)?;
        Some(format!("`{path}` of {}", self.object.title()))
    }

    /// Adds another place to what was reported last.
    pub(crate) fn relate(&mut self, pos: Pos, why: &str) {
        let place = self.place(pos);
        self.outcome
            .diagnostics
            .last_mut()
            .into_iter()
            .for_each(|found| found.related.push((place.clone(), why.into())));
    }

    /// Reports that the required field `field` of the thing at `pos` is not there, unless it is there misspelt, which
    /// is reported already.
    pub(crate) fn missing(&mut self, field: &str, pos: Pos, hint: &str) {
        let meant = format!("did you mean `{field}`?");
        if self.outcome.diagnostics.iter().any(|found| found.hint.as_ref() == Some(&meant)) {
            return;
        }
        let message = format!("`{field}` is missing in {}", self.object.title());
        self.error("missing-field", pos, message, hint);
    }

    /// Notes that `name` must be defined.
    pub(crate) fn mention(&mut self, kind: Kind, name: &str, pos: Pos) -> Name {
        let name: Name = name.into();
        let at = self.place(pos);
        self.outcome.mentions.push(Mention { kind, name: Arc::clone(&name), at });
        name
    }

    /// `text` with its secrets replaced. What is missing is reported and left out.
    pub(crate) fn reveal(&mut self, text: &str, pos: Pos) -> String {
        if secret::is_plain(text) {
            return text.into();
        }
        let mut revealed = String::new();
        for piece in secret::pieces(text) {
            match piece {
                Piece::Plain(plain) => revealed.push_str(plain),
                Piece::Secret(reference) => {
                    let fingerprint = reference.fingerprint(self.environment);
                    match reference.find(self.environment) {
                        Found::Text(text) => revealed.push_str(&text),
                        Found::Unread => {}
                        Found::Missing(why, hint) => self.error("missing-secret", pos, why, hint),
                    }
                    self.outcome.secrets.push((reference, fingerprint));
                }
                Piece::Unknown(whole) => self.error(
                    "unknown-secret",
                    pos,
                    format!("`{whole}` is not a kind of secret"),
                    "write `${env:NAME}` or `${file:PATH}`, or `$${` for a plain `${`",
                ),
            }
        }
        revealed
    }

    /// The text of a file of the configuration; a `noun`, as messages call it. Empty where the source was not asked for
    /// it yet, or it is missing, which is reported.
    pub(crate) fn file(&mut self, path: &str, pos: Pos, noun: &str) -> String {
        let reference = SecretReference::File(path.into());
        let fingerprint = reference.fingerprint(self.environment);
        let found = reference.find(self.environment);
        self.outcome.secrets.push((reference, fingerprint));
        match found {
            Found::Text(text) => text,
            Found::Unread => String::new(),
            Found::Missing(why, hint) => {
                self.error("missing-file", pos, format!("the {noun}: {why}"), hint);
                String::new()
            }
        }
    }

    /// Whether nothing wrong was found yet.
    pub(crate) fn is_sound(&self) -> bool {
        !self.outcome.diagnostics.iter().any(Diagnostic::is_error)
    }
}
