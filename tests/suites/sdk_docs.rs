//! Every public item of the SDK has an example in its documentation. (That the examples compile and hold is for
//! `cargo test -p tidegate-guest`, which runs them.) Reads the crate as text.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What begins an item that authors see.
const ITEMS: [&str; 7] =
    ["pub fn ", "pub const fn ", "pub struct ", "pub enum ", "pub trait ", "pub type ", "macro_rules! export "];

#[test]
fn every_public_item_of_the_sdk_has_an_example() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("guest-sdk/src");
    let (mut files, mut items) = (vec![], 0);
    below(&source, &mut files);
    let mut without = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (item, has_example) in documented(&text) {
            items += 1;
            if !has_example {
                without.push(format!("{}: {item}", file.strip_prefix(&source).unwrap().display()));
            }
        }
    }
    assert!(items > 150, "{items} items are not all that there are");
    assert!(without.is_empty(), "without an example:\n{}", without.join("\n"));
}

/// The items of a file, each with whether its documentation has an example; hidden ones and tests left out.
fn documented(text: &str) -> Vec<(String, bool)> {
    let (mut found, mut example, mut hidden) = (Vec::new(), false, false);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    for line in code.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            example |= doc.trim_start().starts_with("```");
        } else if line.starts_with("#[") {
            hidden |= line == "#[doc(hidden)]";
        } else {
            if ITEMS.iter().any(|item| line.starts_with(item)) && !hidden {
                found.push((line.to_owned(), example));
            }
            (example, hidden) = (false, false);
        }
    }
    found
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.file_name().and_then(|name| name.to_str()) {
            _ if path.is_dir() => below(&path, files),
            // Not for authors: what stands between the WIT and the traits.
            Some("bindings.rs" | "export.rs" | "exported.rs" | "imports.rs") => {}
            Some(name) if name.ends_with(".rs") => files.push(path),
            _ => {}
        }
    }
}
