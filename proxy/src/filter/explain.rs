//! What a chain does, step by step, for `tidegate explain`.

use std::sync::Arc;

use serde::Serialize;

use super::{Action, Chain, Origin};

/// One step as `explain` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Whose list of middleware it comes from.
    pub origin: Origin,
    /// The middleware's name.
    pub name: Arc<str>,
    /// What it does, in a few words.
    pub does: String,
}

impl Chain {
    /// The steps in the order in which a request meets them; a response meets them in the opposite one.
    pub fn explain(&self) -> Vec<Explained> {
        let explained = |action: &Action| match action {
            Action::Edit(edit) => edit.describe(),
            Action::Around(filter) => filter.describe(),
        };
        let steps = self.steps().iter();
        steps
            .map(|step| Explained { origin: step.origin, name: Arc::clone(&step.name), does: explained(&step.action) })
            .collect()
    }
}
