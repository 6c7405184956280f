//! The state directory: what a process keeps on disk from one run to the next. Which one it is, and that nobody else can
//! write to it. Knows nothing of what is kept.

mod directory;

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

pub(crate) use directory::Directory;

/// A directory that only this user writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// Which directory it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// None.
    Off,
    /// This one, as somebody said: a process that cannot use it does not start.
    Given(PathBuf),
    /// This one, by custom: a process that cannot use it goes without.
    Customary(PathBuf),
}

impl Choice {
    /// What `flag` says (`off` is none), or else the environment: `STATE_DIRECTORY` as systemd sets it, then the user's
    /// own by the XDG Base Directory Specification. `quickstart` keeps nothing unless told to.
    pub fn of(flag: Option<PathBuf>, quickstart: bool, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(flag) = flag {
            return if flag.as_os_str() == "off" { Self::Off } else { Self::Given(flag) };
        }
        if quickstart {
            return Self::Off;
        }
        // systemd separates several by colons.
        if let Some(directory) = set("STATE_DIRECTORY").and_then(|all| all.split(':').next().map(PathBuf::from)) {
            return Self::Given(directory);
        }
        let own = set("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let own = own.or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/state")));
        own.map_or(Self::Off, |own| Self::Customary(own.join("tidegate")))
    }

    /// Opens it, making it if it is not there.
    ///
    /// # Errors
    /// In words, where it was given and cannot be used.
    pub fn open(self) -> Result<Option<StateDir>, String> {
        match self {
            Self::Off => Ok(None),
            Self::Given(path) => StateDir::open(&path).map(Some),
            Self::Customary(path) => Ok(StateDir::open(&path)
                .inspect_err(|why| {
                    tracing::warn!("nothing is kept on disk: {why}; --state-dir names another, or `off`")
                })
                .ok()),
        }
    }
}

impl StateDir {
    /// Opens a directory, making it (mode 0700) if it is not there.
    ///
    /// # Errors
    /// In words, where it cannot be made, or is not this user's, or others may write to it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the state directory {} cannot be used: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let metadata = fs::metadata(path).map_err(failed)?;
        let ours = metadata.is_dir() && directory::is_ours(&metadata);
        if !ours || metadata.mode() & 0o022 != 0 {
            return Err(format!(
                "the state directory {} must be this user's, and nobody else's to write (chown, chmod go-w): what is in \
                 it is executed and served",
                path.display()
            ));
        }
        let absolute = std::path::absolute(path).map_err(failed)?;
        // Found out now, before anything listens: a directory that can only be read is none.
        for kept in [absolute.join("modules"), absolute.join("fetched"), absolute.join("last-good")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&kept).map_err(failed)?;
        }
        Ok(Self(absolute))
    }

    /// Where compiled modules are.
    pub fn modules(&self) -> PathBuf {
        self.0.join("modules")
    }

    /// Where modules that were fetched are.
    pub fn fetched(&self) -> PathBuf {
        self.0.join("fetched")
    }

    /// Where versions of plugins are that may take another's place.
    pub fn fallbacks(&self) -> PathBuf {
        self.0.join("fallbacks")
    }

    /// Where the last good tree is.
    pub fn last_good(&self) -> PathBuf {
        self.0.join("last-good")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment() {
        let given = |path: &str| Choice::Given(path.into());
        let customary = |path: &str| Choice::Customary(path.into());
        let own = [("HOME", "/home-of-a"), ("XDG_STATE_HOME", "/xdg"), ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")];
        for (flag, quickstart, environment, choice) in [
            (Some("off"), false, &own[..], Choice::Off),
            (Some("here"), true, &own[..], given("here")),
            (None, true, &own[..], Choice::Off),
            (None, false, &own[..], given("/var/lib/a")),
            (None, false, &own[..2], customary("/xdg/tidegate")),
            (None, false, &own[..1], customary("/home-of-a/.local/state/tidegate")),
            (None, false, &[("XDG_STATE_HOME", "relative")], Choice::Off),
            (None, false, &[("STATE_DIRECTORY", "")], Choice::Off),
        ] {
            let variable = |name: &str| {
                let found = environment.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.to_string())
            };
            assert_eq!(Choice::of(flag.map(PathBuf::from), quickstart, &variable), choice, "{flag:?} {environment:?}");
        }
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused_where_it_was_given() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let opened = Choice::Given(path.clone()).open().unwrap().unwrap();
        assert!(opened.modules().is_dir() && opened.last_good().is_dir());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        // As systemd makes it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(StateDir::open(&path).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Choice::Given(path.clone()).open().unwrap_err().contains("chmod go-w"));
        assert_eq!(Choice::Customary(path).open(), Ok(None));
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Choice::Given(file).open().is_err());
    }
}
