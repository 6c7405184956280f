//! A pull: a prefix as a directory on disk, put in its place in one step, or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags};
use serde::Serialize;

use super::{prefix::Prefix, remote::Remote};
use crate::etcd::Client;

/// What a pull came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// The prefix as of this revision.
    pub revision: i64,
    /// Files written.
    pub files: usize,
    /// All of them together.
    pub bytes: u64,
    /// Keys under leases, which were left out: they are not there to stay.
    pub leased: Vec<String>,
    /// Keys that are no paths, which were left out.
    pub strangers: Vec<String>,
}

/// Fetches a prefix into `directory`, which must be empty or not there; with `force`, what is there is replaced.
///
/// # Errors
/// In words; the directory is then as it was.
pub async fn pull(client: &Client, prefix: &Prefix, directory: &Path, force: bool) -> Result<Pulled, String> {
    let there = is_used(directory).map_err(|error| format!("{} cannot be used: {error}", directory.display()))?;
    if there && !force {
        return Err(format!("{} is not empty; give another directory, or --force to replace it", directory.display()));
    }
    let remote = Remote::read(client, prefix).await?;
    let (leased, entries): (Vec<_>, Vec<_>) = remote.entries.iter().partition(|(_, held)| held.lease != 0);
    if entries.is_empty() {
        return Err(format!("there is nothing under {prefix}"));
    }
    let staged = Staged::beside(directory)?;
    let mut bytes = 0;
    for (path, held) in &entries {
        let content = held.content(client, prefix, path).await?;
        bytes += content.len() as u64;
        staged.write(path, &content).map_err(|error| format!("{path} cannot be written: {error}"))?;
    }
    staged.put(directory, there).map_err(|error| format!("{} cannot be replaced: {error}", directory.display()))?;
    let leased = leased.into_iter().map(|(path, _)| path.clone()).collect();
    Ok(Pulled { revision: remote.revision, files: entries.len(), bytes, leased, strangers: remote.strangers })
}

fn is_used(directory: &Path) -> io::Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

// Where the files are written before they are put in place; removed where they are not.
struct Staged(PathBuf);

impl Staged {
    fn beside(directory: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{} cannot be made: {error}", directory.display());
        let absolute = std::path::absolute(directory).map_err(failed)?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(format!("{} cannot be replaced; give a directory below it", directory.display()));
        };
        fs::create_dir_all(parent).map_err(failed)?;
        let staged = parent.join(format!(".{}.pull-{}", name.to_string_lossy(), std::process::id()));
        fs::create_dir(&staged).map_err(failed)?;
        Ok(Self(staged))
    }

    fn write(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let place = self.0.join(path);
        fs::create_dir_all(place.parent().unwrap_or(&self.0))?;
        let mut file = File::options().write(true).create_new(true).open(place)?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn put(self, directory: &Path, used: bool) -> io::Result<()> {
        if used {
            // What was there is now ours, and goes with us.
            rustix::fs::renameat_with(CWD, &self.0, CWD, directory, RenameFlags::EXCHANGE)?;
        } else {
            fs::rename(&self.0, directory)?;
        }
        let parent = self.0.parent().unwrap_or(Path::new("/"));
        File::open(parent)?.sync_all()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Not there any more where it was put in place.
        drop(fs::remove_dir_all(&self.0));
    }
}
