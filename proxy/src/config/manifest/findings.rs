//! What is worth saying of manifests, each with its place. Knows no kind in particular.

use std::sync::Arc;

use super::inventory::{Manifest, Named};
use crate::config::{decode::Fault, diagnostic::Diagnostic, node::Pos};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Diagnostic>);

impl Findings {
    /// Refuses the tree.
    pub(super) fn error(
        &mut self,
        file: &Arc<str>,
        code: &'static str,
        pos: Pos,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Diagnostic::error(code, message).at(pos.within(file)).hint(hint));
    }

    /// Refuses nothing: the rest is served.
    pub(super) fn warning(
        &mut self,
        file: &Arc<str>,
        code: &'static str,
        pos: Pos,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Diagnostic::warning(code, message).at(pos.within(file)).hint(hint));
    }

    /// A warning about an object; its title begins the message.
    pub(super) fn about<S>(&mut self, object: &Named<S>, code: &'static str, pos: Pos, message: &str, hint: &str) {
        self.warning(&object.file, code, pos, format!("{}: {message}", object.title()), hint);
    }

    /// A field that has no effect.
    pub(super) fn unsupported<S>(&mut self, object: &Named<S>, field: &str, pos: Option<Pos>) {
        if let Some(pos) = pos {
            let message = format!("the gateway does nothing for `{field}`");
            self.about(object, "unsupported", pos, &message, "remove it, or configure the same in the native form");
        }
    }

    /// What does not read.
    pub(super) fn fault(&mut self, file: &Arc<str>, fault: Fault, or: Pos, kind: &str, namespace: &str, name: &str) {
        let message = format!("{} in {kind} `{namespace}/{name}`", fault.message);
        let found = Diagnostic::error(fault.code, message).at(fault.pos.unwrap_or(or).within(file));
        self.0.push(Diagnostic { hint: fault.hint, ..found });
    }

    /// An object that one layer defines twice.
    pub(super) fn twice(&mut self, kind: &str, name: &str, first: &Manifest, second: &Manifest) {
        let what = format!("the {kind} `{name}` is defined twice");
        self.0.push(
            Diagnostic::error("duplicate-name", what)
                .at(second.node.pos.within(&second.file))
                .related(first.node.pos.within(&first.file), "first defined here")
                .hint("remove or rename one of them; only a later layer may define it again"),
        );
    }
}
