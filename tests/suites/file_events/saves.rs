//! The table: ways to save, as the system calls that programs make.
#![allow(clippy::unwrap_used, reason = "a call that fails is the failure of its row, and says where")]

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use super::stage::{Row, Stage};

const CONFIG_MAP: &[(&str, &str)] = &[
    ("conf/..2026_1/a.yaml", "old"),
    ("conf/..2026_1/b.yaml", "old"),
    ("conf/..2026_1/p.wasm", "old"),
    ("conf/..data -> ..2026_1", ""),
    ("conf/a.yaml -> ..data/a.yaml", ""),
    ("conf/b.yaml -> ..data/b.yaml", ""),
    ("conf/p.wasm -> ..data/p.wasm", ""),
];
const SINGLE: Row = Row { named: "conf/a.yaml", ..Row::PLAIN };
const MODULE: Row =
    Row { before: &[("conf/a.yaml", "a"), ("conf/plugins/p.wasm", "old")], wanted: &["plugins/p.wasm"], ..Row::PLAIN };

pub(super) fn rows() -> Vec<Row> {
    let mut rows = editors();
    rows.extend(plain_calls());
    rows.extend(directories());
    rows.extend(roots());
    rows.extend(modules());
    rows.extend(many());
    rows.extend(hard());
    rows.extend(unheard());
    rows
}

fn editors() -> Vec<Row> {
    vec![
        Row { name: "a write in place", save: |stage| write(&stage.at("conf/a.yaml"), "new"), ..Row::PLAIN },
        Row {
            name: "a temporary file renamed onto the old one",
            save: |stage| {
                write(&stage.at("conf/a.yaml.tmp"), "new");
                rename(stage, "conf/a.yaml.tmp", "conf/a.yaml");
            },
            ..Row::PLAIN
        },
        Row { name: "vim, backup by renaming", save: vim_renaming, ..Row::PLAIN },
        Row { name: "vim, backup by copying", save: vim_copying, ..Row::PLAIN },
        Row { name: "emacs", save: emacs, ..Row::PLAIN },
        Row { name: "sed -i", save: sed, ..Row::PLAIN },
        Row { name: "a safe write of JetBrains", save: jetbrains, ..Row::PLAIN },
        Row { name: "a single file, vim", save: vim_renaming, ..SINGLE },
        Row { name: "a single file, vim by copying", save: vim_copying, ..SINGLE },
        Row { name: "a single file, emacs", save: emacs, ..SINGLE },
        Row { name: "a single file, sed -i", save: sed, ..SINGLE },
        Row { name: "a single file, JetBrains", save: jetbrains, ..SINGLE },
    ]
}

fn plain_calls() -> Vec<Row> {
    vec![
        Row {
            name: "delete and create",
            save: |stage| {
                remove(stage, "conf/a.yaml");
                write(&stage.at("conf/a.yaml"), "new");
            },
            ..Row::PLAIN
        },
        Row {
            name: "delete and link",
            save: |stage| {
                write(&stage.at("new"), "new");
                remove(stage, "conf/a.yaml");
                fs::hard_link(stage.at("new"), stage.at("conf/a.yaml")).unwrap();
            },
            ..Row::PLAIN
        },
        Row {
            name: "a file renamed to another name",
            save: |stage| rename(stage, "conf/a.yaml", "conf/c.yaml"),
            ..Row::PLAIN
        },
        Row { name: "a deletion", save: |stage| remove(stage, "conf/a.yaml"), ..Row::PLAIN },
        Row {
            name: "a save of the same content, and new permissions",
            save: |stage| {
                write(&stage.at("conf/a.yaml"), "old");
                fs::set_permissions(stage.at("conf/b.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
                stage.until_counted("the events are found to mean nothing", |counts| counts.suppressed > 0);
            },
            changes_max: 0,
            events_only: true,
            ..Row::PLAIN
        },
    ]
}

fn directories() -> Vec<Row> {
    vec![
        Row { name: "a ConfigMap", before: CONFIG_MAP, wanted: &["p.wasm"], save: config_map, ..Row::PLAIN },
        Row {
            name: "one file of a ConfigMap",
            named: "conf/a.yaml",
            before: CONFIG_MAP,
            wanted: &["p.wasm"],
            save: config_map,
            ..Row::PLAIN
        },
        Row {
            name: "a directory moved in",
            save: |stage| {
                fs::create_dir_all(stage.at("new/deep")).unwrap();
                write(&stage.at("new/c.yaml"), "c");
                write(&stage.at("new/deep/d.yaml"), "d");
                rename(stage, "new", "conf/new");
            },
            ..Row::PLAIN
        },
        Row {
            name: "a directory moved out",
            before: &[("conf/a.yaml", "a"), ("conf/sub/b.yaml", "b"), ("conf/sub/c.yaml", "c")],
            save: |stage| rename(stage, "conf/sub", "sub"),
            ..Row::PLAIN
        },
        Row {
            name: "a directory made and filled",
            save: |stage| {
                fs::create_dir_all(stage.at("conf/new/deep")).unwrap();
                write(&stage.at("conf/new/deep/c.yaml"), "c");
            },
            ..Row::PLAIN
        },
    ]
}

fn roots() -> Vec<Row> {
    vec![
        Row {
            name: "the directory replaced by another, and that one edited",
            save: |stage| {
                fs::create_dir(stage.at("next")).unwrap();
                write(&stage.at("next/c.yaml"), "c");
                rename(stage, "conf", "last");
                rename(stage, "next", "conf");
                stage.until("the new directory is read", |state| state.contains_key("c.yaml"));
                write(&stage.at("last/a.yaml"), "nobody reads this");
                write(&stage.at("conf/c.yaml"), "c2");
            },
            changes_max: 2,
            atomic: false,
            between: &[("c.yaml", "c")],
            ..Row::PLAIN
        },
        Row {
            name: "a link to a release, pointed at the next one",
            named: "current",
            before: &[("r1/a.yaml", "old"), ("r1/b.yaml", "old"), ("r2/a.yaml", "new"), ("current -> r1", "")],
            save: |stage| {
                symlink("r2", stage.at("current.tmp")).unwrap();
                rename(stage, "current.tmp", "current");
            },
            ..Row::PLAIN
        },
        Row {
            name: "the directory gone, and back",
            save: |stage| {
                rename(stage, "conf", "away");
                stage.until("the tree is refused", |state| state.contains_key("") && state.contains_key("a.yaml"));
                write(&stage.at("away/a.yaml"), "new");
                rename(stage, "away", "conf");
            },
            changes_max: 2,
            atomic: false,
            between: &[("", "")],
            ..Row::PLAIN
        },
        Row {
            name: "all documents deleted, and one written",
            save: |stage| {
                remove(stage, "conf/a.yaml");
                remove(stage, "conf/b.yaml");
                stage.until("the tree is refused", |state| state.contains_key(""));
                write(&stage.at("conf/b.yaml"), "new");
            },
            changes_max: 3,
            atomic: false,
            ..Row::PLAIN
        },
    ]
}

fn modules() -> Vec<Row> {
    vec![
        Row {
            name: "a module renamed onto the old one",
            save: |stage| {
                write(&stage.at("conf/plugins/.p.wasm.part"), "new");
                rename(stage, "conf/plugins/.p.wasm.part", "conf/plugins/p.wasm");
            },
            ..MODULE
        },
        Row {
            name: "a module written in place",
            save: |stage| write(&stage.at("conf/plugins/p.wasm"), "new"),
            ..MODULE
        },
        Row {
            name: "a module that comes after the document that names it",
            before: &[("conf/a.yaml", "a")],
            save: |stage| {
                fs::create_dir_all(stage.at("conf/plugins")).unwrap();
                write(&stage.at("conf/plugins/p.wasm"), "new");
            },
            ..MODULE
        },
        Row {
            name: "a secret in a hidden directory, replaced",
            before: &[("conf/a.yaml", "a"), ("conf/.secrets/key", "old")],
            wanted: &[".secrets/key"],
            save: |stage| {
                write(&stage.at("conf/.secrets/key.new"), "new");
                rename(stage, "conf/.secrets/key.new", "conf/.secrets/key");
            },
            ..Row::PLAIN
        },
    ]
}

fn many() -> Vec<Row> {
    vec![
        Row {
            name: "a checkout of 200 files",
            save: |stage| {
                for number in 0..200 {
                    let path = stage.at(&format!("conf/{number}.yaml"));
                    if number % 2 == 0 {
                        write(&path, "before");
                        fs::remove_file(&path).unwrap();
                    }
                    write(&path, "after");
                }
                remove(stage, "conf/b.yaml");
            },
            changes_max: 10,
            atomic: false,
            in_memory: true,
            ..Row::PLAIN
        },
        Row {
            name: "5,000 saves of ten files at once",
            save: |stage| {
                for number in 0..5000 {
                    write(&stage.at(&format!("conf/{}.yaml", number % 10)), "x");
                }
            },
            changes_max: 10,
            atomic: false,
            in_memory: true,
            ..Row::PLAIN
        },
        Row {
            name: "5,000 new files at once",
            save: |stage| {
                for number in 0..5000 {
                    write(&stage.at(&format!("conf/{number}.yaml")), "x");
                }
            },
            changes_max: 50,
            atomic: false,
            in_memory: true,
            ..Row::PLAIN
        },
    ]
}

fn hard() -> Vec<Row> {
    vec![
        Row {
            name: "a file truncated and written slowly",
            save: |stage| slowly(stage, "conf/a.yaml", "a.yaml"),
            changes_max: 4,
            atomic: false,
            between: &[("b.yaml", "1"), ("b.yaml", "2")],
            events_only: true,
            adjust: |options| options.quiet_max = Duration::from_millis(200),
            ..Row::PLAIN
        },
        Row {
            name: "a new file written slowly",
            before: &[("conf/b.yaml", "b")],
            save: |stage| slowly(stage, "conf/a.yaml", "a.yaml"),
            changes_max: 4,
            atomic: false,
            between: &[("b.yaml", "1"), ("b.yaml", "2")],
            events_only: true,
            adjust: |options| options.quiet_max = Duration::from_millis(200),
            ..Row::PLAIN
        },
        Row {
            name: "a module written slowly",
            before: &[("conf/a.yaml", "a"), ("conf/b.yaml", "b"), ("conf/plugins/p.wasm", "old")],
            save: |stage| slowly(stage, "conf/plugins/p.wasm", "plugins/p.wasm"),
            changes_max: 4,
            atomic: false,
            between: &[("b.yaml", "1"), ("b.yaml", "2")],
            events_only: true,
            adjust: |options| options.quiet_max = Duration::from_millis(200),
            ..MODULE
        },
        Row {
            name: "a file emptied on purpose",
            save: |stage| write(&stage.at("conf/a.yaml"), ""),
            events_only: true,
            adjust: |options| options.settle = Duration::from_millis(20),
            ..Row::PLAIN
        },
        Row {
            name: "a file that stays open, after it was left alone for as long as is set",
            save: |stage| {
                let mut file = File::create(stage.at("conf/a.yaml")).unwrap();
                file.write_all(b"new").unwrap();
                stage.until("it is taken", |state| state["a.yaml"] == Ok("new".into()));
            },
            events_only: true,
            adjust: |options| options.open_max = Duration::from_millis(300),
            ..Row::PLAIN
        },
    ]
}

fn unheard() -> Vec<Row> {
    vec![
        Row {
            name: "a change whose events were lost",
            before: &[("conf/a.yaml", "old")],
            save: |stage| {
                unseen(stage);
                stage.lost.report();
                stage.until_counted("the loss is counted", |counts| counts.overflows == 1);
            },
            events_only: true,
            ..Row::PLAIN
        },
        Row {
            name: "a change that no event announces, found by the net",
            before: &[("conf/a.yaml", "old")],
            save: |stage| {
                unseen(stage);
                stage.until_counted("the miss is counted", |counts| counts.missed == 1);
            },
            events_only: true,
            adjust: |options| options.compare = Duration::from_millis(100),
            ..Row::PLAIN
        },
    ]
}

fn vim_renaming(stage: &Stage) {
    write(&stage.at("conf/.a.yaml.swp"), "swap");
    write(&stage.at("conf/4913"), "");
    remove(stage, "conf/4913");
    rename(stage, "conf/a.yaml", "conf/a.yaml~");
    write(&stage.at("conf/a.yaml"), "new");
    fs::set_permissions(stage.at("conf/a.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    remove(stage, "conf/a.yaml~");
    remove(stage, "conf/.a.yaml.swp");
}

fn vim_copying(stage: &Stage) {
    fs::copy(stage.at("conf/a.yaml"), stage.at("conf/a.yaml~")).unwrap();
    let mut file = OpenOptions::new().write(true).truncate(true).open(stage.at("conf/a.yaml")).unwrap();
    file.write_all(b"n").unwrap();
    file.write_all(b"ew").unwrap();
    file.sync_all().unwrap();
    drop(file);
    remove(stage, "conf/a.yaml~");
}

fn emacs(stage: &Stage) {
    symlink("me@host.1:1", stage.at("conf/.#a.yaml")).unwrap();
    write(&stage.at("conf/#a.yaml#"), "ne");
    rename(stage, "conf/a.yaml", "conf/a.yaml~");
    write(&stage.at("conf/a.yaml"), "new");
    remove(stage, "conf/#a.yaml#");
    remove(stage, "conf/.#a.yaml");
}

fn sed(stage: &Stage) {
    let status = Command::new("sed").arg("-i").arg("s/old/new/").arg(stage.at("conf/a.yaml")).status().unwrap();
    assert!(status.success());
}

fn jetbrains(stage: &Stage) {
    write(&stage.at("conf/a.yaml___jb_tmp___"), "new");
    rename(stage, "conf/a.yaml", "conf/a.yaml___jb_old___");
    rename(stage, "conf/a.yaml___jb_tmp___", "conf/a.yaml");
    remove(stage, "conf/a.yaml___jb_old___");
}

/// As the kubelet's atomic writer does it: new directory, `..data` renamed over, the old directory removed.
fn config_map(stage: &Stage) {
    fs::create_dir(stage.at("conf/..2026_2")).unwrap();
    for name in ["a.yaml", "b.yaml", "p.wasm"] {
        write(&stage.at(&format!("conf/..2026_2/{name}")), "new");
    }
    symlink("..2026_2", stage.at("conf/..data_tmp")).unwrap();
    rename(stage, "conf/..data_tmp", "conf/..data");
    fs::remove_dir_all(stage.at("conf/..2026_1")).unwrap();
}

/// In three pieces; between them another file is saved, to know that the reader has looked.
fn slowly(stage: &Stage, path: &str, key: &str) {
    let old = fs::read_to_string(stage.at(path)).ok();
    let mut file = File::create(stage.at(path)).unwrap();
    for piece in ["1", "2"] {
        write(&stage.at("conf/b.yaml"), piece);
        stage.until("the other file is read", |state| state["b.yaml"] == Ok(piece.into()));
        stage.until("the old content stands", |state| state.get(key).cloned() == old.clone().map(Ok));
        file.write_all(piece.as_bytes()).unwrap();
    }
    file.write_all(b"3").unwrap();
}

/// Through another name outside of the directory, of which its watch hears nothing.
fn unseen(stage: &Stage) {
    fs::hard_link(stage.at("conf/a.yaml"), stage.at("outside")).unwrap();
    write(&stage.at("outside"), "new");
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

fn rename(stage: &Stage, from: &str, to: &str) {
    fs::rename(stage.at(from), stage.at(to)).unwrap();
}

fn remove(stage: &Stage, path: &str) {
    fs::remove_file(stage.at(path)).unwrap();
}
