//! Why a module could not be had, in words for the one who named it. Knows no protocol.

use crate::config::diagnostic::{Diagnostic, Place};

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchError {
    /// A short, stable name.
    code: &'static str,
    /// What happened, with whom.
    what: String,
    /// The next step.
    hint: String,
    /// Whether it may be otherwise when it is tried again.
    pub(super) passing: bool,
}

impl FetchError {
    /// It stays so until somebody changes something.
    pub(super) fn lasting(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: "module-fetch", what: what.into(), hint: hint.into(), passing: false }
    }

    /// It may go away by itself.
    pub(super) fn passing(what: impl Into<String>) -> Self {
        let hint =
            "the configuration that serves stays, and this one is tried again; what was fetched before is kept on disk";
        Self { code: "module-fetch", what: what.into(), hint: hint.into(), passing: true }
    }

    /// It is not signed as it has to be.
    pub(super) fn signature(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: "module-signature", ..Self::lasting(what, hint) }
    }

    /// The finding at the line that names the module; `title` says of what it is the module.
    pub(super) fn diagnostic(&self, title: &str, module: &str, place: Place) -> Diagnostic {
        let verb = if self.code == "module-signature" { "is not taken" } else { "cannot be fetched" };
        let message = format!("{title}: the module `{module}` {verb}: {}", self.what);
        Diagnostic::error(self.code, message).at(place).hint(self.hint.clone())
    }

    /// What happened, with whom.
    pub(super) fn what(&self) -> &str {
        &self.what
    }
}
