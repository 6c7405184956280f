//! When is a file whole? That it parses proves nothing: a YAML cut at a line end parses, and truncation leaves an empty
//! file. Whole is what was closed after writing or renamed into place, and what two readings find equal. Until then the
//! last whole content stands. Pure: it is given readings and times.

use std::time::{Duration, Instant, SystemTime};

use super::reading::{Observed, Stat};
use crate::source::{Entry, ReadError};

/// What is known of one file over time.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    /// What stands: the last whole content, or why there is none.
    settled: Option<Result<Entry, ReadError>>,
    /// The file's state when that content was read.
    stat: Option<Stat>,
    /// Whether a change right after that reading could have left the same state.
    coarse: bool,
    /// A reading that has to be confirmed.
    candidate: Option<Candidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    observed: Observed,
    /// When it was first made.
    since: Instant,
    /// An event said that the writer was through.
    whole: bool,
}

/// The time of a look, and how far apart two readings must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
    pub(super) rest: Duration,
    /// The same for an empty file of which no event says that its writer is through.
    pub(super) rest_empty: Duration,
    /// Whether the file system's clock is this machine's.
    pub(super) trusted: bool,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What stood before still stands.
    Stands,
    /// Something else stands now.
    Settled,
    /// The file is gone for good.
    Gone,
    /// Look again at that time.
    Hold(Instant),
}

/// A timestamp may be this coarse (FAT, some network file systems).
const COARSE: Duration = Duration::from_secs(2);

/// A thread may be stopped between its write and the event of it.
const FRESH: Duration = Duration::from_millis(5);
/// How much longer an empty file must stand, though an event says that its writer is through.
const EMPTY_RESTS: u32 = 10;

impl Settling {
    pub(super) const fn settled(&self) -> Option<&Result<Entry, ReadError>> {
        self.settled.as_ref()
    }

    /// Why the file cannot be read, as far as the last look can tell.
    pub(super) fn pending(&self) -> Option<ReadError> {
        match &self.candidate.as_ref()?.observed {
            Observed::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Whether a file in this state need not be read again.
    pub(super) fn is_as_read(&self, stat: &Stat) -> bool {
        !self.coarse && self.stat.as_ref() == Some(stat)
    }

    /// What stood before still stands.
    pub(super) fn confirm(&mut self) {
        self.candidate = None;
    }

    /// Takes a word for an entry that has no content yet.
    pub(super) fn refuse(&mut self, why: ReadError) {
        self.settled = Some(Err(why));
        self.stat = None;
    }

    /// Weighs a reading. `whole`: an event or an atomic replacement says that the content is complete.
    pub(super) fn weigh(&mut self, observed: Observed, whole: bool, clock: &Clock) -> Verdict {
        match &observed {
            Observed::Torn => return self.hold(observed, false, clock.rest, clock),
            Observed::Content(stat, entry) if self.settled.as_ref().is_some_and(|old| old.as_ref() == Ok(entry)) => {
                self.remember(*stat, clock);
                return Verdict::Stands;
            }
            Observed::Failed(why) if self.settled.as_ref().is_some_and(|old| old.as_ref() == Err(why)) => {
                self.candidate = None;
                return Verdict::Stands;
            }
            _ => {}
        }
        let whole = whole || self.repeats(&observed).is_some_and(|before| before.whole);
        let rest = rest(&observed, whole, clock);
        if rest.is_zero() || self.has_rested(&observed, rest, clock) {
            return self.settle(observed, clock);
        }
        self.hold(observed, whole, rest, clock)
    }

    /// A reading counts as two where a trusted clock says that the file has not changed for as long, or where an equal
    /// one was made as long ago.
    fn has_rested(&self, observed: &Observed, rest: Duration, clock: &Clock) -> bool {
        if let Observed::Content(stat, _) = observed
            && clock.trusted
            && stat.age(clock.wall).is_some_and(|age| age >= rest)
        {
            return true;
        }
        self.repeats(observed).is_some_and(|before| clock.now >= before.since + rest)
    }

    /// The earlier reading that this one confirms.
    fn repeats(&self, observed: &Observed) -> Option<&Candidate> {
        self.candidate.as_ref().filter(|before| before.observed == *observed && *observed != Observed::Torn)
    }

    fn settle(&mut self, observed: Observed, clock: &Clock) -> Verdict {
        self.candidate = None;
        match observed {
            Observed::Content(stat, entry) => {
                self.settled = Some(Ok(entry));
                self.remember(stat, clock);
                Verdict::Settled
            }
            Observed::Failed(why) => {
                self.refuse(why);
                Verdict::Settled
            }
            Observed::Missing | Observed::Torn => {
                self.stat = None;
                Verdict::Gone
            }
        }
    }

    fn hold(&mut self, observed: Observed, whole: bool, rest: Duration, clock: &Clock) -> Verdict {
        let since = self.repeats(&observed).map_or(clock.now, |before| before.since);
        self.candidate = Some(Candidate { observed, since, whole });
        Verdict::Hold(since + rest)
    }

    fn remember(&mut self, stat: Stat, clock: &Clock) {
        self.candidate = None;
        self.stat = Some(stat);
        self.coarse = stat.age(clock.wall).is_none_or(|age| age < COARSE);
    }
}

/// How long a reading must stand. A change is visible before its event, by as much as a thread may be stopped between
/// the two, which on a busy disk is seconds for a truncation: so the word of an event is taken only for a file that did
/// not change right now, and an empty file is taken for one that is about to be written.
fn rest(observed: &Observed, whole: bool, clock: &Clock) -> Duration {
    let Observed::Content(stat, entry) = observed else { return clock.rest };
    let age = stat.age(clock.wall).unwrap_or_default();
    match (whole, entry.bytes.is_empty()) {
        (true, false) if clock.trusted && age < FRESH => FRESH - age,
        (true, false) => Duration::ZERO,
        (true, true) => clock.rest * EMPTY_RESTS,
        (false, false) => clock.rest,
        (false, true) => clock.rest_empty,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const REST: Duration = Duration::from_millis(100);

    /// A reading of a real file with this content, and a clock that stands `age` after it.
    fn content(text: &str) -> Observed {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, text).unwrap();
        Observed::Content(Stat::of(&fs::metadata(&path).unwrap()), Entry::new(text.to_owned()))
    }

    fn clock(start: Instant, after_ms: u64) -> Clock {
        Clock {
            now: start + Duration::from_millis(after_ms),
            wall: SystemTime::now(),
            rest: REST,
            rest_empty: REST * 100,
            trusted: false,
        }
    }

    #[test]
    fn an_event_makes_a_reading_whole_at_once() {
        let mut file = Settling::default();
        assert_eq!(file.weigh(content("a"), true, &clock(Instant::now(), 0)), Verdict::Settled);
        assert_eq!(file.settled(), Some(&Ok(Entry::new("a"))));
    }

    #[test]
    fn without_one_two_equal_readings_are_needed() {
        let (start, mut file) = (Instant::now(), Settling::default());
        let (half, full) = (content("a"), content("ab"));
        assert_eq!(file.weigh(half, false, &clock(start, 0)), Verdict::Hold(start + REST));
        let later = start + Duration::from_millis(90);
        assert_eq!(file.weigh(full.clone(), false, &clock(start, 90)), Verdict::Hold(later + REST));
        assert_eq!(file.weigh(full.clone(), false, &clock(start, 150)), Verdict::Hold(later + REST));
        assert_eq!(file.settled(), None);
        assert_eq!(file.weigh(full, false, &clock(start, 190)), Verdict::Settled);
    }

    #[test]
    fn a_trusted_clock_makes_an_old_file_whole_at_the_first_reading() {
        let wall = SystemTime::now() + Duration::from_secs(1);
        let clock = Clock { wall, trusted: true, ..clock(Instant::now(), 0) };
        assert_eq!(Settling::default().weigh(content("a"), false, &clock), Verdict::Settled);
    }

    #[test]
    fn a_file_that_comes_back_was_never_gone() {
        let (start, mut file) = (Instant::now(), Settling::default());
        file.weigh(content("a"), true, &clock(start, 0));
        assert!(matches!(file.weigh(Observed::Missing, false, &clock(start, 10)), Verdict::Hold(_)));
        assert_eq!(file.weigh(content("a"), true, &clock(start, 20)), Verdict::Stands);
        assert!(matches!(file.weigh(Observed::Missing, false, &clock(start, 200)), Verdict::Hold(_)));
        assert_eq!(file.weigh(Observed::Missing, false, &clock(start, 300)), Verdict::Gone);
    }

    #[test]
    fn an_empty_file_must_stand_longer() {
        let (start, empty, mut file) = (Instant::now(), content(""), Settling::default());
        assert_eq!(file.weigh(empty.clone(), false, &clock(start, 0)), Verdict::Hold(start + REST * 100));
        assert_eq!(file.weigh(empty.clone(), true, &clock(start, 100)), Verdict::Hold(start + REST * EMPTY_RESTS));
        assert_eq!(file.weigh(empty, false, &clock(start, 1000)), Verdict::Settled);
    }

    #[test]
    fn the_word_of_an_event_counts_for_what_did_not_change_right_now() {
        let (start, mut file) = (Instant::now(), Settling::default());
        let here = Clock { trusted: true, wall: SystemTime::UNIX_EPOCH, ..clock(start, 0) };
        assert!(matches!(file.weigh(content("a"), true, &here), Verdict::Hold(_)));
        // The clock is read when the file is there: how long writing it takes is not what is tested.
        let again = content("a");
        let wall = SystemTime::now() + FRESH;
        assert_eq!(file.weigh(again, true, &Clock { wall, ..here }), Verdict::Settled);
    }

    #[test]
    fn a_torn_reading_never_settles() {
        let (start, mut file) = (Instant::now(), Settling::default());
        for at in [0, 200, 400] {
            assert!(matches!(file.weigh(Observed::Torn, true, &clock(start, at)), Verdict::Hold(_)));
        }
    }
}
