//! Prints diagnostics: as text with the source line and a caret, and as JSON. Knows nothing of what they are about.

use std::{collections::HashMap, fmt::Write as _, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{
    diagnostic::{Diagnostic, Place, Severity},
    load::label,
};
use crate::source::{Tree, is_document};

/// The diagnostics as people read them, each with its source line from `tree`, and a summary at the end. Empty where
/// there are none.
pub fn text(diagnostics: &[Diagnostic], tree: &Tree, color: bool) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let sources = Sources::of(diagnostics, tree);
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&one(diagnostic, &sources, &renderer));
        text.push_str("\n\n");
    }
    text.push_str(&summary(diagnostics));
    text.push('\n');
    text
}

/// How many errors and warnings there are, in one line.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

/// The diagnostics as a JSON array: `severity`, `code`, `message`, `at {file, line, column}`, `related`, `hint`.
pub fn json(diagnostics: &[Diagnostic]) -> serde_json::Value {
    serde_json::to_value(diagnostics).expect("diagnostics hold texts and numbers only, so they serialise")
}

/// One line without source: for logs.
pub fn line(diagnostic: &Diagnostic) -> String {
    let mut text = String::new();
    if let Some(at) = &diagnostic.at {
        write!(text, "{}:{}:{}: ", at.file, at.line, at.column).expect("a String takes every write");
    }
    text.push_str(&diagnostic.message);
    if let Some(hint) = &diagnostic.hint {
        write!(text, " ({hint})").expect("a String takes every write");
    }
    text
}

fn one(diagnostic: &Diagnostic, sources: &Sources<'_>, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut group: Group<'_> = Group::with_title(title);
    let marks = diagnostic.at.iter().map(|at| (at, AnnotationKind::Primary, None));
    let related = diagnostic.related.iter().map(|(at, why)| (at, AnnotationKind::Context, Some(why.as_str())));
    for (place, kind, why) in marks.chain(related) {
        let Some((line, span)) = sources.excerpt(place) else {
            let origin = Origin::path(&*place.file).line(place.line as usize).char_column(place.column as usize);
            group = group.element(origin);
            continue;
        };
        let mark = kind.span(span).label(why);
        group =
            group.element(Snippet::source(line).line_start(place.line as usize).path(&*place.file).annotation(mark));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group])
}

/// The text of the documents that diagnostics point into.
struct Sources<'a>(HashMap<Arc<str>, &'a [u8]>);

impl<'a> Sources<'a> {
    fn of(diagnostics: &[Diagnostic], tree: &'a Tree) -> Self {
        let places = diagnostics.iter().flat_map(|found| found.at.iter().chain(found.related.iter().map(|(at, _)| at)));
        let mut sources: HashMap<Arc<str>, &[u8]> = places.map(|at| (Arc::clone(&at.file), &[][..])).collect();
        for layer in &tree.layers {
            for (path, entry) in layer.entries.iter().filter(|(path, _)| is_document(path)) {
                if let (Some(bytes), Ok(entry)) = (sources.get_mut(&label(layer, path)), entry) {
                    *bytes = &entry.bytes;
                }
            }
        }
        Self(sources)
    }

    /// The line of a place, and what of it is meant, in bytes. None of a line so long that no one reads it.
    fn excerpt(&self, place: &Place) -> Option<(String, Range<usize>)> {
        let bytes = self.0.get(&place.file)?;
        let line = bytes.split(|&byte| byte == b'\n').nth(place.line as usize - 1).filter(|_| !bytes.is_empty())?;
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r').trim_start_matches('\u{feff}');
        let column = place.column as usize - 1;
        if column > COLUMN_MAX {
            return None;
        }
        let shown: String = line.chars().take(column + AFTER_CHARS_MAX).collect();
        let offset = |column: usize| shown.char_indices().nth(column).map_or(shown.len(), |(offset, _)| offset);
        let span = offset(column)..offset(column + place.length.max(1) as usize);
        Some((shown, span))
    }
}

/// How far to the right a place may be to be shown, and how much is shown from there on, in characters.
const COLUMN_MAX: usize = 10_000;
const AFTER_CHARS_MAX: usize = 200;
