//! From measurements to tables, on the terminal and in `docs/performance.md`. Measures nothing.

use std::{fs, path::Path};

use serde_json::{Map, Value};

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(50.0, values)
}

/// The value that `percent` of all are not above.
pub(crate) fn percentile(percent: f64, values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * percent / 100.0) as usize).min(values.len() - 1)]
}

/// Writes a part to `docs/performance.md`, between its marks, and its numbers to `docs/performance.json`, beside those of the
/// other parts. What is said around the marks is left alone.
pub(crate) fn write(part: &str, table: &str, result: Value) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").join("docs");
    let (page, raw) = (docs.join("performance.md"), docs.join("performance.json"));
    let text = fs::read_to_string(&page).expect("docs/performance.md is there");
    fs::write(page, placed(&text, part, table)).expect("docs can be written");
    let known = fs::read(&raw).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut numbers: Map<String, Value> = known.unwrap_or_default();
    numbers.insert(part.to_owned(), result);
    let numbers = serde_json::to_string_pretty(&numbers).expect("numbers serialise");
    fs::write(raw, numbers + "\n").expect("docs can be written");
}

fn placed(page: &str, part: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {part}: written by `make bench` -->"), format!("<!-- end of {part} -->"));
    let (before, rest) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("docs/performance.md has no line {begin}; add it where {part} belongs"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("docs/performance.md has no line {end}"));
    format!("{before}{begin}\n{}\n{end}{after}", table.trim_end())
}

/// The numbers of a list, as cells of a row.
pub(crate) fn cells(values: &Value, digits: usize) -> String {
    let cells: Vec<_> = values.as_array().into_iter().flatten().map(|value| number(value, digits)).collect();
    cells.join(" | ")
}

/// The gateway's cell and those of the two others, of which there may be none.
pub(crate) fn beside(values: &Value, digits: usize) -> String {
    [0, 1, 2].map(|at| number(&values[at], digits)).join(" | ")
}

/// A number, or a dash where there is none.
pub(crate) fn number(value: &Value, digits: usize) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_between_its_marks_and_nothing_else() {
        let page = "a\n<!-- x: written by `make bench` -->\nold\n<!-- end of x -->\nb\n";
        let placed = placed(page, "x", "new\n");
        assert_eq!(placed, "a\n<!-- x: written by `make bench` -->\nnew\n<!-- end of x -->\nb\n");
    }
}
