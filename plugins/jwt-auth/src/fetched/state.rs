//! What all guests know of the keys that are fetched: which set there is, how old it is, and who is fetching. As bytes
//! in the key-value space. Times are on the monotonic clock: a wall clock that jumps changes nothing. Knows no host.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The set that there is; 0 if there is none.
    pub(super) set: u64,
    /// When it was last found at the issuer.
    pub(super) fetched: Duration,
    /// When somebody last began to fetch, if anybody did.
    pub(super) begun: Option<Duration>,
    /// Until when somebody is fetching; zero if nobody is.
    pub(super) until: Duration,
}

/// The operator's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// After this a set is fetched again.
    pub(crate) refresh: Duration,
    /// After this a set is not used any more.
    pub(crate) stale: Duration,
    /// Between one attempt and the next.
    pub(crate) retry: Duration,
    /// For one attempt.
    pub(crate) timeout: Duration,
}

/// What to do about the keys for one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// They will do, or are all that can be had now.
    Use,
    /// Fetch.
    Fetch,
    /// Somebody is fetching: wait a little.
    Wait,
}

/// Between attempts, where there is no set that can be used.
const RETRY_WITHOUT: Duration = Duration::from_secs(1);
/// What an attempt takes beyond its call, so that a guest that was ended while it fetched is not waited for.
const SLACK: Duration = Duration::from_millis(50);

const BYTES: usize = 33;
const FORM: u8 = 1;

impl State {
    /// Whether the set may still be used.
    pub(super) fn usable(&self, now: Duration, times: &Times) -> bool {
        self.set != 0 && now.saturating_sub(self.fetched) < times.stale
    }

    /// What to do; `known`: the set is at hand, may be used, and has a key for the token.
    pub(super) fn step(&self, now: Duration, known: bool, times: &Times) -> Step {
        let due = self.set == 0 || now.saturating_sub(self.fetched) >= times.refresh;
        let fetching = now < self.until;
        match (known, due) {
            (true, false) => Step::Use,
            _ if fetching => {
                if known {
                    Step::Use
                } else {
                    Step::Wait
                }
            }
            _ if self.may_begin(now, times) => Step::Fetch,
            _ => Step::Use,
        }
    }

    /// The state while one guest fetches.
    pub(super) fn claimed(self, now: Duration, times: &Times) -> Self {
        Self { begun: Some(now), until: now + times.timeout + SLACK, ..self }
    }

    fn may_begin(&self, now: Duration, times: &Times) -> bool {
        let gap = if self.usable(now, times) { times.retry } else { times.retry.min(RETRY_WITHOUT) };
        self.begun.is_none_or(|begun| now.saturating_sub(begun) >= gap)
    }

    /// As it is stored.
    pub(super) fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [FORM; BYTES];
        let begun = self.begun.map_or(0, |begun| nanos(begun).saturating_add(1));
        for (place, number) in [self.set, nanos(self.fetched), begun, nanos(self.until)].into_iter().enumerate() {
            bytes[1 + place * 8..][..8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Of what is stored; the beginning of everything, if that is nothing that is known here.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let Some((FORM, numbers)) =
            bytes.split_first().filter(|_| bytes.len() == BYTES).map(|(form, rest)| (*form, rest))
        else {
            return Self::default();
        };
        let number = |place: usize| {
            let bytes = numbers[place * 8..][..8].try_into();
            bytes.map_or(0, u64::from_le_bytes)
        };
        Self {
            set: number(0),
            fetched: Duration::from_nanos(number(1)),
            begun: number(2).checked_sub(1).map(Duration::from_nanos),
            until: Duration::from_nanos(number(3)),
        }
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const TIMES: Times = Times { refresh: s(300), stale: s(3_600), retry: s(10), timeout: s(1) };

    #[test]
    fn keys_are_fetched_when_they_are_wanted_and_not_more_often() {
        let none = State::default();
        let fresh = State { set: 1, fetched: s(100), begun: Some(s(100)), until: s(0) };
        let failed = State { begun: Some(s(500)), ..fresh };
        let cases = [
            ("nothing yet", none, 0, false, Step::Fetch),
            ("nothing yet, just tried", State { begun: Some(s(5)), ..none }, 5, false, Step::Use),
            ("nothing yet, tried a second ago", State { begun: Some(s(5)), ..none }, 6, false, Step::Fetch),
            ("nothing yet, somebody fetches", none.claimed(s(5), &TIMES), 6, false, Step::Wait),
            ("nothing yet, who fetched is gone", none.claimed(s(5), &TIMES), 7, false, Step::Fetch),
            ("a known key", fresh, 399, true, Step::Use),
            ("an unknown key, just fetched", fresh, 109, false, Step::Use),
            ("an unknown key", fresh, 110, false, Step::Fetch),
            ("an unknown key, somebody fetches", fresh.claimed(s(110), &TIMES), 110, false, Step::Wait),
            ("due", fresh, 400, true, Step::Fetch),
            ("due, somebody fetches", fresh.claimed(s(400), &TIMES), 401, true, Step::Use),
            ("due, just failed", failed, 509, true, Step::Use),
            ("due, failed a while ago", failed, 510, true, Step::Fetch),
            ("a clock that went back", fresh, 50, true, Step::Use),
        ];
        for (case, state, now, known, expected) in cases {
            assert_eq!(state.step(s(now), known, &TIMES), expected, "{case}");
        }
    }

    #[test]
    fn keys_are_used_until_they_are_too_old() {
        let state = State { set: 1, fetched: s(100), begun: Some(s(100)), until: s(0) };
        assert!(state.usable(s(3_699), &TIMES) && !state.usable(s(3_700), &TIMES));
        assert!(!State::default().usable(s(0), &TIMES));
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let states = [
            State::default(),
            State { set: 7, fetched: s(5), begun: Some(s(0)), until: s(9) },
            State { set: u64::MAX, fetched: s(5), begun: None, until: s(0) },
        ];
        for state in states {
            assert_eq!(State::from_bytes(&state.to_bytes()), state);
        }
        for bytes in [&[][..], b"?", &[0; 33], &[1; 34]] {
            assert_eq!(State::from_bytes(bytes), State::default());
        }
    }
}
