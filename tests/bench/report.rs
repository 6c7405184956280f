//! From measurements to tables, on the terminal and in `docs/performance.md`. Measures nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::plots;

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(50.0, values)
}

/// The value that `percent` of all are not above; no number where there is none.
pub(crate) fn percentile(percent: f64, values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * percent / 100.0) as usize;
    values.get(at).or(values.last()).copied().unwrap_or(f64::NAN)
}

/// Writes a part to `docs/performance.md`, between its marks, its plots below `docs/plots`, and its numbers to
/// `docs/performance.json`, beside those of the other parts. What is said around the marks is left alone.
pub(crate) fn write(part: &str, table: &str, result: Value) {
    let docs = docs();
    let text = format!("{}{}", table.trim_end(), draw(&docs, part, &result));
    rewrite(&docs, |page| placed(page, part, &text));
    let mut numbers = numbers(&docs);
    numbers.insert(part.to_owned(), result);
    let numbers = serde_json::to_string_pretty(&numbers).expect("numbers serialise");
    fs::write(docs.join(NUMBERS), numbers + "\n").expect("docs can be written");
}

/// Draws the plots of the part anew, from the numbers that were written; nothing where it has none.
pub(crate) fn redraw(part: &str) {
    let docs = docs();
    let Some(result) = numbers(&docs).remove(part) else { return };
    let links = draw(&docs, part, &result);
    rewrite(&docs, |page| {
        let (begin, end) = marks(part);
        let (_, rest) = parted(page, &begin);
        let (table, _) = parted(rest, &end);
        let kept: Vec<_> = table.lines().filter(|line| !line.starts_with("![")).collect();
        placed(page, part, &format!("{}{links}", kept.join("\n").trim()))
    });
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").join("docs")
}

fn numbers(docs: &Path) -> Map<String, Value> {
    let known = fs::read(docs.join(NUMBERS)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    known.unwrap_or_default()
}

fn rewrite(docs: &Path, change: impl FnOnce(&str) -> String) {
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page).expect("docs/performance.md is there");
    fs::write(page, change(&text)).expect("docs can be written");
}

/// Writes the plots of a part; answers what shows them on the page.
fn draw(docs: &Path, part: &str, result: &Value) -> String {
    let mut links = String::new();
    for (name, chart) in plots::of(part, result).iter().filter(|(_, chart)| !chart.rows.is_empty()) {
        fs::create_dir_all(docs.join("plots")).expect("docs can be written");
        fs::write(docs.join(format!("plots/{name}.svg")), chart.svg()).expect("docs can be written");
        links += &format!("\n\n![{}](plots/{name}.svg)", chart.title);
    }
    links
}

fn placed(page: &str, part: &str, text: &str) -> String {
    let (begin, end) = marks(part);
    let (before, rest) = parted(page, &begin);
    let (_, after) = parted(rest, &end);
    format!("{before}{begin}\n{}\n{end}{after}", text.trim_end())
}

fn marks(part: &str) -> (String, String) {
    (format!("<!-- {part}: written by `make bench` -->"), format!("<!-- end of {part} -->"))
}

fn parted<'a>(page: &'a str, mark: &str) -> (&'a str, &'a str) {
    page.split_once(mark)
        .unwrap_or_else(|| panic!("docs/performance.md has no line {mark}; add it where its part belongs"))
}

const NUMBERS: &str = "performance.json";

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
