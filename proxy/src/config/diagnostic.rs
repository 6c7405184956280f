//! What is wrong with a configuration, where, and what to do about it. All of it at once, never the first only.
//! Knows nothing of YAML.

use std::sync::Arc;

use serde::Serialize;

/// One finding. Errors refuse the tree, warnings do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A short, stable name for the kind of finding, in kebab case (`unknown-field`).
    pub code: &'static str,
    /// What is wrong; names the thing.
    pub message: String,
    /// Where; `None` where no place in a document is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
    /// Other places that matter, each with why (`first defined here`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<(Place, String)>,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a finding refuses the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The tree is refused.
    Error,
    /// The tree is taken.
    Warning,
}

/// A place in a document. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The layer's source and the path in it, as the operator knows it (`gateway/routes/users.yaml`).
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// How many characters from there are meant; at least 1.
    #[serde(skip)]
    pub length: u32,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), at: None, related: Vec::new(), hint: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.at = Some(place);
        self
    }

    /// The same, with another place that matters.
    #[must_use]
    pub fn related(mut self, place: Place, why: impl Into<String>) -> Self {
        self.related.push((place, why.into()));
        self
    }

    /// The same, with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it refuses the tree.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
