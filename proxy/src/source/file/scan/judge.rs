//! What a look at one file means: read it or not, whole or not, and what then stands in the layer.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{Depth, Failure, Look, Marked, Outcome, Scanner};
use crate::source::{
    ReadError,
    file::{
        hub::{Batch, Phase},
        reading::{self, Observed},
        stats::count,
        walk::{Found, What},
        whole::{Clock, Verdict},
    },
};

impl Scanner {
    pub(super) fn look(&mut self, found: &Found, batch: &Batch, marked: &Marked, depth: Depth) -> Look {
        let stat = match &found.what {
            What::Regular(stat) => stat,
            What::Refused(why) => return Look::Weigh(Observed::Failed(why.clone()), false),
            What::Missing if self.is_named(&found.key) => {
                let why = format!("no such file: {} in {}", found.key, self.place.name);
                return Look::Weigh(Observed::Failed(ReadError(why.into())), false);
            }
            What::Missing => return Look::Weigh(Observed::Missing, false),
        };
        let mark = batch.marks.get(&found.real);
        let mut whole = self.is_placed(found, marked);
        if let Some(mark) = mark {
            let open = mark.phase == Phase::Writing || mark.phase == Phase::Created && stat.is_empty();
            let until = mark.at + self.options.open_max;
            if open && Instant::now() < until {
                return Look::OpenUntil(until);
            }
            if open {
                let (key, idle) = (&found.key, self.options.open_max);
                tracing::warn!("{key} is still open for writing, but was not written to for {idle:?}: taken as it is");
                self.hub.discharge(&found.real, batch);
            }
            // A name that appeared with its content was linked.
            // What changed after the last event will have an event of its own.
            let later = !self.watches.is_remote() && stat.is_later_than(mark.wall);
            whole |= !open && !later && matches!(mark.phase, Phase::Whole | Phase::Created);
        }
        let file = self.files.get(&found.key);
        if depth != Depth::Contents && mark.is_none() && file.is_some_and(|file| file.settling.is_as_read(stat)) {
            return Look::Stands;
        }
        count(&self.stats.files_read);
        Look::Weigh(reading::read(&found.real, &found.key, self.bytes_max(&found.key)), whole)
    }

    pub(super) fn take(&mut self, found: Found, look: Look, batch: &Batch, clock: &Clock, outcome: &mut Outcome) {
        let key = found.key;
        let Some(file) = self.files.get_mut(&key) else { return };
        let verdict = match look {
            Look::Stands => {
                file.settling.confirm();
                Verdict::Stands
            }
            Look::OpenUntil(until) => {
                outcome.open_until = Some(outcome.open_until.map_or(until, |before| before.min(until)));
                outcome.unseen |= file.settling.settled().is_none();
                self.unsettled.insert(key);
                return;
            }
            // It may have been read while it was being written; the event that has just come says more.
            Look::Weigh(Observed::Content(..), _) if self.hub.heard_since(&found.real, batch) => {
                Verdict::Hold(clock.now + self.options.quiet)
            }
            Look::Weigh(observed, whole) => file.settling.weigh(observed, whole, clock),
        };
        outcome.missed |= verdict != Verdict::Stands && !self.unsettled.contains(&key);
        if !matches!(verdict, Verdict::Hold(_)) && batch.marks.contains_key(&found.real) {
            self.hub.discharge(&found.real, batch);
        }
        match verdict {
            Verdict::Stands | Verdict::Settled => {
                self.unsettled.remove(&key);
                self.publish(&key);
            }
            Verdict::Gone => {
                self.unsettled.remove(&key);
                self.files.remove(&key);
                self.altered |= self.entries.remove(&key).is_some();
            }
            Verdict::Hold(until) => {
                outcome.due = Some(outcome.due.map_or(until, |before| before.min(until)));
                self.unsettled.insert(key);
            }
        }
    }

    pub(super) fn note_failures(&mut self, failures: Vec<(Arc<str>, Arc<str>)>) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.failures);
        for (key, why) in failures {
            let since = before.remove(&key).map_or(now, |failure| failure.since);
            self.failures.insert(key, Failure { why, since });
        }
        for key in before.into_keys() {
            if !self.files.contains_key(&key) {
                self.altered |= self.entries.remove(&key).is_some();
            }
        }
    }

    /// Directories that could not be listed for a while, and a directory that came to be empty, refuse the tree.
    pub(super) fn report_failures(&mut self, clock: &Clock, outcome: &mut Outcome) {
        let mut reports = Vec::new();
        for (key, failure) in &self.failures {
            let due = failure.since + clock.rest;
            if clock.now >= due {
                reports.push((Arc::clone(key), ReadError(Arc::clone(&failure.why))));
            } else {
                outcome.due = Some(outcome.due.map_or(due, |before| before.min(due)));
            }
        }
        let emptied = self.emptied().filter(|_| !self.failures.contains_key(""));
        if emptied.is_none() && !self.failures.contains_key("") {
            self.altered |= self.entries.remove("").is_some();
        }
        reports.extend(emptied.map(|why| (Arc::from(""), why)));
        for (key, why) in reports {
            let why = Err(why);
            if self.entries.get(&key) != Some(&why) {
                self.entries.insert(key, why);
                self.altered = true;
            }
        }
    }

    /// A directory that held documents and holds none is more likely a volume that was unmounted than a wish.
    fn emptied(&mut self) -> Option<ReadError> {
        let holds = self.files.values().any(|file| file.listed && file.settling.settled().is_some());
        self.held_documents |= holds;
        (self.held_documents && !holds && self.place.single.is_none() && !self.options.allow_empty).then(|| {
            let name = &self.place.name;
            ReadError(
                format!("all documents of {name} are gone; to serve nothing on purpose, write an empty one").into(),
            )
        })
    }

    pub(super) fn clock(&self) -> Clock {
        Clock {
            now: Instant::now(),
            wall: SystemTime::now(),
            rest: self.rest(),
            rest_empty: self.options.open_max,
            trusted: !self.watches.is_remote(),
        }
    }

    /// How far apart two equal readings must be.
    pub(in crate::source::file) fn rest(&self) -> Duration {
        let settle = self.options.settle;
        if self.watches.polls() {
            self.options.poll_interval().min(Duration::from_millis(500)).max(settle)
        } else {
            settle
        }
    }

    fn is_placed(&self, found: &Found, marked: &Marked) -> bool {
        marked.placed.iter().any(|placed| {
            found.real.starts_with(placed) || found.links.contains(placed) || self.root_links.contains(placed)
        })
    }

    fn bytes_max(&self, key: &str) -> u64 {
        let listed = self.files.get(key).is_some_and(|file| file.listed);
        if listed { self.options.document_bytes_max } else { self.options.entry_bytes_max }
    }
}
