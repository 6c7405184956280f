//! Broken configurations and what is said of them: one folder of `tests/diagnostics` a case, `expected.txt` beside its
//! documents. `UPDATE_GOLDEN=1` writes what is said now; read it before you commit it.
//!
//! In a case, `layers/NAME/` are layers in the order of their names, and `X.unreadable` stands for an entry `X` that
//! cannot be read. The environment has `TOKEN`, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tidegate::{
    config::{self, Checked, Memo, report},
    gateway::{self, Options},
    source::{Entry, Layer, ReadError, Tree},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/diagnostics");
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/modules");
const EXPECTED: &str = "expected.txt";

#[test]
fn every_broken_configuration_is_told_all_that_is_wrong_with_it() {
    assert!(folders(Path::new(ROOT)).len() >= 60);
    compare(Path::new(ROOT), said);
}

/// What only the Wasm engine can find, through the whole of `tidegate check`.
#[test]
fn every_broken_module_is_told_what_is_wrong_with_it_at_the_line_that_names_it() {
    compare(Path::new(MODULES), |case| {
        let options = Options { config: vec![case.to_owned()], ..Options::default() };
        let (_, said) = gateway::check(options).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        let said = said.replace(&case.display().to_string(), "gateway");
        said.split_inclusive('\n').map(without_offset).collect()
    });
}

// Where in a module a frame is, is the engine's to say: where a tick falls into a call that traps, it names the byte behind.
fn without_offset(line: &str) -> String {
    let frame = line.split_once(" - ").filter(|(place, _)| place.trim_start().starts_with("0: "));
    match frame.and_then(|(place, what)| Some((place.rsplit_once(' ')?.0, what))) {
        Some((number, what)) => format!("{} … - {what}", number.trim_end()),
        None => line.to_owned(),
    }
}

fn compare(corpus: &Path, said: impl Fn(&Path) -> String) {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in folders(corpus) {
        let said = said(&case);
        let file = case.join(EXPECTED);
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert!(said.contains("error[") || said.contains("warning["), "nothing is said of {}", case.display());
        assert!(!said.contains("hunter2"), "{} shows a secret", case.display());
        if said != expected && update {
            fs::write(&file, said).expect("the corpus can be written");
        } else if said != expected {
            wrong.push(format!("{}\n--- expected\n{expected}\n--- said\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ; UPDATE_GOLDEN=1 rewrites\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What is said of a case: the text, and then whether the tree is taken.
fn said(case: &Path) -> String {
    let mut tree = tree(case);
    let mut memo = Memo::default();
    let first = load(&tree, &mut memo);
    // A source that is asked for an entry which is not there answers with an error.
    for path in &first.wanted {
        let there = tree.layers.iter().any(|layer| layer.entries.contains_key(path));
        if let (false, Some(layer)) = (there, tree.layers.last_mut()) {
            layer.entries.insert(path.clone(), Err(ReadError("no such file".into())));
        }
    }
    let checked = load(&tree, &mut memo);
    let text = report::text(&checked.diagnostics, &tree, false);
    assert_eq!(checked.spec.is_none(), checked.diagnostics.iter().any(|found| found.is_error()), "{text}");
    text
}

fn load(tree: &Tree, memo: &mut Memo) -> Checked {
    config::load_with(tree, memo, &|name| (name == "TOKEN").then(|| "hunter2".to_owned()))
}

fn tree(case: &Path) -> Tree {
    let layers = case.join("layers");
    if layers.is_dir() {
        return Tree { layers: folders(&layers).iter().map(|folder| layer(folder)).collect() };
    }
    Tree { layers: vec![Layer { source: "gateway".into(), ..layer(case) }] }
}

fn layer(folder: &Path) -> Layer {
    let source = folder.file_name().unwrap_or_default().to_string_lossy().into();
    let mut layer = Layer { source, revision: 1, entries: Default::default() };
    for path in files(folder) {
        let name = path.strip_prefix(folder).expect("files are listed below their folder").to_string_lossy();
        match name.strip_suffix(".unreadable") {
            Some(name) => layer.entries.insert(name.into(), Err(ReadError("permission denied".into()))),
            None if name == EXPECTED => continue,
            None => layer
                .entries
                .insert(name.as_ref().into(), Ok(Entry::new(fs::read(&path).expect("the corpus can be read")))),
        };
    }
    layer
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(root)
        .expect("the corpus can be listed")
        .map(|entry| entry.expect("the corpus can be listed").path())
        .collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).expect("the corpus can be listed") {
        let path = entry.expect("the corpus can be listed").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
