//! What a file source reads, on real directories; how it follows changes is `tests/suites/file_events.rs`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use super::*;

fn options() -> WatchOptions {
    WatchOptions { settle: Duration::from_millis(20), ..WatchOptions::default() }
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

async fn read(path: &Path, wanted: &[&str]) -> Vec<(String, Result<String, String>)> {
    let mut source = FileSource::open(path, options()).unwrap();
    read_with(&mut source, wanted).await
}

async fn read_with(source: &mut FileSource, wanted: &[&str]) -> Vec<(String, Result<String, String>)> {
    let wanted: Vec<Arc<str>> = wanted.iter().map(|path| Arc::from(*path)).collect();
    let layer = source.read(&wanted).await;
    let text = |entry: &super::super::Entry| String::from_utf8(entry.bytes.to_vec()).unwrap();
    layer
        .entries
        .iter()
        .map(|(path, entry)| (path.to_string(), entry.as_ref().map(text).map_err(ToString::to_string)))
        .collect()
}

fn ok(path: &str, content: &str) -> (String, Result<String, String>) {
    (path.into(), Ok(content.into()))
}

fn root() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("conf");
    fs::create_dir(&root).unwrap();
    (dir, root)
}

#[tokio::test]
async fn a_directory_yields_its_documents_and_what_is_wanted() {
    let (_dir, root) = root();
    write(
        &root,
        &[
            ("gateway.yaml", "g"),
            ("routes/users.yml", "u"),
            ("routes/old/a.json", "a"),
            ("plugins/jwt.wasm", "w"),
            ("plugins/other.wasm", "o"),
            (".git/config.yaml", "-"),
            ("gateway.yaml~", "-"),
            (".gateway.yaml.swp", "-"),
            ("README.md", "-"),
        ],
    );
    let found = read(&root, &["plugins/jwt.wasm", "plugins/none.wasm"]).await;
    let missing = format!("no such file: plugins/none.wasm in {}", root.display());
    assert_eq!(
        found,
        [
            ok("gateway.yaml", "g"),
            ok("plugins/jwt.wasm", "w"),
            ("plugins/none.wasm".into(), Err(missing)),
            ok("routes/old/a.json", "a"),
            ok("routes/users.yml", "u"),
        ]
    );
}

#[tokio::test]
async fn a_single_file_is_alone_and_finds_its_modules_beside_it() {
    let (_dir, root) = root();
    write(&root, &[("gateway.yaml", "g"), ("other.yaml", "o"), ("p/a.wasm", "w")]);
    let found = read(&root.join("gateway.yaml"), &["p/a.wasm"]).await;
    assert_eq!(found, [ok("gateway.yaml", "g"), ok("p/a.wasm", "w")]);
}

#[tokio::test]
async fn a_config_map_reads_like_a_plain_directory() {
    let (_dir, root) = root();
    write(&root, &[("..2026_1/a.yaml", "a"), ("..2026_1/p.wasm", "w")]);
    symlink("..2026_1", root.join("..data")).unwrap();
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    symlink("..data/p.wasm", root.join("p.wasm")).unwrap();
    assert_eq!(read(&root, &["p.wasm"]).await, [ok("a.yaml", "a"), ok("p.wasm", "w")]);
    assert_eq!(read(&root.join("a.yaml"), &["p.wasm"]).await, [ok("a.yaml", "a"), ok("p.wasm", "w")]);
}

#[tokio::test]
async fn what_leads_out_of_the_root_is_refused_unless_allowed() {
    let (dir, root) = root();
    write(dir.path(), &[("secret", "s"), ("b.yaml", "b"), ("more/c.yaml", "c")]);
    write(&root, &[("a.yaml", "a")]);
    symlink("../b.yaml", root.join("b.yaml")).unwrap();
    symlink("../more", root.join("more")).unwrap();
    let wanted = ["../secret", "/etc/hostname"];
    let found = read(&root, &wanted).await;
    let refused: Vec<_> = found.iter().filter(|(_, entry)| entry.is_err()).map(|(path, _)| &**path).collect();
    assert_eq!(refused, ["../secret", "/etc/hostname", "b.yaml", "more"]);
    assert!(found.iter().filter_map(|(_, entry)| entry.as_ref().err()).all(|why| why.contains("leads out")));

    let options = WatchOptions { follow_outside: true, ..options() };
    let mut source = FileSource::open(&root, options).unwrap();
    let found = read_with(&mut source, &["../secret"]).await;
    assert_eq!(found, [ok("../secret", "s"), ok("a.yaml", "a"), ok("b.yaml", "b"), ok("more/c.yaml", "c")]);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_not_absent() {
    let (_dir, root) = root();
    write(&root, &[("a.yaml", "a"), ("large.yaml", "0123456789")]);
    fs::create_dir(root.join("loop")).unwrap();
    symlink("..", root.join("loop/again")).unwrap();
    symlink("nowhere", root.join("gone.yaml")).unwrap();
    let mut source = FileSource::open(&root, WatchOptions { document_bytes_max: 9, ..options() }).unwrap();
    let found = read_with(&mut source, &[]).await;
    let refused: Vec<_> = found.iter().filter(|(_, entry)| entry.is_err()).map(|(path, _)| &**path).collect();
    assert_eq!(refused, ["gone.yaml", "large.yaml", "loop/again"]);
}

#[tokio::test]
async fn too_many_documents_are_refused_as_a_whole() {
    let (_dir, root) = root();
    write(&root, &[("a.yaml", "a"), ("b.yaml", "b"), ("c.yaml", "c")]);
    let many = WatchOptions { documents_max: 2, ..options() };
    let large = WatchOptions { directory_bytes_max: 1, ..options() };
    for (options, why) in [(many, "more than 2 documents"), (large, "more than 1 bytes")] {
        let mut source = FileSource::open(&root, options).unwrap();
        let found = read_with(&mut source, &[]).await;
        assert!(found[0].0.is_empty() && found[0].1.as_ref().is_err_and(|error| error.contains(why)), "{found:?}");
    }
}

#[tokio::test]
async fn reading_again_reads_only_what_changed() {
    let (_dir, root) = root();
    let names: Vec<String> = (0..50).map(|number| format!("{number}.yaml")).collect();
    names.iter().for_each(|name| write(&root, &[(name, name)]));
    // Older than any clock is coarse, so that the cache is trusted.
    let old = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    names.iter().for_each(|name| fs::File::open(root.join(name)).unwrap().set_times(old).unwrap());
    let mut source = FileSource::open(&root, options()).unwrap();
    let before = source.read(&[]).await;
    write(&root, &[("7.yaml", "seven")]);
    source.changed().await;
    let read_before = source.stats().snapshot().files_read;
    let after = source.read(&[]).await;
    assert_eq!(source.stats().snapshot().files_read, read_before, "the layer was settled");
    assert_eq!(after.revision, before.revision + 1);
    let differ: Vec<_> =
        after.entries.iter().filter(|(path, entry)| before.entries.get(*path) != Some(entry)).collect();
    assert_eq!(differ.len(), 1);
    assert_eq!(source.stats().snapshot().rescans, 1, "an event about one file lists nothing");
}

#[tokio::test]
async fn nothing_at_the_path_is_an_error_at_once() {
    let (_dir, root) = root();
    assert!(FileSource::open(root.join("none"), options()).is_err());
    assert!(FileSource::open("/dev/null", options()).is_err());
}

#[tokio::test]
async fn a_source_says_how_it_is_watched() {
    let (_dir, root) = root();
    write(&root, &[("a.yaml", "a")]);
    for (mode, how) in [(WatchMode::Events, "events"), (WatchMode::Poll, "polling"), (WatchMode::Off, "off")] {
        let mut source = FileSource::open(&root, WatchOptions { mode, ..options() }).unwrap();
        source.read(&[]).await;
        assert_eq!(source.monitor().map(|monitor| monitor.health().how).as_deref(), Some(how));
    }
}

#[tokio::test]
async fn a_read_that_is_asked_for_sees_what_no_event_told_even_as_other_entries_are_wanted() {
    let (_dir, root) = root();
    write(&root, &[("a.yaml", "old"), ("p.wasm", "w")]);
    for mode in [WatchMode::Poll, WatchMode::Off] {
        write(&root, &[("a.yaml", "old")]);
        let mut source = FileSource::open(&root, WatchOptions { mode, ..options() }).unwrap();
        read_with(&mut source, &["p.wasm"]).await;
        write(&root, &[("a.yaml", "new")]);
        assert_eq!(read_with(&mut source, &[]).await, [ok("a.yaml", "new")], "{mode}");
    }
}
