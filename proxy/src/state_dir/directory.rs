//! A directory that is this user's alone, and files in it that are written whole or not at all: what is in one is executed
//! or served. Knows no format.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Whoever can write here decides what is run: owner and mode are checked when it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    use_of_it: &'static str,
}

impl Directory {
    /// Opens a directory, making it if it is not there. `use_of_it` says in words what becomes of what is in it.
    ///
    /// # Errors
    /// In words, where it cannot be made, or is a link, another user's, or open to others.
    pub(crate) fn open(path: &Path, use_of_it: &'static str) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{} cannot be used: {error}", path.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        if !metadata.is_dir() || !is_ours(&metadata) || metadata.mode() & 0o077 != 0 {
            return Err(format!(
                "{} must be a directory of this user alone (chown, chmod 700): what is in it is {use_of_it}",
                path.display()
            ));
        }
        Ok(Self { path: path.into(), use_of_it })
    }

    /// A directory within.
    pub(crate) fn within(&self, name: &str) -> Result<Self, String> {
        Self::open(&self.path.join(name), self.use_of_it)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    /// A file's content. Of another's file, a link, or one over `bytes_max`: an error.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(self.path.join(name))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || !is_ours(&metadata) || metadata.mode() & 0o022 != 0 {
            return Err(io::Error::other(format!("{name} is not a file that only this user can write")));
        }
        if metadata.len() > bytes_max {
            return Err(io::Error::other(format!("{name} has {} bytes, and the limit is {bytes_max}", metadata.len())));
        }
        let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
        file.take(bytes_max + 1).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Puts a file in its place in one step; `pieces` are its content, one after the other. With `durable`, it is on the
    /// disk before it is in its place.
    pub(crate) fn write(&self, name: &str, pieces: &[&[u8]], durable: bool) -> io::Result<()> {
        let part = self.path.join(format!("{name}.{}.part", std::process::id()));
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        for piece in pieces {
            file.write_all(piece)?;
        }
        if durable {
            file.sync_all()?;
        }
        fs::rename(part, self.path.join(name))
    }

    /// Removes a file; one that is gone is removed.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Returns when the names in it are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Returns when everything that was written to its file system is on the disk: one call for many files.
    pub(crate) fn sync_everything(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(File::open(&self.path)?)?;
        self.sync()
    }

    /// Waits until no other process writes here; until the file is dropped, none does.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let path = self.path.join("lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        Ok(file)
    }
}

/// Whether it belongs to this user.
pub(super) fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}
