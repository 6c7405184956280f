//! The tables of HPACK (RFC 7541 section 2.3) as far as is needed to know which indices there are: the length of each name,
//! and how large each entry of the dynamic table is.

use std::collections::VecDeque;

/// What is known of a name, or of any string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// Its length, not coded.
    pub(super) bytes: usize,
    /// Whether it begins with a colon.
    pub(super) is_pseudo: bool,
}

impl Name {
    /// A piece of it, not coded.
    pub(super) fn extend(&mut self, piece: &[u8]) {
        self.is_pseudo |= self.bytes == 0 && piece.first() == Some(&b':');
        self.bytes += piece.len();
    }
}

/// Both tables.
#[derive(Debug)]
pub(super) struct Table {
    // The newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

// No entry is larger than the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name_bytes: u16,
    bytes: u16,
    is_pseudo: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES_MAX }
    }
}

impl Table {
    /// The name at `index`, if there is one.
    pub(super) fn name(&self, index: usize) -> Option<Name> {
        let index = index.checked_sub(1)?;
        if let Some(bytes) = STATIC_NAME_BYTES.get(index) {
            return Some(Name { bytes: usize::from(*bytes), is_pseudo: index < STATIC_PSEUDO_COUNT });
        }
        let entry = self.entries.get(index - STATIC_NAME_BYTES.len())?;
        Some(Name { bytes: usize::from(entry.name_bytes), is_pseudo: entry.is_pseudo })
    }

    /// An entry is added; the oldest ones make room for it, and all of them for one that does not fit at all.
    pub(super) fn insert(&mut self, name: Name, value_bytes: usize) {
        let bytes = name.bytes + value_bytes + ENTRY_BYTES;
        self.shrink(self.bytes_max.saturating_sub(bytes));
        if bytes > self.bytes_max {
            return;
        }
        let (name_bytes, is_pseudo) = (name.bytes as u16, name.is_pseudo);
        self.entries.push_front(Entry { name_bytes, bytes: bytes as u16, is_pseudo });
        self.bytes += bytes;
    }

    /// The client wants a table of this size; none where that is more than it was offered.
    pub(super) fn resize(&mut self, bytes_max: usize) -> Option<()> {
        if bytes_max > TABLE_BYTES_MAX {
            return None;
        }
        self.bytes_max = bytes_max;
        self.shrink(bytes_max);
        Some(())
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.bytes -= usize::from(oldest.bytes);
        }
    }
}

// SETTINGS_HEADER_TABLE_SIZE where nothing else is said, and the gateway says nothing else.
const TABLE_BYTES_MAX: usize = 4096;
// What an entry counts beside its texts (RFC 7541 section 4.1).
const ENTRY_BYTES: usize = 32;
// RFC 7541 appendix A: `:authority`, two of `:method`, `:path` and `:scheme` each, seven of `:status`.
const STATIC_PSEUDO_COUNT: usize = 14;
const STATIC_NAME_BYTES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: usize) -> Name {
        Name { bytes, is_pseudo: false }
    }

    #[test]
    fn indices_end_where_the_oldest_entry_made_room() {
        let mut table = Table::default();
        assert_eq!(table.name(0), None);
        assert_eq!(table.name(4), Some(Name { bytes: 5, is_pseudo: true }));
        assert_eq!(table.name(61), Some(name(16)));
        assert_eq!(table.name(62), None);
        for length in 0..100 {
            table.insert(name(length), 1000 - ENTRY_BYTES - length);
        }
        assert_eq!(table.name(62), Some(name(99)));
        assert_eq!(table.name(65), Some(name(96)));
        assert_eq!(table.name(66), None);
        table.resize(2000).unwrap();
        assert_eq!((table.name(63), table.name(64)), (Some(name(98)), None));
        table.insert(name(5000), 0);
        assert_eq!(table.name(62), None);
        assert_eq!(table.resize(4097), None);
    }
}
