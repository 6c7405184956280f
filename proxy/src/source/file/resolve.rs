//! Paths: following symbolic links by hand, so that every link on the way is known and can be watched, and keeping
//! inside the root. Reads links and metadata only.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// As the kernel's `MAXSYMLINKS`.
const LINKS_MAX: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Without links; if something is missing, where it would be.
    pub(super) real: PathBuf,
    /// The links that were followed, each by its real directory and its name.
    pub(super) links: Vec<PathBuf>,
    /// The first part that does not exist.
    pub(super) missing: Option<PathBuf>,
}

/// Follows `path` from `base`, which must be a real directory.
///
/// # Errors
/// A part cannot be looked at, or there are more than 40 links. What is missing is no error.
pub(super) fn resolve(base: &Path, path: &Path) -> io::Result<Resolved> {
    let mut out = Resolved { real: base.to_owned(), ..Resolved::default() };
    let mut rest = parts(path);
    while let Some(part) = rest.pop() {
        match part {
            Part::Root => out.real = PathBuf::from("/"),
            Part::Up => {
                out.real.pop();
            }
            Part::Down(name) => out.step(&name, &mut rest)?,
        }
    }
    Ok(out)
}

/// Why a path that an operator wrote may not be used below a root: it climbs out, or is absolute.
pub(super) fn leaves_root(path: &str) -> bool {
    let mut depth = 0_i32;
    Path::new(path).components().any(|component| {
        depth += match component {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            Component::CurDir => 0,
            Component::RootDir | Component::Prefix(_) => return true,
        };
        depth < 0
    })
}

enum Part {
    Root,
    Up,
    Down(std::ffi::OsString),
}

/// Last first, so that the next part is popped.
fn parts(path: &Path) -> Vec<Part> {
    let part = |component| match component {
        Component::Normal(name) => Some(Part::Down(name.to_owned())),
        Component::ParentDir => Some(Part::Up),
        Component::RootDir | Component::Prefix(_) => Some(Part::Root),
        Component::CurDir => None,
    };
    path.components().rev().filter_map(part).collect()
}

impl Resolved {
    fn step(&mut self, name: &std::ffi::OsStr, rest: &mut Vec<Part>) -> io::Result<()> {
        let next = self.real.join(name);
        if self.missing.is_some() {
            self.real = next;
            return Ok(());
        }
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() => {
                rest.extend(parts(&fs::read_link(&next)?));
                self.links.push(next);
                if self.links.len() > LINKS_MAX {
                    return Err(io::Error::other("too many symbolic links"));
                }
            }
            Ok(_) => self.real = next,
            Err(error) if is_missing(&error) => {
                self.missing = Some(next.clone());
                self.real = next;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether the error says that there is no such file, rather than that it could not be looked at.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir(base.join("..2026")).unwrap();
        fs::write(base.join("..2026/a.yaml"), "a").unwrap();
        symlink("..2026", base.join("..data")).unwrap();
        symlink("..data/a.yaml", base.join("a.yaml")).unwrap();
        let found = resolve(&base, Path::new("a.yaml")).unwrap();
        assert_eq!(found.real, base.join("..2026/a.yaml"));
        assert_eq!(found.links, [base.join("a.yaml"), base.join("..data")]);
        assert_eq!(found.missing, None);
    }

    #[test]
    fn what_is_missing_has_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let found = resolve(&base, Path::new("plugins/x/a.wasm")).unwrap();
        assert_eq!(found.real, base.join("plugins/x/a.wasm"));
        assert_eq!(found.missing, Some(base.join("plugins")));
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(resolve(&dir.path().canonicalize().unwrap(), Path::new("a")).is_err());
    }

    #[test]
    fn paths_that_climb_out_are_told() {
        for path in ["..", "../x", "a/../../x", "/etc/passwd", "a/../../.."] {
            assert!(leaves_root(path), "{path}");
        }
        for path in ["a", "./a", "a/../b", "..data/a", "a/b/../../c"] {
            assert!(!leaves_root(path), "{path}");
        }
    }
}
