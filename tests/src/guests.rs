//! Guests in WebAssembly text against the native ABI (`proxy/wit/plugin.wit`): small enough to be written by hand, so
//! that a test can change one byte of a module and knows what it changed.

/// Sets nothing and answers nothing.
pub const NOTHING: &str = include_str!("../guests/nothing.wat");

/// Reads one request header (`user-agent`) and sets one (`x-bench`).
pub const HEADER: &str = include_str!("../guests/header.wat");

/// Tells, in request headers, who it is: `x-module` (a number of its own, see [`stamp`]), `x-config` (its
/// configuration) and `x-count` (requests that this guest has seen, 8 hexadecimal digits).
const STAMP: &str = include_str!("../guests/stamp.wat");

/// Counts in its key-value space, for all guests together: `x-total` is the sum, 8 hexadecimal digits.
pub const TALLY: &str = include_str!("../guests/tally.wat");

/// Does what its path says: `/trap` traps, `/spin` never returns, `/wait` waits for 30 s, `/fail` fails in good order,
/// `/answer` answers 418 itself; anything else passes.
pub const UNRULY: &str = include_str!("../guests/unruly.wat");

/// Refuses its configuration at the pointer `/limit`, whatever it is.
pub const PICKY: &str = include_str!("../guests/picky.wat");

/// The module that says `x-module: NNNNNNNN` in 8 decimal digits.
pub fn stamp(number: u32) -> String {
    STAMP.replace("00000000", &format!("{number:08}"))
}

/// A routing table with the routes `a` and `b`, each with the middleware of its name, which selects by path; see there.
pub const TABLE: &str = include_str!("../guests/table.wat");

/// The same where its routes are matched: what they say in place of `{"middleware": "a"}`, and for `b`. Each at most 32
/// bytes.
///
/// # Panics
/// When one is longer.
pub fn matched_table(a: &str, b: &str) -> String {
    assert!(a.len() <= 32 && b.len() <= 32, "they have their place in the module's memory");
    let lengths = |text: &str, nth: usize, length: usize| {
        let parts: Vec<_> = text.splitn(nth + 1, "\\13\\00\\00\\00").collect();
        format!("{}\\{length:02x}\\00\\00\\00{}", parts[..nth].join("\\13\\00\\00\\00"), parts[nth])
    };
    let quoted = |definition: &str| definition.replace('"', "\\\"");
    let text = TABLE.replace("\\02\\00\\00\\00\\01\")", "\\02\\00\\00\\00\\00\")");
    let text = lengths(&lengths(&text, 2, b.len()), 1, a.len());
    text.replace("{\\\"middleware\\\": \\\"a\\\"}", &quoted(a)).replace("{\\\"middleware\\\": \\\"b\\\"}", &quoted(b))
}
