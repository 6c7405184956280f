//! Lanes: what a listener has of each route, by the route's place. Only those that are other ones, come or go are looked at, and
//! only their rows are others in the table. Knows no route's content.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use imbl::Vector;

use crate::{
    config::spec::{Name, Part, Route},
    identity::{Identity, Sum},
    route::{BuildError, Row, Table},
    snapshot::Plan,
};

/// The rows of one route on one listener.
pub(super) type Rows = Arc<[Row<Arc<Plan>>]>;

/// With more changed routes than this, looking at all of them costs no more.
const CHANGED_MAX: usize = 256;

/// The lanes of all listeners, and the routes that they are of.
#[derive(Default)]
pub(super) struct Lanes {
    pub(super) routes: Vector<Arc<Part<Route>>>,
    pub(super) by_listener: BTreeMap<Name, Lane>,
    /// Of each route, which one stands before it.
    order: Sum,
}

/// Which routes are other ones than before.
pub(super) struct Changed {
    /// Their places now.
    pub(super) at: Vec<usize>,
    /// Where there are more or fewer than before: the places of those that stood where these, which follow each other, are.
    gone: Option<Range<usize>>,
}

/// What one listener has of each route.
#[derive(Clone)]
pub(super) struct Lane {
    /// Of what stands around its routes.
    pub(super) around: Identity,
    /// `None` where the listener does not match the route.
    found: Vector<Option<Found>>,
    /// Of all rows.
    sum: Sum,
}

/// The rows of a route, and what they are found by.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) identity: Identity,
    pub(super) rows: Rows,
}

impl Lanes {
    /// Of `routes`, with nothing of listeners yet; `changed` says which are others than in `before`, where that is known.
    pub(super) fn of(routes: &Vector<Arc<Part<Route>>>, before: &Self, changed: Option<&Changed>) -> Self {
        let order = match changed {
            Some(changed) => before.reordered(routes, changed),
            None => Sum::of((0..routes.len()).filter_map(|at| link(routes, at))),
        };
        Self { routes: routes.clone(), by_listener: BTreeMap::new(), order }
    }

    /// Which routes are other ones than in `routes`; `None` where almost all are.
    pub(super) fn changed(&self, routes: &Vector<Arc<Part<Route>>>) -> Option<Changed> {
        if self.routes.len() == routes.len() {
            return self.replaced(routes).map(|at| Changed { at, gone: None });
        }
        let same = |(own, other): &(&Arc<_>, &Arc<_>)| Arc::ptr_eq(own, other);
        let (own, other) = (self.routes.leaves().flatten(), routes.leaves().flatten());
        let front = own.zip(other).take_while(same).count();
        let behind = self.routes.len().min(routes.len()) - front;
        let back = backwards(&self.routes).zip(backwards(routes)).take(behind).take_while(same).count();
        let (gone, now) = (front..self.routes.len() - back, front..routes.len() - back);
        (gone.len().max(now.len()) <= CHANGED_MAX).then(|| Changed { at: now.collect(), gone: Some(gone) })
    }

    /// The routes that stood where `changed` says that others are.
    pub(super) fn before(&self, changed: &Changed) -> impl Iterator<Item = &Arc<Part<Route>>> {
        let gone = changed.gone.clone();
        let same = changed.at.iter().copied().filter(move |_| changed.gone.is_none());
        gone.into_iter().flatten().chain(same).filter_map(|at| self.routes.get(at))
    }

    /// The order of the routes.
    pub(super) fn order(&self) -> Identity {
        self.order.identity()
    }

    // The places of the routes that are other ones in `routes`, where there are as many.
    fn replaced(&self, routes: &Vector<Arc<Part<Route>>>) -> Option<Vec<usize>> {
        let (mut others, mut at) = (Vec::new(), 0);
        let (mut before, mut now) = (self.routes.leaves(), routes.leaves());
        while let (Some(own), Some(other)) = (before.next(), now.next()) {
            // Versions of one vector are cut alike, and share what is the same.
            if own.len() != other.len() {
                return None;
            }
            if !std::ptr::eq(own, other) {
                let pairs = own.iter().zip(other).enumerate();
                others.extend(pairs.filter(|(_, (own, other))| !Arc::ptr_eq(own, other)).map(|(by, _)| at + by));
            }
            if others.len() > CHANGED_MAX {
                return None;
            }
            at += own.len();
        }
        Some(others)
    }

    // A route behind one that is another now stands behind another one.
    fn reordered(&self, routes: &Vector<Arc<Part<Route>>>, Changed { at, gone }: &Changed) -> Sum {
        let with_next = |at: usize| [at, at + 1];
        let mut now: BTreeSet<_> = at.iter().copied().flat_map(with_next).collect();
        let before = match gone {
            None => now.clone(),
            Some(gone) => {
                now.insert(gone.start + at.len());
                gone.clone().flat_map(with_next).chain([gone.end]).collect()
            }
        };
        let mut order = self.order;
        before.into_iter().filter_map(|at| link(&self.routes, at)).for_each(|link| order.remove(link));
        now.into_iter().filter_map(|at| link(routes, at)).for_each(|link| order.add(link));
        order
    }

    /// Every route's rows by their identity.
    pub(super) fn by_identity(&self) -> HashMap<Identity, Rows> {
        let found = self.by_listener.values().flat_map(|lane| lane.found.iter().flatten());
        found.map(|found| (found.identity, Arc::clone(&found.rows))).collect()
    }
}

impl Changed {
    /// These, and all others of `routes` that are picked. `None` where that is most of them, or where routes came or went besides.
    pub(super) fn and(mut self, routes: &Vector<Arc<Part<Route>>>, picked: impl Fn(&Route) -> bool) -> Option<Self> {
        if self.gone.is_some() {
            return None;
        }
        let others = routes.leaves().flatten().enumerate().filter(|(_, route)| picked(route));
        self.at.extend(others.map(|(at, _)| at));
        self.at.sort_unstable();
        self.at.dedup();
        (self.at.len() <= CHANGED_MAX.max(routes.len() / 2)).then_some(self)
    }
}

impl Lane {
    /// A lane of these rows, by the places of their routes.
    pub(super) fn new(around: Identity, found: Vec<Option<Found>>) -> Self {
        let mut sum = Sum::default();
        found.iter().for_each(|found| summed(found, |part| sum.add(part)));
        Self { around, found: found.into(), sum }
    }

    /// What is there of a route, if it is this.
    pub(super) fn found(&self, at: usize, identity: Identity) -> Option<Found> {
        self.found.get(at)?.as_ref().filter(|found| found.identity == identity).cloned()
    }

    /// The rows, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<Arc<Plan>>> {
        self.found.iter().flatten().flat_map(|found| found.rows.iter())
    }

    /// Of all rows.
    pub(super) fn identity(&self) -> Identity {
        self.sum.identity()
    }

    /// Puts other rows in place of those of the routes that changed, and answers with `table` as it is with them.
    pub(super) fn replace(
        &mut self,
        found: Vec<Option<Found>>,
        changed: &Changed,
        table: &Table<Arc<Plan>>,
    ) -> Result<Table<Arc<Plan>>, BuildError> {
        let edits = match &changed.gone {
            None => self.put(&changed.at, found),
            Some(gone) => self.splice(gone, found),
        };
        for (before, now) in &edits {
            summed(before, |part| self.sum.remove(part));
            summed(now, |part| self.sum.add(part));
        }
        let edits = edits.iter().map(|(before, now)| (rows_of(before), rows_of(now)));
        if let Some(table) = table.with(edits)? {
            return Ok(table);
        }
        let rows: Vec<_> = self.rows().cloned().collect();
        Table::build(&rows, Some(table))
    }

    /// Routes whose part of the lane is an object of `other` as well.
    #[cfg(test)]
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        let same = |(own, other): &(&[_], &[_])| std::ptr::eq(*own, *other);
        self.found.leaves().zip(other.found.leaves()).filter(same).map(|(leaf, _)| leaf.len()).sum()
    }

    // Each in the place of one.
    fn put(&mut self, at: &[usize], found: Vec<Option<Found>>) -> Vec<Edit> {
        let identity = |found: &Option<Found>| found.as_ref().map(|found| found.identity);
        let others = at.iter().zip(found).filter(|(at, now)| identity(&self.found[**at]) != identity(now));
        let others: Vec<_> = others.collect();
        others.into_iter().map(|(at, now)| (self.found.set(*at, now.clone()), now)).collect()
    }

    // All of them in the place of all that are gone.
    fn splice(&mut self, gone: &Range<usize>, found: Vec<Option<Found>>) -> Vec<Edit> {
        let mut before = self.found.split_off(gone.start);
        let behind = before.split_off(gone.len());
        self.found.extend(found.iter().cloned());
        self.found.append(behind);
        before.into_iter().map(|before| (before, None)).chain(found.into_iter().map(|now| (None, now))).collect()
    }
}

/// What there was of a route, and what there is.
type Edit = (Option<Found>, Option<Found>);

fn backwards(routes: &Vector<Arc<Part<Route>>>) -> impl Iterator<Item = &Arc<Part<Route>>> {
    routes.leaves().rev().flat_map(|leaf| leaf.iter().rev())
}

// Which route stands before the one at a place; none where none stands there.
fn link(routes: &Vector<Arc<Part<Route>>>, at: usize) -> Option<Identity> {
    let own = routes.get(at)?;
    let before = at.checked_sub(1).and_then(|before| routes.get(before));
    Some(Identity::linked(before.map_or("", |before| &before.id), &own.id))
}

fn rows_of(found: &Option<Found>) -> &[Row<Arc<Plan>>] {
    found.as_ref().map_or(&[], |found| &found.rows)
}

fn summed(found: &Option<Found>, mut each: impl FnMut(Identity)) {
    rows_of(found).iter().enumerate().for_each(|(of, row)| each(Identity::placed(&[of], row.identity)));
}
