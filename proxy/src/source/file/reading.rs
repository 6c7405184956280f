//! One reading of one file: its state before and after must be the same, and its size within its limit. Knows nothing
//! of earlier readings.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::resolve::is_missing;
use crate::source::{Entry, ReadError};

/// What changes when a file does. Equal: the same content, as far as clocks and inode numbers can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What one look at a file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// A content, and the file's state while it was read.
    Content(Stat, Entry),
    /// It changed while it was read.
    Torn,
    /// There is no such file.
    Missing,
    /// It cannot be read.
    Failed(ReadError),
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.size
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Whether it changed after that time.
    pub(super) fn is_later_than(&self, time: SystemTime) -> bool {
        self.age(time).is_none()
    }

    /// How long ago it last changed; none if its clock is ahead of ours. The change time, which no program can set
    /// back, other than the modification time.
    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        let (seconds, nanos) = (u64::try_from(self.changed.0).ok()?, u64::try_from(self.changed.1).ok()?);
        let changed = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        now.duration_since(changed).ok()
    }
}

/// Reads the file at `real`, which has no links in it, as the entry `key`.
pub(super) fn read(real: &Path, key: &str, bytes_max: u64) -> Observed {
    match attempt(real, bytes_max) {
        Ok(observed) => observed,
        Err(error) if is_missing(&error) => Observed::Missing,
        Err(error) => failed(key, &error),
    }
}

/// A file that cannot be read, in words.
pub(super) fn failed(key: &str, why: &dyn std::fmt::Display) -> Observed {
    Observed::Failed(ReadError(Arc::from(format!("cannot read {key}: {why}"))))
}

fn attempt(real: &Path, bytes_max: u64) -> io::Result<Observed> {
    // Neither follow a link that has just been put there, nor wait for the other end of a pipe.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(real)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if before.len() > bytes_max {
        return Err(too_large(before.len(), bytes_max));
    }
    let content = read_bounded(&file, before.len(), bytes_max)?;
    let (before, after) = (Stat::of(&before), Stat::of(&file.metadata()?));
    Ok(if before == after { Observed::Content(after, Entry::new(content)) } else { Observed::Torn })
}

fn read_bounded(file: &File, expected: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    // Pseudo files have no size of their own and may be longer than they said.
    let length = content.len() as u64;
    if length > bytes_max { Err(too_large(length, bytes_max)) } else { Ok(content) }
}

fn too_large(bytes: u64, bytes_max: u64) -> io::Error {
    io::Error::other(format!("it has {bytes} bytes or more, and the limit is {bytes_max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_its_state_or_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a: 1").unwrap();
        let Observed::Content(stat, entry) = read(&path, "a.yaml", 4) else { panic!("not read") };
        assert_eq!((stat, entry), (Stat::of(&fs::metadata(&path).unwrap()), Entry::new("a: 1")));

        let too_long = read(&path, "a.yaml", 3);
        let why = "cannot read a.yaml: it has 4 bytes or more, and the limit is 3";
        assert_eq!(too_long, Observed::Failed(ReadError(why.into())));
        assert_eq!(read(&dir.path().join("b.yaml"), "b.yaml", 3), Observed::Missing);
        assert!(matches!(read(dir.path(), "d", 3), Observed::Failed(_)));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe.yaml");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(read(&path, "pipe.yaml", 9), failed("pipe.yaml", &"it is not a regular file"));
    }
}
