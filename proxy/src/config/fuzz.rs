//! The fuzz target of this room: any bytes are taken as a document or refused; what is taken renders to what is taken
//! too. Built for tests and by `cargo fuzz` only.

use std::sync::Arc;

use super::{Memo, diagnostic::Diagnostic, load_with, render, report};
use crate::source::{Entry, Layer, Tree};

/// A configuration with every kind of object and nearly every field.
pub const EVERYTHING: &str = include_str!("../../../fuzz/corpus/config/everything.yaml");

/// Runs the target.
///
/// # Panics
/// When what is always so is not.
pub fn run(bytes: &[u8]) {
    let tree = tree(bytes.to_vec());
    let secret = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
    let mut memo = Memo::default();
    let checked = load_with(&tree, &mut memo, &secret);
    let refused = checked.diagnostics.iter().any(Diagnostic::is_error);
    assert_eq!(refused, checked.spec.is_none(), "an error refuses, and nothing else does");
    let text = report::text(&checked.diagnostics, &tree, false);
    assert!(!text.contains("hunter2"), "a secret is shown: {text}");
    let lines = bytes.split(|&byte| byte == b'\n').count();
    for place in checked.diagnostics.iter().filter_map(|found| found.at.as_ref()) {
        assert!((1..=lines + 1).contains(&(place.line as usize)), "a place beyond the document: {text}");
    }
    if let Some(spec) = checked.spec {
        let rendered = render::yaml(&spec, true);
        let again = load_with(&self::tree(rendered.clone().into_bytes()), &mut memo, &secret);
        let Some(again) = again.spec else { panic!("what is taken renders to what is refused: {rendered}") };
        let routes = |spec: &super::spec::Spec| spec.routes.iter().map(|part| part.identity).collect::<Vec<_>>();
        assert_eq!(routes(&spec), routes(&again), "{rendered}");
    }
}

fn tree(bytes: Vec<u8>) -> Tree {
    let entries = [(Arc::from("c.yaml"), Ok(Entry::new(bytes)))].into_iter().collect();
    Tree { layers: vec![Layer { source: "t".into(), revision: 1, entries }] }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;

    #[test]
    fn the_corpus_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/config");
        let broken = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/diagnostics");
        let folders = std::fs::read_dir(broken).unwrap().map(|entry| entry.unwrap().path());
        let mut files = 0;
        for folder in folders.chain([corpus.into()]).filter(|folder| folder.is_dir()) {
            for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if file.is_file() {
                    run(&std::fs::read(file).unwrap());
                    files += 1;
                }
            }
        }
        assert!(files >= 60, "the corpus has only {files} documents");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

        #[test]
        fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            run(&bytes);
        }

        #[test]
        fn any_text_that_looks_like_yaml_holds(text in "[a-c:{}\\[\\], \n\\-&*!|>'\"#%@$]{0,120}") {
            run(text.as_bytes());
        }

        #[test]
        fn any_slip_in_a_configuration_holds(
            slips in prop::collection::vec((any::<Index>(), 0_u8..4, any::<u8>()), 1..5),
        ) {
            let mut bytes = EVERYTHING.as_bytes().to_vec();
            for (at, kind, byte) in slips {
                let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
                match kind {
                    0 => bytes.splice(at..(at + 1).min(bytes.len()), [byte]).for_each(drop),
                    1 => bytes.insert(at, b" :{}[],-&*'\"\t\n#"[byte as usize % 15]),
                    2 => drop(bytes.drain(at..(at + byte as usize % 20).min(bytes.len()))),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            run(&bytes);
        }
    }
}
