//! How a watched directory is followed: one row a way to save, with the system calls that real programs make. A reader
//! loops over `changed` and `read` meanwhile. Every layer that it sees must be one of the allowed whole states, their
//! number is bounded, and the last is what is on disk.

mod saves;
mod stage;

use std::{fs, time::Duration};

use tidegate::source::{
    Source,
    file::{FileSource, WatchMode, WatchOptions},
};

use stage::{Row, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_save_is_followed_by_events() {
    run(saves::rows(), WatchMode::Events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_save_is_followed_by_polling() {
    run(saves::rows().into_iter().filter(|row| !row.events_only).collect(), WatchMode::Poll).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_save_is_followed_when_watches_are_refused() {
    let refused = |row: Row| Row { adjust: |options| options.watches_max = 1, ..row };
    run(saves::rows().into_iter().filter(|row| !row.events_only).map(refused).collect(), WatchMode::Auto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_wait_loses_no_change() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    fs::write(&file, "0").unwrap();
    let mut source = FileSource::open(directory.path(), WatchOptions::default()).unwrap();
    source.read(&[]).await;
    for number in 1..20_u64 {
        fs::write(&file, number.to_string()).unwrap();
        // Dropped at ever other points of the wait, until it is through.
        let mut patience = Duration::from_micros(100);
        while tokio::time::timeout(patience, source.changed()).await.is_err() {
            patience += Duration::from_micros(700);
        }
        let layer = source.read(&[]).await;
        assert_eq!(layer.entries["a.yaml"].as_ref().unwrap().bytes, number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_watching_a_read_still_sees_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    fs::write(&file, "old").unwrap();
    let options = WatchOptions { mode: WatchMode::Off, ..WatchOptions::default() };
    let mut source = FileSource::open(directory.path(), options).unwrap();
    let before = source.read(&[]).await;
    fs::write(&file, "new").unwrap();
    let after = source.read(&[]).await;
    assert_eq!(before.entries["a.yaml"].as_ref().unwrap().bytes, "old");
    assert_eq!(after.entries["a.yaml"].as_ref().unwrap().bytes, "new");
    assert_eq!(after.revision, before.revision + 1);
}

async fn run(rows: Vec<Row>, mode: WatchMode) {
    let mut failures = Vec::new();
    for row in rows {
        if let Err(why) = play(&row, mode).await {
            failures.push(format!("{mode}: {}: {why}", row.name));
        }
    }
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}
