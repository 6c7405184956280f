//! What is kept comes back, and what was tampered with does not: on real directories.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use imbl::OrdMap;

use super::*;

const NAMES: [&str; 2] = ["base", "etcd /gw/"];

fn tree(revision: u64, entries: &[(&str, &str)]) -> Tree {
    let entries: OrdMap<Arc<str>, _> =
        entries.iter().map(|(path, text)| (Arc::from(*path), Ok(Entry::new(text.to_string())))).collect();
    let base = Layer { source: "base".into(), revision: 1, entries: OrdMap::new() };
    Tree { layers: vec![base, Layer { source: "etcd /gw/".into(), revision, entries }] }
}

struct Stage {
    root: tempfile::TempDir,
    last_good: LastGood,
}

impl Stage {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let last_good = LastGood::new(&root.path().join("last-good"), &NAMES);
        Self { root, last_good }
    }

    fn keep(&self, trees: &[&Tree]) {
        let keeper = self.last_good.keep(Metrics::new(1)).unwrap();
        for (generation, tree) in (1..).zip(trees) {
            keeper.keep(tree, generation, tree.identity());
            assert!(keeper.flush(Duration::from_secs(20)));
        }
    }

    fn objects(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.root.path().join("last-good/objects")).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    fn refusal(&self) -> String {
        match self.last_good.restore() {
            Err(RestoreError::Refused(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    }
}

#[test]
fn the_latest_tree_comes_back_and_what_nothing_names_is_collected() {
    let stage = Stage::new();
    assert!(matches!(stage.last_good.restore(), Err(RestoreError::Nothing(_))));
    let (first, second) = (tree(3, &[("a.yaml", "1"), ("b.yaml", "2")]), tree(4, &[("a.yaml", "3"), ("b.yaml", "2")]));
    stage.keep(&[&first, &second]);
    let restored = stage.last_good.restore().unwrap().tree;
    assert_eq!(restored.identity(), second.identity());
    assert_eq!((restored.layers[1].revision, &*restored.layers[1].source), (4, "etcd /gw/"));
    assert_eq!(restored.layers[1].entries["a.yaml"], Ok(Entry::new("3")));
    assert_eq!(stage.objects().len(), 2, "the content that was replaced is gone");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&stage.root.path().join("last-good")), 0o700);
    assert!(stage.objects().iter().all(|object| mode(object) == 0o600));
}

#[test]
fn sets_of_sources_have_a_tree_each_and_share_contents() {
    let stage = Stage::new();
    let other = LastGood::new(&stage.root.path().join("last-good"), &NAMES[1..]);
    let (ours, theirs) = (tree(1, &[("a.yaml", "1"), ("b.yaml", "2")]), tree(2, &[("a.yaml", "1"), ("c.yaml", "3")]));
    stage.keep(&[&ours]);
    assert!(!other.exists());
    let keeper = other.keep(Metrics::new(1)).unwrap();
    keeper.keep(&theirs, 1, theirs.identity());
    assert!(keeper.flush(Duration::from_secs(20)));
    // Two writers at a time, as while one process takes over from another.
    let again = tree(5, &[("a.yaml", "4")]);
    stage.keep(&[&again]);
    keeper.keep(&theirs, 2, theirs.identity());
    assert!(keeper.flush(Duration::from_secs(20)));
    assert_eq!(stage.last_good.restore().unwrap().tree.identity(), again.identity());
    assert_eq!(other.restore().unwrap().tree.identity(), theirs.identity());
    assert_eq!(stage.objects().len(), 3);
}

#[test]
fn what_was_tampered_with_is_refused_and_mended_by_the_next_writer() {
    let stage = Stage::new();
    let good = tree(1, &[("a.yaml", "1"), ("b.yaml", "2")]);
    stage.keep(&[&good]);
    let object = stage.objects().into_iter().find(|object| fs::read(object).unwrap() == b"1").unwrap();
    fs::write(&object, "9").unwrap();
    assert!(stage.refusal().contains("the content of a.yaml is not what was written"));
    stage.keep(&[&good]);
    assert_eq!(stage.last_good.restore().unwrap().tree.identity(), good.identity());

    fs::write(&object, "far too long").unwrap();
    assert!(stage.refusal().contains("a.yaml cannot be read"), "{}", stage.refusal());
    fs::remove_file(&object).unwrap();
    assert!(stage.refusal().contains("the content of a.yaml is missing"));
    stage.keep(&[&good]);

    let index = stage.root.path().join("last-good").join(&stage.last_good.file);
    let text = fs::read_to_string(&index).unwrap();
    for (spoilt, why) in [
        (text.replace("b.yaml", "c.yaml"), "not what was written"),
        (text.replace("good 2 ", "good 1 "), "another format"),
        (text[..text.len() / 2].to_owned(), "not what was written"),
        (String::new(), "no first line"),
    ] {
        fs::write(&index, spoilt).unwrap();
        assert!(stage.refusal().contains(why), "{why}: {}", stage.refusal());
    }
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let stage = Stage::new();
    stage.keep(&[&tree(1, &[("a.yaml", "1")])]);
    let directory = stage.root.path().join("last-good");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(stage.refusal().contains("must be a directory of this user alone"));
    assert!(stage.last_good.keep(Metrics::new(1)).is_err());
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    for object in stage.objects() {
        fs::set_permissions(object, fs::Permissions::from_mode(0o666)).unwrap();
    }
    assert!(stage.refusal().contains("only this user can write"));
}
