//! Which endpoint takes the next exchange, and what is learned of it from how that went. Reads what is known of the
//! endpoints; knows nothing of connections.

mod conduct;
mod member;
mod moving;
mod policy;
mod request;
mod ring;
mod standing;

use std::{
    num::NonZeroU64,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, response};
use smallvec::SmallVec;

pub(super) use self::{
    conduct::{Tallies, compare},
    member::{Condition, Member, Roster},
    moving::Moving,
    standing::{Rules, Standing},
};
use self::{moving::Sight, standing::STEPS};
use crate::{
    config::spec::{Balance, HashKey, Name, Part, Upstream as Spec},
    error::{Error, Kind},
    exchange::{Request, Worker},
    state::Sequence,
    telemetry::UpstreamSeries,
};

/// The endpoints of an upstream, and how one is chosen.
#[derive(Debug)]
pub(super) struct Balancer {
    place: Place,
    rules: Rules,
    means: Means,
}

/// What a choice goes by, beside the endpoints.
#[derive(Debug)]
struct Means {
    spec: Arc<Part<Spec>>,
    sequence: Arc<Sequence>,
    series: Arc<UpstreamSeries>,
}

// Where nothing but a new configuration changes how the endpoints stand, there is nothing to look up.
#[derive(Debug)]
enum Place {
    Fixed(Standing),
    Moving(Arc<Moving>),
}

/// The positions of the members that a call has tried already.
pub(super) type Tried = SmallVec<[usize; 2]>;

/// One call's turn: the endpoints as they stood when it began, and what the choice looks at of its request. Positions
/// mean the same endpoint for as long as the turn lasts, its retries and hedges included.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    means: &'a Means,
    standing: Held<'a>,
    worker: usize,
    // The hash of its key, where endpoints are chosen by one. Small, as is the next, because every call holds a turn.
    key: Option<NonZeroU64>,
    // The member that the client is bound to.
    bound: Option<u32>,
}

#[derive(Debug)]
enum Held<'a> {
    Fixed(&'a Standing),
    Seen(Rc<Sight>, &'a Moving),
}

/// How one try went: the head of the answer, or what failed.
pub(super) type Went<'a> = Result<&'a response::Parts, Kind>;

impl Balancer {
    /// A balancer over `roster`; over what it becomes, where it `moves`.
    pub(super) fn new(
        roster: Roster,
        spec: &Arc<Part<Spec>>,
        moves: bool,
        sequence: Arc<Sequence>,
        series: Arc<UpstreamSeries>,
    ) -> Self {
        let rules =
            Rules { panic: spec.panic, slow_start: spec.slow_start, zone_overflow_percent: spec.zone_overflow_percent };
        let standing = Standing::new(Arc::new(roster), &rules);
        let place = if moves { Place::Moving(Arc::new(Moving::new(standing))) } else { Place::Fixed(standing) };
        Self { place, rules, means: Means { spec: Arc::clone(spec), sequence, series } }
    }

    /// The turn of a call with `request`, whose body may be gone. Waits only where no endpoint is known yet, because
    /// names are not resolved.
    pub(super) async fn turn<'a>(&'a self, worker: &Worker, request: &Request) -> Turn<'a> {
        let standing = match &self.place {
            Place::Fixed(standing) => Held::Fixed(standing),
            Place::Moving(moving) => {
                let mut sight = moving.sight(worker);
                if sight.standing.roster.waits && sight.standing.share.is_none() {
                    Box::pin(moving.known(worker, self.means.spec.connect_timeout)).await;
                    sight = moving.sight(worker);
                }
                Held::Seen(sight, moving)
            }
        };
        let mut turn = Turn { means: &self.means, standing, worker: worker.index, key: None, bound: None };
        turn.read(request);
        turn
    }

    /// Whether a choice may depend on header fields of the request, beside its cookies.
    pub(super) fn looks_at_fields(&self) -> bool {
        match &self.means.spec.balance {
            Balance::Hash { keys, .. } => keys.iter().any(|key| matches!(key, HashKey::Header(_))),
            _ => false,
        }
    }

    /// The members as they stand now, in a form for the control plane.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Standing) -> T) -> T {
        match &self.place {
            Place::Fixed(standing) => look(standing),
            Place::Moving(moving) => look(&moving.now()),
        }
    }

    /// The members as they stand now.
    #[cfg(test)]
    pub(super) fn members(&self) -> Members {
        self.look(|standing| Members(Arc::clone(&standing.roster)))
    }

    /// What publishes how the members stand, where that changes.
    pub(super) const fn moving(&self) -> Option<&Arc<Moving>> {
        match &self.place {
            Place::Fixed(_) => None,
            Place::Moving(moving) => Some(moving),
        }
    }

    /// What shares depend on.
    pub(super) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How long the steps of a slow start are, where there is one.
    pub(super) fn slow_start_step(&self) -> Option<Duration> {
        self.rules.slow_start.map(|time| time / u32::from(STEPS))
    }
}

impl Turn<'_> {
    /// The member at a position that [`Turn::choose`] answered with.
    pub(super) fn member(&self, position: usize) -> &Member {
        &self.standing().roster.members[position]
    }

    /// Says that no connection could be made for a try: the member is left alone for a while, where there are others.
    pub(super) fn unreached(&self, position: usize, kind: Kind, since: Instant) {
        self.member(position).endpoint.suspect(SUSPECT);
        self.learn(position, Err(kind), since);
    }

    /// Puts what binds the client to the member at `position` into the head of its answer, where that is asked for and
    /// not so already.
    pub(super) fn bind(&self, position: usize, request: &Request, fields: &mut HeaderMap) {
        if let Some(affinity) = &self.means.spec.affinity
            && self.bound != Some(position as u32)
        {
            request::bind(affinity, &self.standing().roster, position, request, fields);
        }
    }

    /// Why there is no member to try, where [`Turn::choose`] found none the first time.
    #[cold]
    pub(super) fn nothing(&self, upstream: &Name) -> Error {
        let roster = &self.standing().roster;
        if roster.members.is_empty()
            && let Some(why) = &roster.failure
        {
            return Error::new(Kind::UpstreamConnect, format!("upstream {upstream}: {why}"));
        }
        let why = if roster.members.iter().all(|member| member.weight == 0) {
            "it has no endpoint with a weight"
        } else {
            "no endpoint is healthy, and panic-threshold is never"
        };
        Error::new(Kind::NoEndpoint, format!("upstream {upstream}: {why}"))
    }

    fn standing(&self) -> &Standing {
        match &self.standing {
            Held::Fixed(standing) => standing,
            Held::Seen(sight, _) => &sight.standing,
        }
    }
}

// How long an endpoint that could not be reached is left alone while there are others.
const SUSPECT: Duration = Duration::from_secs(1);

/// Members at one time, for tests.
#[cfg(test)]
pub(super) struct Members(Arc<Roster>);

#[cfg(test)]
impl std::ops::Deref for Members {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        &self.0.members
    }
}

#[cfg(test)]
mod tests;
