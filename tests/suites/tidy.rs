//! What a machine can hold of the house rules: opening words, the import table of `ARCHITECTURE.md`, no cycle between
//! rooms, who may name which library, lengths, no unfinished notes. Reads the tree as text and runs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Libraries that only some rooms may name, as path prefixes below `proxy/src`.
const KEPT: [(&[&str], &[&str]); 10] = [
    // Spans go to their collector on the control plane, over HTTP.
    (&["hyper", "hyper_util"], &["server", "admin", "cli", "telemetry/trace/courier"]),
    (&["h2"], &["server", "admin", "cli", "upstream/http2", "upstream/health"]),
    (&["hickory_resolver"], &["upstream/dns"]),
    (&["wasmtime"], &["wasm"]),
    (&["tonic"], &["etcd", "telemetry/trace"]),
    (&["prost"], &["etcd", "telemetry/trace", "filter/forward_auth", "wasm/proxy_wasm/messages"]),
    (&["opentelemetry_proto"], &["telemetry/trace"]),
    (&["serde_saphyr"], &["config/parse"]),
    (&["reqwest"], &["fetch/web"]),
    (&["io_uring"], &["ring/kernel", "ring/buffers"]),
];

#[test]
fn every_file_opens_with_words_that_say_what_it_holds() {
    let mute = files(&["rs"]).into_iter().filter(|file| !file.text.trim_start().starts_with("//!"));
    fail("files without opening words (`//!`)", mute.map(|file| file.path));
}

#[test]
fn a_room_names_only_the_rooms_that_the_architecture_allows() {
    let allowed = table();
    let strays = imports().into_iter().filter_map(|(room, named)| {
        let Some(allowed) = allowed.get(&room) else { return Some(format!("{room}: not in the table")) };
        let strays: Vec<_> = named.iter().filter(|(other, _)| !allowed.contains(*other)).collect();
        (!strays.is_empty()).then(|| format!("{room} names {strays:?}"))
    });
    fail("rooms that name what the table of ARCHITECTURE.md does not allow them", strays);
}

#[test]
fn the_architecture_lists_the_rooms_that_there_are() {
    let there: BTreeSet<_> = imports().into_keys().collect();
    fail("rooms in ARCHITECTURE.md that do not exist", table().into_keys().filter(|room| !there.contains(room)));
}

#[test]
fn the_conformance_page_names_tests_that_exist() {
    let page = read("docs/conformance.md");
    let tests: BTreeSet<_> = files(&["rs"]).into_iter().flat_map(|file| test_names(&file.path, &file.text)).collect();
    let named = page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`').skip(1).step_by(2));
    let named = named.filter(|code| code.contains("::") && !code.contains(' '));
    let strays = named.filter(|name| {
        let (suite, test) = (name.split("::").next(), name.rsplit("::").next());
        !tests
            .iter()
            .any(|(path, there)| Some(there.as_str()) == test && suite.is_some_and(|suite| path.contains(suite)))
    });
    fail("tests that docs/conformance.md names and that do not exist", strays.map(str::to_owned));
}

#[test]
fn rooms_do_not_name_each_other_in_a_circle() {
    let mut left: BTreeMap<String, BTreeSet<String>> =
        imports().into_iter().map(|(room, named)| (room, named.into_keys().collect())).collect();
    // Take away what names nobody that is left, until nothing can be: what remains stands in circles.
    while let Some(bottom) = left.iter().find(|(_, named)| !named.iter().any(|room| left.contains_key(room))) {
        let bottom = bottom.0.clone();
        left.remove(&bottom);
    }
    fail(
        "rooms that import each other in a circle",
        left.into_iter().map(|(room, named)| format!("{room}: {named:?}")),
    );
}

#[test]
fn a_library_is_named_only_in_the_rooms_that_keep_it() {
    let strays = sources().into_iter().flat_map(|(inside, text)| {
        let code = code_of(&text).to_owned();
        KEPT.iter()
            .filter(|(_, rooms)| !rooms.iter().any(|room| inside.starts_with(room)))
            .flat_map(|(libraries, _)| *libraries)
            .filter(|library| names(&code, &format!("{library}::")))
            .map(|library| format!("{inside} names {library}"))
            .collect::<Vec<_>>()
    });
    fail("files that name a library which another room keeps", strays);
}

#[test]
fn nothing_unfinished_is_noted() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let noted = files(&["rs", "md", "sh", "toml", "yaml", "wit", "wat"]).into_iter().flat_map(|file| {
        let lines = file.text.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())).collect::<Vec<_>>();
        let words = words.clone();
        lines.into_iter().filter_map(move |(at, line)| {
            words.iter().any(|word| names(&line, word)).then(|| format!("{}:{at}", file.path))
        })
    });
    fail("unfinished notes", noted);
}

#[test]
fn files_are_short_enough_to_read() {
    let long = files(&["rs"]).into_iter().filter(|file| !file.path.starts_with("tests/suites")).filter_map(|file| {
        let lines = code_of(&file.text).lines().count();
        let most = if file.path == "proxy/src/main.rs" { 100 } else { 400 };
        (lines > most).then(|| format!("{}: {lines} lines before its tests, {most} at most", file.path))
    });
    fail("files that are too long", long);
}

#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    let sleep = ["thread::sl", "time::sl"].map(|stem| format!("{stem}eep"));
    // What a bench waits for is a span of time.
    let is_free = |file: &File| file.path == "tests/src/eventually.rs" || file.path.starts_with("tests/bench/");
    let sleepers = files(&["rs"]).into_iter().filter(|file| !is_free(file)).filter(|file| {
        let inside = file.path.strip_prefix("proxy/src/");
        let all = inside.is_none() || inside.is_some_and(is_test);
        let tests = if all { &file.text } else { parts_of(&file.text).1 };
        sleep.iter().any(|call| tests.contains(call.as_str()))
    });
    fail("tests that sleep (wait with `eventually`)", sleepers.map(|file| file.path));
}

#[test]
fn no_test_is_switched_off() {
    let mark = ["#[ign", "ore"].concat();
    fail(
        "switched-off tests",
        files(&["rs"]).into_iter().filter(|file| file.text.contains(&mark)).map(|file| file.path),
    );
}

#[test]
fn no_file_names_a_path_of_one_machine_or_the_host_of_a_registry() {
    let marks = [["/ro", "ot/"], ["/wo", "rk/"], ["/ho", "me/"], ["index.crates", ".io"], ["static.crates", ".io"]]
        .into_iter()
        .chain([["pypi", ".org"], ["npmjs", ".org"], ["deb.debian", ".org"], ["rust-lang", ".org"]])
        .map(|halves| halves.concat())
        .collect::<Vec<_>>();
    let kinds = ["rs", "md", "sh", "toml", "yaml", "wit", "wat", "run", "Makefile", "json"];
    let strays = files(&kinds).into_iter().flat_map(|file| {
        let found: Vec<_> = marks.iter().filter(|mark| file.text.contains(mark.as_str())).cloned().collect();
        found.into_iter().map(move |mark| format!("{}: {mark}", file.path))
    });
    fail("paths of one machine, or registry hosts", strays);
}

#[test]
fn every_metric_is_documented() {
    let docs: String = files(&["md"]).into_iter().map(|file| file.text).collect();
    let undocumented = sources().into_iter().flat_map(|(inside, text)| {
        let named: BTreeSet<_> = code_of(&text).split('"').filter(|word| is_metric(word)).map(str::to_owned).collect();
        let docs = &docs;
        named
            .into_iter()
            .filter(|name| !docs.contains(name.as_str()))
            .map(move |name| format!("{name} ({inside})"))
            .collect::<Vec<_>>()
    });
    fail("metrics that no page under docs/ explains", undocumented);
}

#[test]
fn the_readme_names_only_targets_that_the_makefile_has() {
    let makefile = read("Makefile");
    let readme = read("README.md");
    let named = readme.split("make ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next());
    let missing = named.filter(|target| !target.is_empty() && !makefile.contains(&format!("\n{target}:")));
    fail("targets that README.md names and the Makefile lacks", missing.map(str::to_owned));
}

struct File {
    path: String,
    text: String,
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of these kinds (name endings) that belong to the project, by path from its top.
fn files(kinds: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    walk(&top(), &mut |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = name.rsplit('.').next().unwrap_or(&name);
        // Files that are wrong on purpose (not UTF-8, say) are input, not ours to read.
        if kinds.contains(&kind)
            && let Ok(text) = fs::read_to_string(path)
        {
            let path = path.strip_prefix(top()).expect("walked from the top").to_string_lossy().into_owned();
            found.push(File { path, text });
        }
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The functions of a file that may be tests, with the file's path.
fn test_names(path: &str, text: &str) -> Vec<(String, String)> {
    let names = text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
    names.filter_map(|rest| Some((path.to_owned(), rest.split_once('(')?.0.to_owned()))).collect()
}

fn walk(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder of the project can be read").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let skipped = ["target", ".git", "dist", "golden", "broken", "corpus"].iter().any(|skipped| name == *skipped);
        match path.is_dir() {
            true if skipped || path.is_symlink() => {}
            true => walk(&path, see),
            false => see(&path),
        }
    }
}

/// The files of the gateway that are not only tests, by path below `proxy/src`.
fn sources() -> Vec<(String, String)> {
    let inside = |file: File| file.path.strip_prefix("proxy/src/").map(|path| (path.to_owned(), file.text.clone()));
    files(&["rs"]).into_iter().filter_map(inside).filter(|(path, _)| !is_test(path)).collect()
}

/// For each room, the other rooms that its code names, with one file that does.
fn imports() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut rooms: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (path, text) in sources() {
        let room = path.split(['/', '.']).next().expect("a path has a first segment").to_owned();
        // Tests may name what they stand on, also where they have a file of their own.
        if room == "lib" || room == "main" || path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        let named = rooms.entry(room.clone()).or_default();
        for other in rooms_named(&without_comments(code_of(&text))) {
            if other != room {
                named.entry(other).or_insert_with(|| path.clone());
            }
        }
    }
    let all: BTreeSet<String> = rooms.keys().cloned().collect();
    for named in rooms.values_mut() {
        named.retain(|other, _| all.contains(other));
    }
    rooms
}

/// The first segments after every `crate::`, groups in braces included.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            named.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut item = 0;
        for (at, symbol) in group.char_indices() {
            match symbol {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    named.insert(word(&group[item..at]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    named.insert(word(&group[item..at]));
                    item = at + 1;
                }
                _ => {}
            }
        }
    }
    named
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The table of `ARCHITECTURE.md`: a room and what it may use.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let page = read("ARCHITECTURE.md");
    let (_, rest) = page.split_once("<!-- rooms").expect("ARCHITECTURE.md marks its table");
    let (rows, _) = rest.split_once("<!-- end of rooms -->").expect("ARCHITECTURE.md marks its table's end");
    let rows = rows.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let allowed = cells.last().expect("a row has cells").split(',').map(str::trim).filter(|room| *room != "-");
        (cells[0].trim_matches('`').to_owned(), allowed.map(str::to_owned).collect())
    })
    .collect()
}

fn without_comments(code: &str) -> String {
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The code of a file, and the tests at its bottom.
fn parts_of(text: &str) -> (&str, &str) {
    const MARK: &str = "#[cfg(test)]\nmod ";
    let begins = |at: &usize| text[at + MARK.len()..].lines().next().is_some_and(|line| line.ends_with('{'));
    let at = text.match_indices(MARK).map(|(at, _)| at).find(begins).unwrap_or(text.len());
    text.split_at(at)
}

fn code_of(text: &str) -> &str {
    parts_of(text).0
}

/// Whether a file of `proxy/src` is compiled into tests only: it, or a folder above it, is declared so.
fn is_test(path: &str) -> bool {
    let mut folders: Vec<_> = path.trim_end_matches(".rs").split('/').collect();
    while let Some(module) = folders.pop() {
        let parent = folders.join("/");
        let doors = [format!("{parent}.rs"), format!("{parent}/mod.rs"), "lib.rs".to_owned()];
        let door = doors.iter().find_map(|door| fs::read_to_string(top().join("proxy/src").join(door)).ok());
        let declared = |visibility: &str| format!("#[cfg(test)]\n{visibility}mod {module};");
        if door
            .is_some_and(|door| ["", "pub ", "pub(crate) ", "pub(super) "].iter().any(|v| door.contains(&declared(v))))
        {
            return true;
        }
    }
    false
}

/// Whether `needle` stands in `text` and is not the tail of a longer word.
fn names(text: &str, needle: &str) -> bool {
    let joins = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(needle).any(|(at, _)| !text[..at].ends_with(joins))
}

fn is_metric(word: &str) -> bool {
    word.strip_prefix("tidegate_").is_some_and(|rest| {
        rest.contains('_') && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

#[track_caller]
fn fail(what: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<_> = found.into_iter().collect();
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}
