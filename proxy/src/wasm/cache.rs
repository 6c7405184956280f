//! Compiled modules on disk, so that a cold start compiles nothing. What is in there is executable: the directory must
//! be ours alone, and every file says its own hash. A file that is not as it should be is as good as none.

#![allow(unsafe_code, reason = "precompiled code is trusted: the directory's owner and mode and the hash are checked")]

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use wasmtime::{Engine, component::Component};

use super::{
    LoadError,
    provided::{TABLE_WIT, WIT},
};
use crate::identity::Identity;

/// A directory of compiled modules.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    /// Changes with the engine's version and settings, with the processor, and with what makes components of modules.
    compatibility: String,
}

/// Modules in the directory; over it, those that were written first are removed.
const FILES_MAX: usize = 256;

impl Cache {
    /// Opens a directory, making it if it is not there.
    pub(super) fn open(directory: &Path, engine: &Engine) -> Result<Self, LoadError> {
        let failed = |error: io::Error| LoadError::Engine(format!("{}: {error}", directory.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let metadata = fs::symlink_metadata(directory).map_err(failed)?;
        let ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
        if !ours || metadata.mode() & 0o077 != 0 {
            let what = "must be a directory of this user alone (chmod 700): what is in it is executed";
            return Err(LoadError::Engine(format!("{} {what}", directory.display())));
        }
        Ok(Self { directory: directory.into(), compatibility: compatibility(engine) })
    }

    /// The compiled module, if it is there and whole.
    pub(super) fn load(&self, engine: &Engine, identity: Identity) -> Option<Component> {
        let file = fs::read(self.path(identity)).ok()?;
        let (hash, code) = file.split_at_checked(32)?;
        if Identity::of_bytes(code).as_bytes() != hash {
            tracing::warn!(module = %identity, "the compiled module on disk is damaged, and is compiled anew");
            return None;
        }
        // SAFETY: `code` is what `Component::serialize` made: it was written by this user into a directory that nobody
        // else can write to, and its hash is right. The engine checks that it is for its own version and settings.
        let loaded = unsafe { Component::deserialize(engine, code) };
        loaded.inspect_err(|error| tracing::warn!(%error, "the compiled module on disk does not load")).ok()
    }

    /// Keeps a compiled module. Failing costs time at the next start, and nothing else.
    pub(super) fn store(&self, identity: Identity, component: &Component) {
        let stored = component.serialize().map_err(io::Error::other).and_then(|code| self.write(identity, &code));
        if let Err(error) = stored {
            tracing::warn!(%error, directory = %self.directory.display(), "a compiled module could not be kept");
        }
    }

    fn write(&self, identity: Identity, code: &[u8]) -> io::Result<()> {
        self.make_room()?;
        let path = self.path(identity);
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        io::Write::write_all(&mut file, Identity::of_bytes(code).as_bytes())?;
        io::Write::write_all(&mut file, code)?;
        file.sync_all()?;
        fs::rename(part, path)
    }

    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
        files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }

    fn path(&self, identity: Identity) -> PathBuf {
        self.directory.join(format!("{identity}-{}.cwasm", self.compatibility))
    }
}

fn compatibility(engine: &Engine) -> String {
    let mut hashed = Hashed::default();
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hashed);
    // A module in here is not looked at again: whatever decides what is taken, and how, is part of its name.
    for decides in [env!("CARGO_PKG_VERSION"), WIT, TABLE_WIT, include_str!("load.rs"), include_str!("surface.rs")] {
        hashed.0.extend_from_slice(Identity::of_bytes(decides.as_bytes()).as_bytes());
    }
    format!("{:.16}", Identity::of_bytes(&hashed.0))
}

/// What is hashed, for a hash that is the same in the next process.
#[derive(Default)]
struct Hashed(Vec<u8>);

impl std::hash::Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
