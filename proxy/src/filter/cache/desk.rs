//! The cache of one step as one worker uses it: what is kept, found by the step's name and shared by all workers, and the
//! rules that hold for it now.

use std::{
    any::Any,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    changes::Changes,
    stored::{Found, Resource, Stored},
};
use crate::{
    config::spec,
    state::{Boarding, Flights, Lead, Room, Shelf},
    telemetry::{CacheOutcome, CacheSeries},
};

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    shelf: Arc<Shelf<Resource>>,
    flights: Arc<Flights>,
    changes: Changes,
}

/// State of which only its step knows the type.
pub(super) type Opaque = Arc<Box<dyn Any + Send + Sync>>;

/// The cache, on one worker.
pub(super) struct Desk {
    pub(super) rules: spec::Cache,
    kept: Arc<Kept>,
    series: Arc<CacheSeries>,
    // So that the registry knows that it is in use.
    _hold: Opaque,
}

/// Why a request was not answered from what is kept (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing is kept of the URI.
    UriMiss,
    /// Nothing is kept for these request fields.
    VaryMiss,
    /// It is stale.
    Stale,
    /// The request wants it anew.
    Request,
    /// It is not the method.
    Method,
    /// It is for what is never kept.
    Bypass,
}

impl Why {
    const fn name(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Method => "method",
            Self::Bypass => "bypass",
        }
    }
}

/// What `Cache-Status` says (RFC 9211).
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// Answered from what is kept; how many seconds it is fresh yet, or how long it has been stale.
    Hit(i64),
    /// Asked for further on.
    Forwarded {
        /// Why.
        why: Why,
        /// The answer, where it is not the one that is sent.
        status: Option<u16>,
        /// Whether the answer is kept.
        stored: bool,
    },
    /// Answered neither from what is kept nor from further on, as the client wished.
    NotCached,
}

impl Desk {
    /// The cache whose state is `hold`.
    pub(super) fn new(rules: spec::Cache, hold: Opaque, series: Arc<CacheSeries>) -> Self {
        let kept = hold.downcast_ref::<Arc<Kept>>().map(Arc::clone).unwrap_or_default();
        Self { rules, kept, series, _hold: hold }
    }

    const fn room(&self) -> Room {
        Room { bytes_max: self.rules.bytes_max, entries_max: self.rules.entries_max }
    }

    /// What there is for a request, and whether nobody should wait for another one's answer.
    pub(super) fn find(&self, key: &str, route: &str, asked: &HeaderMap, now: Instant) -> Result<(Found, bool), Why> {
        self.kept.shelf.read(key, |resource| resource.find(route, asked, now)).ok_or(Why::UriMiss)
    }

    /// Fetches what several want, or waits for who does.
    pub(super) fn board(&self, key: &str, route: &str) -> Boarding {
        self.kept.flights.board(&format!("{route} {key}"))
    }

    /// Takes room for a response.
    pub(super) fn reserve(&self, bytes: usize) -> Option<crate::state::Reserved<Resource>> {
        self.kept.shelf.reserve(bytes, self.room())
    }

    /// How many changes of URIs were noted so far.
    pub(super) fn changes(&self) -> u64 {
        self.kept.changes.count()
    }

    /// Keeps a response that was asked for when there were `then` changes, unless one of them was of its URI.
    pub(super) fn put(&self, key: &str, stored: Arc<Stored>, then: u64) {
        if !self.kept.changes.since(then, key) {
            self.change(key, |resource| resource.put(stored));
        }
    }

    /// Forgets a response that another one has taken the place of.
    pub(super) fn forget(&self, key: &str, stored: &Arc<Stored>) {
        self.change(key, |resource| resource.remove(stored));
    }

    /// Forgets all that is kept of a URI.
    pub(super) fn invalidate(&self, key: &str) {
        self.kept.changes.note(key);
        if self.kept.shelf.remove(key) {
            self.report();
        }
    }

    /// The answer is not kept: who waits for it goes on alone, and so do those who come next.
    pub(super) fn let_go(&self, key: &str, lead: Option<Lead>, now: Instant) {
        if lead.as_ref().is_some_and(Lead::is_followed) {
            self.leave_alone(key, now);
        }
        drop(lead);
    }

    /// For a while nobody waits for another one's answer.
    pub(super) fn leave_alone(&self, key: &str, now: Instant) {
        self.change(key, |resource| resource.leave_alone(now + ALONE));
    }

    /// Counts what became of a request, on the thread of `worker`.
    pub(super) fn count(&self, worker: usize, outcome: CacheOutcome) {
        self.series.finish(worker, outcome);
    }

    /// Says what became of a request, where the step says so.
    pub(super) fn tell(&self, headers: &mut HeaderMap, told: Told) {
        if self.rules.status_header {
            // A head of more than 24,000 fields is over every limit; what does not fit is left out.
            let _full = headers.try_append(&CACHE_STATUS, told.value()).is_err();
        }
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut Resource)) {
        self.kept.shelf.change(key, self.room(), |resource| {
            change(resource);
            resource.bytes()
        });
        self.report();
    }

    fn report(&self) {
        let shelf = &self.kept.shelf;
        self.series.hold(shelf.bytes(), shelf.entries(), shelf.evicted());
    }
}

impl Told {
    fn value(self) -> HeaderValue {
        let mut text = String::from("tidegate");
        let written = match self {
            Self::Hit(ttl) => write!(text, ";hit;ttl={ttl}"),
            Self::NotCached => write!(text, ";detail=only-if-cached"),
            Self::Forwarded { why, status, stored } => {
                let status = status.map_or_else(String::new, |status| format!(";fwd-status={status}"));
                write!(text, ";fwd={}{status}{}", why.name(), if stored { ";stored" } else { "" })
            }
        };
        written.expect("text takes text");
        HeaderValue::try_from(text).expect("it is visible ASCII")
    }
}

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
// How long nobody waits for an answer that was not kept the last time.
const ALONE: Duration = Duration::from_secs(10);
