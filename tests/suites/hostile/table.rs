//! Hostile routing tables: that of the suite `tables` with one thing that it does when it is made, or when it is asked.
//! Whatever it does, the routes that are matched serve.

use tidegate_tests::guests;

use super::{Expected, Guest, HARMLESS, Late, Refused, Traps};

const LOOP: &str = "(loop $on (br $on))";

// What it does when it is made, when it is asked, and further fields.
fn table(name: &'static str, expected: Expected, [made, asked, more]: [&str; 3]) -> Guest {
    // Its routes are for middleware that the scene has.
    let text = guests::TABLE;
    let into = |text: &str, after: &str, what: &str| {
        assert_eq!(text.matches(after).count(), 1, "`{after}` stands once in the table");
        text.replace(after, &format!("{after}\n{what}\n"))
    };
    let text = into(text, "#table\") (param $at i32) (param $length i32) (result i32)", made);
    let text = into(&text, "(local $letter i32)", asked);
    let module = into(&text, "(memory (export \"memory\") 2)", more);
    Guest { is_table: true, ..Guest::new(name, expected, module) }
}

fn asked(name: &'static str, expected: Expected, does: &str) -> Guest {
    table(name, expected, ["", does, ""])
}

/// All of them.
pub(crate) fn corpus() -> Vec<Guest> {
    const DEEP: &str = "(func $deep (param i32) (result i32)
        (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))";
    let grow = "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let rows = "(loop $on (br_if $on (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))";
    vec![
        asked("loops in select", Late, LOOP),
        table("loops in table", Refused("took longer"), [LOOP, "", ""]),
        table(
            "loops in its start function",
            Refused("took longer"),
            ["", "", "(func $begin (loop $on (br $on))) (start $begin)"],
        ),
        table("traps in table", Refused("failed"), ["unreachable", "", ""]),
        asked("traps in select", Traps("unreachable"), "unreachable"),
        asked("grows its memory without end", Traps("memory_limit"), grow),
        table("grows its table without end", HARMLESS, ["", rows, "(table $t 1 funcref)"]),
        table("recurses without end", Traps("stack"), ["", "(drop (call $deep (i32.const 0)))", DEEP]),
        asked("wants the path beyond its memory", Traps("other"), "(call $path (i32.const -4))"),
        asked("answers from beyond its memory", Traps("other"), "(return (i32.const -4))"),
        asked(
            "answers with what there is not",
            Traps("other"),
            "(i32.store8 (i32.const 2048) (i32.const 7)) (return (i32.const 2048))",
        ),
        Guest { path: "/other", ..asked("selects a route that there is not", super::Fails, "") },
    ]
}
