//! What a plugin says of its configuration, as diagnostics that point at the document.

use std::{collections::BTreeMap, time::Duration};

use super::{
    guest::{CreateError, told},
    native::types::Problem,
};
use crate::config::{
    diagnostic::{Diagnostic, Place},
    spec,
};

/// Problems of one plugin that are shown; a plugin that finds more is cut short.
pub(super) const PROBLEMS_MAX: usize = 64;
/// Bytes of one message.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// The configuration as plugins get it: where there is none, an empty object.
pub(super) fn config_text(config: &serde_json::Value) -> String {
    if config.is_null() { "{}".to_owned() } else { config.to_string() }
}

/// Everything that is wrong.
pub(super) fn diagnostics(name: &str, spec: &spec::Plugin, error: CreateError) -> Vec<Diagnostic> {
    match error {
        CreateError::Problems(problems) if problems.is_empty() => {
            let message = format!("plugin {name} refuses its configuration and does not say why");
            vec![at(Diagnostic::error("plugin-config", message), here(spec, ""))]
        }
        CreateError::Problems(problems) => {
            problems.into_iter().take(PROBLEMS_MAX).map(|problem| refused(name, spec, problem)).collect()
        }
        CreateError::Lacks(method) => {
            let message = format!("plugin {name}: it declares a phase for which it does not export {method}");
            vec![at(Diagnostic::error("plugin-load", message), spec.module_place.clone())]
        }
        CreateError::Failed(error) => {
            let message = format!("plugin {name} failed while it was created: {}", first_lines(&told(&error)));
            let diagnostic = Diagnostic::error("plugin-load", message);
            vec![at(diagnostic, spec.module_place.clone())]
        }
    }
}

/// It did not come to an end.
pub(super) fn too_slow(name: &str, spec: &spec::Plugin, deadline: Duration) -> Diagnostic {
    let message = format!("plugin {name} took longer than {} s to check its configuration", deadline.as_secs());
    at(Diagnostic::error("plugin-load", message), spec.module_place.clone())
}

fn refused(name: &str, spec: &spec::Plugin, mut problem: Problem) -> Diagnostic {
    problem.message.truncate(problem.message.floor_char_boundary(MESSAGE_BYTES_MAX));
    let what = if problem.pointer.is_empty() { String::new() } else { format!(" at {}", problem.pointer) };
    let message = format!("plugin {name}{what}: {}", problem.message);
    at(Diagnostic::error("plugin-config", message), here(spec, &problem.pointer))
}

fn here(spec: &spec::Plugin, pointer: &str) -> Option<Place> {
    place((&spec.config_places, spec.module_place.as_ref()), pointer)
}

/// Where the value is that a pointer (RFC 6901) leads to, or the nearest one around it that the document has; or else
/// where the module is named.
pub(super) fn place((places, module): (&BTreeMap<String, Place>, Option<&Place>), mut pointer: &str) -> Option<Place> {
    loop {
        if let Some(place) = places.get(pointer) {
            return Some(place.clone());
        }
        match pointer.rsplit_once('/') {
            Some((parent, _)) => pointer = parent,
            None if pointer.is_empty() => return module.cloned(),
            None => pointer = "",
        }
    }
}

/// The diagnostic at a place, if there is one.
pub(super) fn at(mut diagnostic: Diagnostic, place: Option<Place>) -> Diagnostic {
    diagnostic.at = place;
    diagnostic
}

/// As much of a trap's text as a diagnostic shows.
pub(super) fn first_lines(text: &str) -> String {
    text.lines().take(12).collect::<Vec<_>>().join("\n")
}
