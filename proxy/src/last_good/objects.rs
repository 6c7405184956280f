//! Contents by their hash, one file each. What a file says is verified before it is trusted. Knows no paths.

use std::{collections::HashSet, io};

use crate::{identity::Identity, state_dir::Directory};

/// The contents in a directory.
#[derive(Debug)]
pub(super) struct Objects {
    directory: Directory,
    /// Written or verified by this process.
    sound: HashSet<Identity>,
}

/// Why a content cannot be used.
#[derive(Debug)]
pub(super) enum Unsound {
    Missing,
    Altered,
    Unreadable(io::Error),
}

/// So many new files are made durable one by one; more with one call for the whole file system, which waits for others'
/// files as well.
const SYNCED_SINGLY_MAX: usize = 64;

impl Objects {
    pub(super) fn open(directory: &Directory) -> io::Result<Self> {
        let directory = directory.within("objects").map_err(io::Error::other)?;
        Ok(Self { directory, sound: HashSet::new() })
    }

    /// A content of that size.
    pub(super) fn read(&self, identity: Identity, bytes: u64) -> Result<Vec<u8>, Unsound> {
        let content = self.directory.read(&identity.to_string(), bytes).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unsound::Missing,
            _ => Unsound::Unreadable(error),
        })?;
        if Identity::of_bytes(&content) == identity { Ok(content) } else { Err(Unsound::Altered) }
    }

    /// Makes sure that all of these are there, and whole; returns when they are on the disk.
    pub(super) fn store<'a>(&mut self, contents: impl Iterator<Item = (Identity, &'a [u8])>) -> io::Result<()> {
        let mut new: Vec<_> = contents.filter(|(identity, _)| !self.sound.contains(identity)).collect();
        new.retain(|(identity, content)| {
            let there = self.read(*identity, content.len() as u64).is_ok();
            if there {
                self.sound.insert(*identity);
            }
            !there
        });
        let singly = new.len() <= SYNCED_SINGLY_MAX;
        for (identity, content) in &new {
            self.directory.write(&identity.to_string(), &[content], singly)?;
        }
        match (new.is_empty(), singly) {
            (true, _) => {}
            (false, true) => self.directory.sync()?,
            (false, false) => self.directory.sync_everything()?,
        }
        self.sound.extend(new.into_iter().map(|(identity, _)| identity));
        Ok(())
    }

    /// Another process may have removed what was there.
    pub(super) fn distrust(&mut self) {
        self.sound.clear();
    }

    /// Removes one.
    pub(super) fn remove(&mut self, identity: Identity) -> io::Result<()> {
        self.sound.remove(&identity);
        self.directory.remove(&identity.to_string())
    }

    /// Removes all but these.
    pub(super) fn retain(&mut self, kept: &HashSet<Identity>) -> io::Result<()> {
        for name in self.directory.names()? {
            if !Identity::parse(&name).is_some_and(|identity| kept.contains(&identity)) {
                self.directory.remove(&name)?;
            }
        }
        self.sound.retain(|identity| kept.contains(identity));
        Ok(())
    }
}
