//! What a head promises of its body's length where a plugin may change the body. The head waits for what the plugin makes of
//! the body's first piece, and promises what is known then; what comes later is held to it. Knows no guest.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use http::{HeaderMap, HeaderValue, header};

use super::stream::Direction;

/// What was seen of one plugin, on all workers.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Habits {
    request: Habit,
    response: Habit,
}

/// What it does to the length of bodies in one direction: one of the following. It is read for each message, and written
/// when it does so for the first time.
#[derive(Debug, Default)]
pub(super) struct Habit(AtomicU8);

/// It changes lengths.
const CHANGES: u8 = 1;
/// And did so when the head was gone.
const LATE: u8 = 2;

/// How far a body has come when its head is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// Bytes that the plugin was shown.
    pub(super) taken: u64,
    /// Bytes that it let go.
    pub(super) passed: u64,
    /// That was all.
    pub(super) over: bool,
}

impl Habits {
    /// Those of one direction.
    pub(super) const fn of(&self, direction: Direction) -> &Habit {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }
}

impl Habit {
    /// Makes a head that promises a length promise what is known of it; answers with what it promises then. What has come
    /// unchanged so far is taken for what will, unless the plugin once changed a length later.
    pub(super) fn settle(&self, fields: &mut HeaderMap, begun: Begun) -> Option<u64> {
        let declared = declared(fields)?;
        let kept = begun.passed == begun.taken;
        if !kept {
            self.note(CHANGES);
        }
        let promised = match begun.over {
            true => Some(begun.passed),
            false => Some(declared).filter(|_| kept && !self.was_late()),
        };
        match promised {
            Some(length) if length == declared => {}
            Some(length) => drop(fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
            None => drop(fields.remove(header::CONTENT_LENGTH)),
        }
        promised
    }

    /// Takes the length out of a head that tells of a body which does not come with it, where the plugin changes lengths
    /// (RFC 9110 section 8.6).
    pub(super) fn settle_alone(&self, fields: &mut HeaderMap) {
        if self.0.load(Relaxed) >= CHANGES {
            fields.remove(header::CONTENT_LENGTH);
        }
    }

    /// A length was changed when the head was gone.
    pub(super) fn is_late(&self) {
        self.note(LATE);
    }

    /// Whether that ever was.
    pub(super) fn was_late(&self) -> bool {
        self.0.load(Relaxed) >= LATE
    }

    fn note(&self, habit: u8) {
        if self.0.load(Relaxed) < habit {
            self.0.fetch_max(habit, Relaxed);
        }
    }
}

/// The length of a body that its head promises.
pub(super) fn declared(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // What is promised of 9 bytes.
    fn settled(habit: &Habit, taken: u64, passed: u64, over: bool) -> Option<u64> {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_LENGTH, 9.into());
        let promised = habit.settle(&mut fields, Begun { taken, passed, over });
        assert_eq!(declared(&fields), promised, "the head says so");
        promised
    }

    #[test]
    fn a_head_promises_what_is_known_of_its_body() {
        let habit = Habit::default();
        let cases = [
            ((3, 3, false), Some(9)),
            ((3, 4, false), None),
            ((3, 0, false), None),
            ((9, 9, true), Some(9)),
            ((9, 0, true), Some(0)),
            ((9, 12, true), Some(12)),
        ];
        for ((taken, passed, over), promised) in cases {
            assert_eq!(settled(&habit, taken, passed, over), promised, "{taken} {passed} {over}");
        }
        let nothing = habit.settle(&mut HeaderMap::new(), Begun { taken: 1, passed: 2, over: true });
        assert_eq!(nothing, None, "where nothing was promised, nothing is");
    }

    #[test]
    fn a_plugin_that_changed_a_length_late_is_trusted_with_none_but_that_of_a_whole_body() {
        let habit = Habit::default();
        habit.is_late();
        assert_eq!(settled(&habit, 3, 3, false), None);
        assert_eq!(settled(&habit, 9, 9, true), Some(9));
    }

    #[test]
    fn a_head_without_its_body_promises_a_length_until_the_plugin_was_seen_to_change_one() {
        let habit = Habit::default();
        let alone = |habit: &Habit| {
            let mut fields = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(9))]);
            habit.settle_alone(&mut fields);
            declared(&fields)
        };
        settled(&habit, 3, 3, false);
        assert_eq!(alone(&habit), Some(9));
        settled(&habit, 3, 4, false);
        assert_eq!(alone(&habit), None);
    }
}
