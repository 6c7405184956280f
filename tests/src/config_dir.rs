//! A configuration on disk, as an operator's editor would leave it. Knows no YAML.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A directory of documents and modules, removed at the end. `{name}` in a document stands for what
/// [`ConfigDir::with`] said of it.
#[derive(Debug)]
pub struct ConfigDir {
    root: TempDir,
    names: Vec<(String, String)>,
}

impl ConfigDir {
    /// An empty directory.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        for folder in ["config", "staging"] {
            fs::create_dir(root.path().join(folder)).expect("a fresh directory takes a folder");
        }
        Self { root, names: Vec::new() }
    }

    /// From now on, `{name}` in what is written stands for `value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.name(name, value);
        self
    }

    /// From now on, `{name}` in what is written stands for `value`.
    pub fn name(&mut self, name: &str, value: impl ToString) {
        let mark = format!("{{{name}}}");
        self.names.retain(|(known, _)| *known != mark);
        self.names.push((mark, value.to_string()));
    }

    /// The directory that the gateway reads.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("config")
    }

    /// A place beside it, for sockets and logs.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a document in one step: beside the directory, then renamed onto its place.
    pub fn write(&self, path: &str, text: &str) {
        self.write_bytes(path, self.filled(text).as_bytes());
    }

    /// [`ConfigDir::write`] for what is not text: modules.
    pub fn write_bytes(&self, path: &str, bytes: &[u8]) {
        let staged = self.root.path().join("staging/file");
        fs::write(&staged, bytes).expect("a file can be written beside the configuration");
        fs::rename(staged, self.place(path)).expect("a rename within a directory succeeds");
    }

    /// Writes a document in place: truncated, then filled.
    pub fn write_in_place(&self, path: &str, text: &str) {
        fs::write(self.place(path), self.filled(text)).expect("a file can be written");
    }

    /// Replaces the one occurrence of `from` in a document.
    ///
    /// # Panics
    /// When there is not exactly one.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.place(path)).expect("the document is there");
        let (from, to) = (self.filled(from), self.filled(to));
        assert_eq!(text.matches(&from).count(), 1, "`{from}` stands once in {path}:\n{text}");
        self.write(path, &text.replacen(&from, &to, 1));
    }

    /// Deletes a file.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.place(path)).expect("the file is there");
    }

    fn filled(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value))
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.path().join(path);
        fs::create_dir_all(place.parent().unwrap_or(Path::new("/"))).expect("a folder can be made");
        place
    }
}

impl Default for ConfigDir {
    fn default() -> Self {
        Self::new()
    }
}
