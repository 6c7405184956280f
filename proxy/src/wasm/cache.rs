//! Compiled modules on disk, so that a cold start compiles nothing. What is in there is executable: the directory must
//! be ours alone, and every file says its own hash. A file that is not as it should be is as good as none.

#![allow(unsafe_code, reason = "precompiled code is trusted: the directory's owner and mode and the hash are checked")]

use std::{fs, io, path::Path};

use wasmtime::{Engine, Module, Precompiled, component::Component};

use super::{
    LoadError,
    compile::Code,
    provided::{TABLE_WIT, WIT},
};
use crate::{identity::Identity, state_dir::Directory};

/// A directory of compiled modules.
#[derive(Debug)]
pub(super) struct Cache {
    directory: Directory,
    /// Changes with the engine's version and settings, with the processor, and with what makes components of modules.
    compatibility: String,
}

/// Modules in the directory; over it, those that were written first are removed.
const FILES_MAX: usize = 256;
/// Bytes of all of them together; the same.
const BYTES_MAX: u64 = 2 << 30;
/// Of one file; more than any module that is taken compiles to.
const COMPILED_BYTES_MAX: u64 = 4 << 30;

impl Cache {
    /// Opens a directory, making it if it is not there.
    pub(super) fn open(directory: &Path, engine: &Engine) -> Result<Self, LoadError> {
        let directory = Directory::open(directory, "executed").map_err(LoadError::Engine)?;
        Ok(Self { directory, compatibility: compatibility(engine) })
    }

    /// The compiled module, if it is there and whole.
    pub(super) fn load(&self, engine: &Engine, identity: Identity) -> Option<Code> {
        let file = self.directory.read(&self.name(identity), COMPILED_BYTES_MAX).ok()?;
        let (hash, code) = file.split_at_checked(32)?;
        if Identity::of_bytes(code).as_bytes() != hash {
            tracing::warn!(module = %identity, "the compiled module on disk is damaged, and is compiled anew");
            return None;
        }
        // SAFETY: `code` is what `Code::serialize` made: it was written by this user into a directory that nobody
        // else can write to, and its hash is right. The engine checks that it is for its own version and settings.
        let loaded = unsafe {
            match Engine::detect_precompiled(code)? {
                Precompiled::Component => Component::deserialize(engine, code).map(Code::Component),
                Precompiled::Module => Module::deserialize(engine, code).map(Code::Core),
            }
        };
        loaded.inspect_err(|error| tracing::warn!(%error, "the compiled module on disk does not load")).ok()
    }

    /// Keeps a compiled module. Failing costs time at the next start, and nothing else.
    pub(super) fn store(&self, identity: Identity, code: &Code) {
        let stored = code.serialize().map_err(io::Error::other).and_then(|code| self.write(identity, &code));
        if let Err(error) = stored {
            tracing::warn!(%error, directory = %self.directory.path().display(), "a compiled module could not be kept");
        }
    }

    fn write(&self, identity: Identity, code: &[u8]) -> io::Result<()> {
        self.make_room(code.len() as u64)?;
        self.directory.write(&self.name(identity), &[Identity::of_bytes(code).as_bytes(), code], true)
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.directory.path())? {
            let entry = entry?;
            let about = entry.metadata()?;
            files.push((about.modified()?, about.len(), entry.path()));
        }
        files.sort();
        let surplus = surplus(&files.iter().map(|(_, bytes, _)| *bytes).collect::<Vec<_>>(), bytes);
        files.iter().take(surplus).try_for_each(|(_, _, path)| fs::remove_file(path))
    }

    fn name(&self, identity: Identity) -> String {
        format!("{identity}-{}.cwasm", self.compatibility)
    }
}

// How many of the files, of these lengths and the oldest first, go before one of `bytes` comes.
fn surplus(files: &[u64], bytes: u64) -> usize {
    let too_many = (files.len() + 1).saturating_sub(FILES_MAX);
    let mut sum = files.iter().fold(bytes, |sum, file| sum.saturating_add(*file));
    let too_large = files.iter().take_while(|file| {
        let over = sum > BYTES_MAX;
        sum = sum.saturating_sub(**file);
        over
    });
    too_large.count().max(too_many)
}

fn compatibility(engine: &Engine) -> String {
    let mut hashed = Hashed::default();
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hashed);
    // A module in here is not looked at again: whatever decides what is taken, and how, is part of its name.
    for decides in [
        env!("CARGO_PKG_VERSION"),
        WIT,
        TABLE_WIT,
        include_str!("bulk.rs"),
        include_str!("bulk.wat"),
        include_str!("load.rs"),
        include_str!("surface.rs"),
        include_str!("proxy_wasm/provided.rs"),
        include_str!("http_wasm/provided.rs"),
        include_str!("preview1/provided.rs"),
        include_str!("wasi_http/provided.rs"),
    ] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_by_number_and_by_length() {
        assert_eq!(surplus(&[1; FILES_MAX - 1], 1), 0);
        assert_eq!(surplus(&[1; FILES_MAX + 4], 1), 5);
        assert_eq!(surplus(&[BYTES_MAX / 2; 2], 1), 1);
        assert_eq!(surplus(&[1, BYTES_MAX, 1], 1), 2);
        assert_eq!(surplus(&[1, 1], BYTES_MAX + 1), 2, "the newest is kept, whatever its length");
    }
}
