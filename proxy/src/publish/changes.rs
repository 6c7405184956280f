//! What a push would change: by path, with sizes and, for texts, the lines. Knows nothing of how it is done.

use serde::Serialize;
use similar::TextDiff;

/// The difference between a directory and a prefix, by path.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Changes {
    /// In the directory only.
    pub added: Vec<Change>,
    /// In both, with different contents.
    pub changed: Vec<Change>,
    /// In the prefix only.
    pub removed: Vec<Change>,
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Below the prefix.
    pub path: String,
    /// The size before, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_before: Option<u64>,
    /// The size after, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The lines that differ, as a unified diff; absent where it is not a short text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// Texts above this are not compared line by line.
pub(super) const DIFF_BYTES_MAX: u64 = 256 << 10;

/// Lines of a difference; what comes after is counted.
const DIFF_LINES_MAX: usize = 60;

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.added.len() + self.changed.len() + self.removed.len()
    }

    /// As people read it: one line a path, and the lines that differ.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let kinds = [("+", &self.added), ("~", &self.changed), ("-", &self.removed)];
        for (mark, change) in kinds.into_iter().flat_map(|(mark, changes)| changes.iter().map(move |one| (mark, one))) {
            let sizes = match (change.bytes_before, change.bytes) {
                (Some(before), Some(after)) if before != after => format!("{before} -> {after} bytes"),
                (before, after) => format!("{} bytes", after.or(before).unwrap_or(0)),
            };
            text.push_str(&format!("{mark} {} ({sizes})\n", change.path));
            for line in change.diff.iter().flat_map(|diff| diff.lines()) {
                text.push_str(&format!("    {line}\n"));
            }
        }
        text
    }
}

/// The lines in which two texts differ; `None` where either is no text, or too long to compare.
pub(super) fn diff(before: &[u8], after: &[u8]) -> Option<String> {
    if before.len().max(after.len()) as u64 > DIFF_BYTES_MAX || [before, after].iter().any(|text| text.contains(&0)) {
        return None;
    }
    let (before, after) = (std::str::from_utf8(before).ok()?, std::str::from_utf8(after).ok()?);
    let diff = TextDiff::from_lines(before, after);
    let text = diff.unified_diff().context_radius(2).missing_newline_hint(false).to_string();
    let lines: Vec<_> = text.lines().collect();
    let more = lines.len().saturating_sub(DIFF_LINES_MAX);
    let mut shown = lines[..lines.len() - more].join("\n");
    if more > 0 {
        shown.push_str(&format!("\n… {more} more lines"));
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_short_and_of_texts_only() {
        let shown = diff(b"a\nb\nc\n", b"a\nB\nc\n").unwrap();
        assert!(shown.contains("-b\n+B") && shown.contains(" a\n"), "{shown}");
        assert_eq!(diff(b"\0asm", b"a"), None);
        assert_eq!(diff(b"\xff", b"a"), None);
        let long: String = (0..1000).map(|line| format!("{line}\n")).collect();
        let shown = diff(b"", long.as_bytes()).unwrap();
        assert!(shown.lines().count() == DIFF_LINES_MAX + 1 && shown.contains("more lines"), "{shown}");
        assert_eq!(diff(b"", &vec![b'a'; 1 << 20]), None);
    }

    #[test]
    fn changes_read_as_a_list() {
        let change =
            |path: &str, before, after| Change { path: path.into(), bytes_before: before, bytes: after, diff: None };
        let changes = Changes {
            added: vec![change("a", None, Some(1))],
            changed: vec![Change { diff: Some("-x\n+y".into()), ..change("b", Some(1), Some(2)) }],
            removed: vec![change("c", Some(3), None)],
        };
        assert_eq!(changes.text(), "+ a (1 bytes)\n~ b (1 -> 2 bytes)\n    -x\n    +y\n- c (3 bytes)\n");
    }
}
