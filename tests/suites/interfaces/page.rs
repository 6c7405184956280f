//! The table in `docs/conformance.md`, which is written from the list of cases: `UPDATE_DOCS=1` writes it, and without that
//! it is held to be so.

use std::{fmt::Write as _, fs, path::Path};

use super::rows::{INTERFACES, cases};

const BEGINS: &str = "<!-- interfaces: written from tests/tables/interfaces.txt -->\n";
const ENDS: &str = "<!-- end of interfaces -->";

/// Writes the page, or holds it.
pub(super) fn hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGINS).expect("the page marks where the table begins");
    let (_, after) = rest.split_once(ENDS).expect("the page marks where the table ends");
    let due = format!("{before}{BEGINS}{}{ENDS}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, due).expect("the page can be written");
        return;
    }
    assert!(
        page == due,
        "docs/conformance.md is not what tests/tables/interfaces.txt says: UPDATE_DOCS=1 writes it anew"
    );
}

fn table() -> String {
    let mut text = format!("\n| case | what the guest does | {} |\n", INTERFACES.join(" | "));
    text += &format!("|---|---|{}\n", "---|".repeat(INTERFACES.len()));
    let mut notes: Vec<String> = Vec::new();
    let cases = cases();
    for case in &cases {
        write!(text, "| {} | {} |", case.name, case.what).expect("writing to a string does not fail");
        for interface in INTERFACES {
            let cell = match case.reason(interface) {
                None => "yes".to_owned(),
                Some(reason) => {
                    let note = format!("{}: {reason}", interface.split(' ').next().unwrap_or(interface));
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
    let tests = INTERFACES.map(|interface| format!("`interfaces::{}`", interface.replace(['-', ' ', '.', ':'], "_")));
    writeln!(text, "| test | | {} |\n\nNo way:\n", tests.join(" | ")).expect("writing to a string does not fail");
    for (at, note) in notes.iter().enumerate() {
        writeln!(text, "{}. {note}.", at + 1).expect("writing to a string does not fail");
    }
    text + "\n"
}
