//! Which paths are documents, and which names never are. Knows paths only, no content.

/// What a path's name says about its content.
pub(crate) fn is_document(path: &str) -> bool {
    matches!(extension(path), Some("yaml" | "yml" | "json")) && !path.split('/').any(is_no_name)
}

/// Whether a path's name is that of a Wasm module, binary or text.
pub(crate) fn is_module(path: &str) -> bool {
    matches!(extension(path), Some("wasm" | "wat"))
}

/// Whether a segment of the path begins with a dot: swap files, lock links, `.git`, and the `..data` of a ConfigMap.
pub(crate) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|segment| segment.starts_with('.'))
}

fn is_no_name(segment: &str) -> bool {
    segment.is_empty() || segment.starts_with('.')
}

/// What editors leave beside a file while they save it. Hidden ones are [`is_hidden`].
pub(crate) fn is_dropping(name: &str) -> bool {
    name == "4913" || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'))
}

fn extension(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_by_name() {
        for path in ["gateway.yaml", "routes/users.yml", "a.b.json", "x.tmp.yaml"] {
            assert!(is_document(path), "{path}");
        }
        for path in [
            "x.yaml~",
            "#x.yaml#",
            ".#x.yaml",
            ".x.yaml.swp",
            "4913",
            ".git/a.yaml",
            "..data/a.yaml",
            "plugins/a.wasm",
            "yaml",
            ".yaml",
            "a//b.yaml",
            "/a.yaml",
            "./a.yaml",
            "x.YAML.bak",
            "x.yaml___jb_tmp___",
            "sedAb12X",
        ] {
            assert!(!is_document(path), "{path}");
        }
    }
}
