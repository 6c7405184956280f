//! The tables in `docs/conformance.md` that are written from lists in `tests/tables`: `UPDATE_DOCS=1` writes them, and without
//! that they are held to be so.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    public,
    rows::{INTERFACES, LANGUAGES, cases},
};

/// Writes the page, or holds it.
pub(super) fn hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let interfaces = with(&page, ("interfaces", "interfaces"), &table(&INTERFACES, ""));
    let languages = with(&interfaces, ("languages", "interfaces"), &table(&LANGUAGES, "languages::"));
    let due = with(&languages, ("public", "public"), &others());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, due).expect("the page can be written");
        return;
    }
    assert!(
        page == due,
        "docs/conformance.md is not what tests/tables/interfaces.txt and public.txt say: UPDATE_DOCS=1 writes it anew"
    );
}

// The page with `table` between the marks that name it and its list.
fn with(page: &str, (name, list): (&str, &str), table: &str) -> String {
    let begins = format!("<!-- {name}: written from tests/tables/{list}.txt -->\n");
    let ends = format!("<!-- end of {name} -->");
    let (before, rest) = page.split_once(&*begins).expect("the page marks where the table begins");
    let (_, after) = rest.split_once(&*ends).expect("the page marks where the table ends");
    format!("{before}{begins}{table}{ends}{after}")
}

// The plugins of others that were tried.
fn others() -> String {
    let mut text = "\n| plugin | from | compared with Envoy | result |\n|---|---|---|---|\n".to_owned();
    for plugin in public::plugins() {
        let (compared, result) = match (&plugin.alone, &plugin.differs) {
            (Some(reason), _) => (format!("no: {reason}"), "loads"),
            (None, Some(reason)) => (format!("yes: {reason}"), "differs"),
            (None, None) => ("yes".to_owned(), "the same"),
        };
        writeln!(text, "| `{}` | {} | {compared} | {result} |", plugin.name, plugin.source)
            .expect("writing to a string does not fail");
    }
    text + "\n"
}

// Of these columns, each with a test of its name in `tests`.
fn table(columns: &[&str], tests: &str) -> String {
    let mut text = format!("\n| case | what the guest does | {} |\n", columns.join(" | "));
    text += &format!("|---|---|{}\n", "---|".repeat(columns.len()));
    let mut notes: Vec<String> = Vec::new();
    let cases = cases();
    for case in &cases {
        write!(text, "| {} | {} |", case.name, case.what).expect("writing to a string does not fail");
        for interface in columns {
            let cell = match case.reason(interface) {
                None => "yes".to_owned(),
                Some(reason) => {
                    let note = format!("{}: {reason}", case.without(interface));
                    let at = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                        notes.push(note);
                        notes.len() - 1
                    });
                    format!("no ({})", at + 1)
                }
            };
            write!(text, " {cell} |").expect("writing to a string does not fail");
        }
        text += "\n";
    }
    let test =
        |column: &&str| format!("`interfaces::{tests}{}`", column.to_lowercase().replace(['-', ' ', '.', ':'], "_"));
    let tests = columns.iter().map(test).collect::<Vec<_>>().join(" | ");
    writeln!(text, "| test | | {tests} |\n\nNo way:\n").expect("writing to a string does not fail");
    for (at, note) in notes.iter().enumerate() {
        writeln!(text, "{}. {note}.", at + 1).expect("writing to a string does not fail");
    }
    text + "\n"
}
