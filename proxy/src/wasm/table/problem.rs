//! What keeps a table from being made, as diagnostics that point at the document.

use std::time::Duration;

use super::guest::{MakeError, Problem};
use crate::{
    config::{diagnostic::Diagnostic, spec},
    wasm::problem::Subject,
};

/// Everything that is wrong.
pub(super) fn diagnostics(name: &str, spec: &spec::Table, error: MakeError) -> Vec<Diagnostic> {
    match error {
        MakeError::Problems(problems) => {
            let problems = problems.into_iter().map(|Problem { pointer, message }| (pointer, message));
            subject(name, spec).refuses(problems)
        }
        MakeError::Failed(error) => vec![subject(name, spec).failed("made", &error)],
    }
}

/// It did not come to an end.
pub(super) fn too_slow(name: &str, spec: &spec::Table, deadline: Duration) -> Diagnostic {
    subject(name, spec).too_slow(deadline, "yield its routes")
}

/// It yields more than it may.
pub(super) fn too_many(name: &str, spec: &spec::Table, count: usize) -> Diagnostic {
    let what = format!(" yields {count} routes, and its limit is {}", spec.limits.routes_max);
    subject(name, spec).load(&what).hint("raise `limits: {routes-max: …}` of the table, or let it yield fewer")
}

/// It wants to be asked what it cannot answer.
pub(super) fn lacks_select(name: &str, spec: &spec::Table) -> Diagnostic {
    subject(name, spec).load(" wants to select routes and its module does not export `select`")
}

fn subject<'a>(name: &str, spec: &'a spec::Table) -> Subject<'a> {
    Subject {
        title: format!("table {name}"),
        codes: ("table-config", "table-load"),
        module: spec.module_place.as_ref(),
        places: &spec.config_places,
    }
}
