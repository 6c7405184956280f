//! How people and machines save files: each way is one reload, none where nothing changed, and never half a file.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use tidegate_tests::{ConfigDir, Gateway, WEB, soon};

/// A configuration whose answers say its edit.
fn configuration(edit: u64) -> String {
    format!("{WEB}routes: [{{id: all, path: /*, middleware: [{{respond: {{headers: {{x-edit: '{edit}'}}}}}}]}}]\n")
}

/// A way to save: its name, and how it makes the file at a path hold a text.
type Way = (&'static str, fn(&Path, &str));

const WAYS: [Way; 9] = [
    ("in place", |file, text| fs::write(file, text).unwrap()),
    ("to a temporary, renamed over (most IDEs)", |file, text| {
        let temporary = file.with_extension("yaml.tmp~");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, file).unwrap();
    }),
    ("vim: renamed to a backup, written anew, backup deleted", |file, text| {
        let backup = file.with_extension("yaml~");
        fs::write(file.with_file_name("4913"), "").unwrap();
        fs::remove_file(file.with_file_name("4913")).unwrap();
        fs::rename(file, &backup).unwrap();
        fs::write(file, text).unwrap();
        fs::remove_file(backup).unwrap();
    }),
    ("vim: with `backupcopy=yes`", |file, text| {
        let backup = file.with_extension("yaml~");
        fs::copy(file, &backup).unwrap();
        fs::write(file, text).unwrap();
        fs::remove_file(backup).unwrap();
    }),
    ("emacs: lock, backup, temporary, renamed over", |file, text| {
        let lock = file.with_file_name(".#gateway.yaml");
        symlink("someone@somewhere.1234:5678", &lock).unwrap();
        fs::copy(file, file.with_extension("yaml~")).unwrap();
        let temporary = file.with_file_name("#gateway.yaml#");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, file).unwrap();
        fs::remove_file(lock).unwrap();
    }),
    ("deleted and created", |file, text| {
        fs::remove_file(file).unwrap();
        fs::write(file, text).unwrap();
    }),
    ("a hard link replaced", |file, text| {
        let other = file.with_extension("yaml.link~");
        fs::write(&other, text).unwrap();
        fs::remove_file(file).unwrap();
        fs::hard_link(&other, file).unwrap();
        fs::remove_file(other).unwrap();
    }),
    ("many small writes", |file, text| {
        let mut file = File::create(file).unwrap();
        text.bytes().for_each(|byte| file.write_all(&[byte]).unwrap());
    }),
    ("in place, saved again at once", |file, text| {
        fs::write(file, text).unwrap();
        fs::write(file, text).unwrap();
    }),
];

async fn applied(gateway: &Gateway) -> f64 {
    gateway.metric("tidegate_reloads_total", "outcome=\"applied\"").await
}

async fn refused(gateway: &Gateway) -> f64 {
    gateway.metric("tidegate_reloads_total", "outcome=\"refused\"").await
}

/// So many reloads, and none refused. One is counted when every worker has it, after the first of them serves it.
async fn counted(gateway: &Gateway, reloads: u64, after: &str) {
    soon(&format!("{after}: it is counted"), async || applied(gateway).await >= reloads as f64).await;
    assert_eq!((applied(gateway).await, refused(gateway).await), (reloads as f64, 0.0), "{after}");
}

/// The edit that serves.
async fn edit(gateway: &Gateway) -> u64 {
    gateway.http1().await.get("/").await.header("x-edit").parse().unwrap_or(0)
}

#[tokio::test]
async fn every_way_to_save_is_one_reload() {
    let dir = ConfigDir::new();
    dir.write("gateway.yaml", &configuration(1));
    let gateway = Gateway::watching(&dir).await;
    for (number, (way, save)) in (2..).zip(WAYS) {
        save(&dir.path().join("gateway.yaml"), &configuration(number));
        soon(&format!("{way}: it serves"), async || edit(&gateway).await == number).await;
        counted(&gateway, number, way).await;
    }
}

#[tokio::test]
async fn what_tools_write_is_one_reload_too() {
    let dir = ConfigDir::new();
    dir.write("gateway.yaml", &configuration(1));
    let gateway = Gateway::watching(&dir).await;
    let shell = |line: &str| {
        let status = Command::new("sh").args(["-c", line]).current_dir(dir.path()).status().unwrap();
        assert!(status.success(), "{line}");
    };
    for (number, line) in [
        (2, "sed -i \"s/'1'/'2'/\" gateway.yaml"),
        (3, "sed \"s/'2'/'3'/\" gateway.yaml > ../copy && cp ../copy gateway.yaml"),
    ] {
        shell(line);
        soon(line, async || edit(&gateway).await == number).await;
        counted(&gateway, number, line).await;
    }
}

#[tokio::test]
async fn a_save_that_changes_nothing_swaps_nothing() {
    let dir = ConfigDir::new();
    dir.write("gateway.yaml", &configuration(1));
    let gateway = Gateway::watching(&dir).await;
    for _ in 0..3 {
        fs::write(dir.path().join("gateway.yaml"), configuration(1)).unwrap();
        fs::write(dir.path().join("notes.txt"), "nothing to do with it").unwrap();
    }
    // Whatever came before this one is through when this one serves.
    dir.write("gateway.yaml", &configuration(2));
    gateway.serves(2).await;
    counted(&gateway, 2, "nothing but the edit").await;
}

#[tokio::test]
async fn a_file_that_is_written_slowly_is_never_taken_half() {
    let dir = ConfigDir::new();
    dir.write("gateway.yaml", &configuration(1));
    let gateway = Gateway::watching(&dir).await;
    let mut file = File::create(dir.path().join("gateway.yaml")).unwrap();
    let text = configuration(2);
    // Cut at a line end it is valid YAML, and at first it is empty.
    let (first, rest) = text.split_at(text.find("routes").unwrap());
    for piece in ["", first, rest] {
        file.write_all(piece.as_bytes()).unwrap();
        for _ in 0..100 {
            assert_eq!(edit(&gateway).await, 1);
        }
    }
    drop(file);
    soon("the whole file serves", async || edit(&gateway).await == 2).await;
    counted(&gateway, 2, "nothing but the edit").await;
}

#[tokio::test]
async fn the_swap_of_a_config_maps_link_is_one_reload_of_all_its_files() {
    let dir = ConfigDir::new();
    let root = dir.path();
    let version = |number: u64| {
        let folder = format!("..2026_{number}");
        fs::create_dir(root.join(&folder)).unwrap();
        fs::write(root.join(&folder).join("gateway.yaml"), configuration(number)).unwrap();
        fs::write(
            root.join(&folder).join("more.yaml"),
            format!("upstreams: {{u{number}: {{endpoints: ['127.0.0.1:1']}}}}\n"),
        )
        .unwrap();
        symlink(&folder, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    version(1);
    for name in ["gateway.yaml", "more.yaml"] {
        symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let gateway = Gateway::watching(&dir).await;
    for number in 2..6 {
        version(number);
        fs::remove_dir_all(root.join(format!("..2026_{}", number - 1))).unwrap();
        soon("it serves", async || edit(&gateway).await == number).await;
        counted(&gateway, number, "a swap").await;
    }
}

#[tokio::test]
async fn a_checkout_over_many_files_and_a_directory_moved_in_are_taken_whole() {
    let dir = ConfigDir::new();
    let root = dir.path();
    let fill = |folder: &Path, number: u64| {
        fs::create_dir_all(folder).unwrap();
        for route in 0..200 {
            let text = format!(
                "routes: [{{id: r{route}, path: /r{route}, middleware: [{{respond: {{body: '{number}'}}}}]}}]\n"
            );
            fs::write(folder.join(format!("{route}.yaml")), text).unwrap();
        }
    };
    dir.write("gateway.yaml", &configuration(1));
    fill(&root.join("routes"), 1);
    let gateway = Gateway::watching(&dir).await;
    let all = async |number: u64| {
        let mut client = gateway.http1().await;
        for route in 0..200 {
            if client.get(&format!("/r{route}")).await.text() != number.to_string() {
                return false;
            }
        }
        true
    };
    fill(&root.join("routes"), 2);
    soon("the files that were written over serve", async || all(2).await).await;
    let beside = dir.beside("staged");
    fill(&beside, 3);
    fs::rename(root.join("routes"), dir.beside("old")).unwrap();
    fs::rename(beside, root.join("routes")).unwrap();
    soon("the directory that was moved in serves", async || all(3).await).await;
    assert_eq!(refused(&gateway).await, 0.0);
}
