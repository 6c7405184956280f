//! What there is to read: lists a directory's documents and finds entries by name, inside the root only. Watches every
//! directory before it lists it, so that nothing falls between the two. Reads no content.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    options::WatchOptions,
    reading::Stat,
    resolve::{Resolved, is_missing, leaves_root, resolve},
    watch::{Aim, Watches},
};
use crate::source::{ReadError, naming};

/// Directories below each other.
const DEPTH_MAX: usize = 64;

/// One entry that may be read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: Arc<str>,
    pub(super) real: PathBuf,
    /// Every link on the way to it.
    pub(super) links: Vec<PathBuf>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Regular(Stat),
    Missing,
    Refused(ReadError),
}

/// A walk through a source's files.
pub(super) struct Walk<'a> {
    options: &'a WatchOptions,
    watches: &'a mut Watches,
    /// The real root.
    root: PathBuf,
    pub(super) found: Vec<Found>,
    bytes: u64,
    /// Directories that could not be listed, and why.
    pub(super) failures: Vec<(Arc<str>, Arc<str>)>,
    /// Directories that matter.
    pub(super) directories: HashSet<PathBuf>,
    /// Paths whose events matter, whatever they are called.
    pub(super) known: HashSet<PathBuf>,
    /// Links that were followed.
    pub(super) links: HashSet<PathBuf>,
    /// The real directories that are being listed, outermost first, and the links that led there.
    trail: Vec<PathBuf>,
    through: Vec<PathBuf>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(options: &'a WatchOptions, watches: &'a mut Watches, root: PathBuf) -> Self {
        Self {
            options,
            watches,
            root,
            found: Vec::new(),
            bytes: 0,
            failures: Vec::new(),
            directories: HashSet::new(),
            known: HashSet::new(),
            links: HashSet::new(),
            trail: Vec::new(),
            through: Vec::new(),
        }
    }

    /// Follows the path that the operator named, and makes the directory it leads to the root.
    pub(super) fn enter(&mut self, named: &Path) -> Result<Resolved, Arc<str>> {
        let explain = |error: io::Error| Arc::from(format!("cannot read {}: {error}", named.display()));
        let resolved = resolve(Path::new("/"), named).map_err(explain)?;
        self.follow(&resolved, Aim::Names);
        if resolved.missing.is_some() {
            return Err(format!("there is no directory {}", named.display()).into());
        }
        if !fs::metadata(&resolved.real).map_err(explain)?.is_dir() {
            return Err(format!("{} is not a directory", named.display()).into());
        }
        self.known.insert(resolved.real.clone());
        self.root.clone_from(&resolved.real);
        Ok(resolved)
    }

    /// All documents below the root, in order of their paths.
    pub(super) fn documents(&mut self) {
        let root = self.root.clone();
        self.list(&root, "");
    }

    /// The single file that the operator named: it may be a link to anywhere.
    pub(super) fn document(&mut self, named: &Path, key: &Arc<str>) {
        let found = self.locate(Path::new("/"), named, key, |_| None);
        self.found.push(found);
    }

    /// The entry that a document names, inside the root.
    pub(super) fn named(&mut self, key: &Arc<str>) {
        let root = self.root.clone();
        let outside = self.options.follow_outside;
        let found = if leaves_root(key) && !Path::new(&**key).starts_with(&root) && !outside {
            let why = format!("{key} leads out of {}, and only what is inside is read", root.display());
            let what = What::Refused(ReadError(why.into()));
            Found { key: Arc::clone(key), real: root.join(&**key), links: Vec::new(), what }
        } else {
            let inside = |real: &Path| (!outside && !real.starts_with(&root)).then(|| leads_out(key, real, &root));
            self.locate(&root, Path::new(&**key), key, inside)
        };
        self.found.push(found);
    }

    fn locate(
        &mut self,
        base: &Path,
        path: &Path,
        key: &Arc<str>,
        refuse: impl Fn(&Path) -> Option<ReadError>,
    ) -> Found {
        let (resolved, what) = match resolve(base, path) {
            Err(error) => (Resolved { real: base.join(path), ..Resolved::default() }, refused(key, &error)),
            Ok(resolved) => {
                self.follow(&resolved, Aim::Files);
                let what = refuse(&resolved.real).map_or_else(|| state(key, &resolved), What::Refused);
                (resolved, what)
            }
        };
        Found { key: Arc::clone(key), real: resolved.real, links: resolved.links, what }
    }

    fn list(&mut self, directory: &Path, prefix: &str) {
        if self.trail.len() >= DEPTH_MAX {
            return self.fail(prefix, &format!("more than {DEPTH_MAX} directories below each other"));
        }
        self.directory(directory, Aim::Files);
        let names = fs::read_dir(directory).and_then(|names| {
            let mut names = names.collect::<io::Result<Vec<_>>>()?;
            names.sort_unstable_by_key(fs::DirEntry::file_name);
            Ok(names)
        });
        match names {
            Ok(names) => {
                self.trail.push(directory.to_owned());
                names.iter().for_each(|name| self.entry(directory, prefix, name));
                self.trail.pop();
            }
            // A directory that goes while its parent is listed; the root must not.
            Err(error) if is_missing(&error) && !prefix.is_empty() => {}
            Err(error) => self.fail(prefix, &error),
        }
    }

    fn entry(&mut self, directory: &Path, prefix: &str, entry: &fs::DirEntry) {
        let name = entry.file_name();
        let readable = name.to_string_lossy();
        if naming::is_hidden(&readable) || self.is_full() {
            return;
        }
        let key: Arc<str> =
            if prefix.is_empty() { readable.as_ref().into() } else { format!("{prefix}/{readable}").into() };
        let is_document = naming::is_document(&key);
        let Ok(kind) = entry.file_type() else { return };
        if name.to_str().is_none() {
            if is_document || kind.is_dir() {
                self.fail(&key, &"its name is not UTF-8");
            }
        } else if kind.is_dir() {
            self.list(&directory.join(&name), &key);
        } else if kind.is_symlink() {
            self.linked(directory, &name, &key);
        } else if is_document {
            let what = match entry.metadata() {
                Ok(metadata) if metadata.is_file() => What::Regular(Stat::of(&metadata)),
                Ok(_) => refused(&key, &"it is not a regular file"),
                Err(error) if is_missing(&error) => What::Missing,
                Err(error) => refused(&key, &error),
            };
            self.push(Found { key, real: directory.join(&name), links: self.through.clone(), what });
        }
    }

    fn linked(&mut self, directory: &Path, name: &std::ffi::OsStr, key: &Arc<str>) {
        let is_document = naming::is_document(key);
        let resolved = match resolve(directory, Path::new(name)) {
            Ok(resolved) => resolved,
            Err(error) if is_document => return self.fail(key, &error),
            Err(_) => return,
        };
        let inside = self.options.follow_outside || resolved.real.starts_with(&self.root);
        let is_directory = fs::metadata(&resolved.real).is_ok_and(|metadata| metadata.is_dir());
        if !is_document && !is_directory {
            return;
        }
        self.follow(&resolved, if is_directory { Aim::Names } else { Aim::Files });
        let links = self.through.iter().chain(&resolved.links).cloned().collect();
        if !inside {
            let what = What::Refused(leads_out(key, &resolved.real, &self.root));
            self.push(Found { key: Arc::clone(key), real: resolved.real, links, what });
        } else if is_directory {
            if self.trail.iter().any(|listed| listed.starts_with(&resolved.real)) {
                return self.fail(key, &"it is a link to a directory that holds it");
            }
            let through = std::mem::replace(&mut self.through, links);
            self.list(&resolved.real, key);
            self.through = through;
        } else {
            let what = match state(key, &resolved) {
                What::Missing => dangling(key, &resolved.real),
                what => what,
            };
            self.push(Found { key: Arc::clone(key), real: resolved.real, links, what });
        }
    }

    /// Watches what a resolved path depends on, and what it leads to as `aim` says.
    fn follow(&mut self, resolved: &Resolved, aim: Aim) {
        for link in &resolved.links {
            self.know(link, Aim::Names);
            self.links.insert(link.clone());
        }
        self.know(resolved.missing.as_ref().unwrap_or(&resolved.real), aim);
        self.known.insert(resolved.real.clone());
    }

    fn know(&mut self, path: &Path, aim: Aim) {
        self.known.insert(path.to_owned());
        self.watches.know(path);
        if let Some(parent) = path.parent() {
            self.directory(parent, aim);
        }
    }

    fn directory(&mut self, directory: &Path, aim: Aim) {
        if let Ok(metadata) = fs::metadata(directory)
            && metadata.is_dir()
        {
            self.directories.insert(directory.to_owned());
            self.watches.arm(directory, &metadata, aim);
        }
    }

    fn fail(&mut self, key: &str, why: &dyn std::fmt::Display) {
        let what = if key.is_empty() { self.root.display().to_string() } else { key.to_owned() };
        self.failures.push((key.into(), format!("cannot read {what}: {why}").into()));
    }

    fn is_full(&mut self) -> bool {
        let WatchOptions { documents_max, directory_bytes_max, .. } = *self.options;
        let why = if self.found.len() >= documents_max {
            format!("it holds more than {documents_max} documents")
        } else if self.bytes > directory_bytes_max {
            format!("its documents have more than {directory_bytes_max} bytes together")
        } else {
            return false;
        };
        if self.failures.iter().all(|(key, _)| !key.is_empty()) {
            self.fail("", &why);
        }
        true
    }

    fn push(&mut self, found: Found) {
        if let What::Regular(stat) = &found.what {
            self.bytes += stat.bytes();
        }
        self.found.push(found);
    }
}

/// What stands at a path that has been followed to its end.
fn state(key: &str, resolved: &Resolved) -> What {
    if resolved.missing.is_some() {
        return What::Missing;
    }
    match fs::symlink_metadata(&resolved.real) {
        Ok(metadata) if metadata.is_file() => What::Regular(Stat::of(&metadata)),
        Ok(_) => refused(key, &"it is not a regular file"),
        Err(error) if is_missing(&error) => What::Missing,
        Err(error) => refused(key, &error),
    }
}

fn refused(key: &str, why: &dyn std::fmt::Display) -> What {
    What::Refused(ReadError(format!("cannot read {key}: {why}").into()))
}

/// A document that is a link to nothing.
pub(super) fn dangling(key: &str, real: &Path) -> What {
    refused(key, &format!("it is a link to {}, which is missing", real.display()))
}

fn leads_out(key: &str, real: &Path, root: &Path) -> ReadError {
    let (real, root) = (real.display(), root.display());
    ReadError(format!("{key} is a link that leads out of {root}, to {real}, and only what is inside is read").into())
}
