//! What keeps a table from being made, as diagnostics that point at the document.

use std::time::Duration;

use super::guest::{MakeError, Problem};
use crate::{
    config::{diagnostic::Diagnostic, spec},
    wasm::problem::{MESSAGE_BYTES_MAX, PROBLEMS_MAX, at, first_lines, place},
};

/// Everything that is wrong.
pub(super) fn diagnostics(name: &str, spec: &spec::Table, error: MakeError) -> Vec<Diagnostic> {
    match error {
        MakeError::Problems(problems) if problems.is_empty() => {
            let message = format!("table {name} refuses its configuration and does not say why");
            vec![at(Diagnostic::error("table-config", message), here(spec, ""))]
        }
        MakeError::Problems(problems) => {
            problems.into_iter().take(PROBLEMS_MAX).map(|problem| refused(name, spec, problem)).collect()
        }
        MakeError::Failed(error) => {
            let why = first_lines(&format!("{error:?}"));
            vec![load(spec, format!("table {name} failed while it was made: {why}"))]
        }
    }
}

/// It did not come to an end.
pub(super) fn too_slow(name: &str, spec: &spec::Table, deadline: Duration) -> Diagnostic {
    load(spec, format!("table {name} took longer than {} s to yield its routes", deadline.as_secs()))
}

/// It yields more than it may.
pub(super) fn too_many(name: &str, spec: &spec::Table, count: usize) -> Diagnostic {
    let message = format!("table {name} yields {count} routes, and its limit is {}", spec.limits.routes_max);
    load(spec, message).hint("raise `limits: {routes-max: …}` of the table, or let it yield fewer")
}

/// It wants to be asked what it cannot answer.
pub(super) fn lacks_select(name: &str, spec: &spec::Table) -> Diagnostic {
    load(spec, format!("table {name} wants to select routes and its module does not export `select`"))
}

fn load(spec: &spec::Table, message: String) -> Diagnostic {
    at(Diagnostic::error("table-load", message), spec.module_place.clone())
}

fn refused(name: &str, spec: &spec::Table, mut problem: Problem) -> Diagnostic {
    problem.message.truncate(problem.message.floor_char_boundary(MESSAGE_BYTES_MAX));
    let what = if problem.pointer.is_empty() { String::new() } else { format!(" at {}", problem.pointer) };
    let message = format!("table {name}{what}: {}", problem.message);
    at(Diagnostic::error("table-config", message), here(spec, &problem.pointer))
}

fn here(spec: &spec::Table, pointer: &str) -> Option<crate::config::diagnostic::Place> {
    place((&spec.config_places, spec.module_place.as_ref()), pointer)
}
