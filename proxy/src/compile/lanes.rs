//! Lanes: what a listener has of each route, by the route's place. Where routes stand as they stood, only those that are
//! other ones are looked at, and only their rows are others in the table. Knows no route's content.

use std::{
    collections::{BTreeMap, HashMap},
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
}

/// What one listener has of each route.
#[derive(Clone)]
pub(super) struct Lane {
    /// Of what stands around its routes.
    pub(super) around: Identity,
    /// `None` where the listener does not match the route.
    found: Vector<Option<Found>>,
    /// Of all rows, each with the place of its route.
    sum: Sum,
}

/// The rows of a route, and what they are found by.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) identity: Identity,
    pub(super) rows: Rows,
}

impl Lanes {
    /// The places of the routes that are other ones than in `routes`; `None` where there are more or fewer of them, or
    /// almost all are.
    pub(super) fn changed(&self, routes: &Vector<Arc<Part<Route>>>) -> Option<Vec<usize>> {
        if self.routes.len() != routes.len() {
            return None;
        }
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

    /// Every route's rows by their identity.
    pub(super) fn by_identity(&self) -> HashMap<Identity, Rows> {
        let found = self.by_listener.values().flat_map(|lane| lane.found.iter().flatten());
        found.map(|found| (found.identity, Arc::clone(&found.rows))).collect()
    }
}

impl Lane {
    /// A lane of these rows, by the places of their routes.
    pub(super) fn new(around: Identity, found: Vec<Option<Found>>) -> Self {
        let mut sum = Sum::default();
        found.iter().enumerate().for_each(|(at, found)| summed(at, found, |part| sum.add(part)));
        Self { around, found: found.into(), sum }
    }

    /// What is there of a route, if it is this.
    pub(super) fn found(&self, at: usize, identity: Identity) -> Option<Found> {
        self.found[at].as_ref().filter(|found| found.identity == identity).cloned()
    }

    /// The rows, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<Arc<Plan>>> {
        self.found.iter().flatten().flat_map(|found| found.rows.iter())
    }

    /// Of all rows.
    pub(super) fn identity(&self) -> Identity {
        self.sum.identity()
    }

    /// Puts other rows in place, and answers with `table` as it is with them.
    pub(super) fn replace(
        &mut self,
        changes: Vec<(usize, Option<Found>)>,
        table: &Table<Arc<Plan>>,
    ) -> Result<Table<Arc<Plan>>, BuildError> {
        let mut edits = Vec::with_capacity(changes.len());
        let identity = |found: &Option<Found>| found.as_ref().map(|found| found.identity);
        for (at, now) in changes {
            if identity(&self.found[at]) == identity(&now) {
                continue;
            }
            let before = self.found.set(at, now.clone());
            summed(at, &before, |part| self.sum.remove(part));
            summed(at, &now, |part| self.sum.add(part));
            edits.push((before, now));
        }
        let edits = edits.iter().map(|(before, now)| (rows_of(before), rows_of(now)));
        if let Some(table) = table.with(edits)? {
            return Ok(table);
        }
        let rows: Vec<_> = self.rows().cloned().collect();
        Table::build(&rows, Some(table))
    }
}

fn rows_of(found: &Option<Found>) -> &[Row<Arc<Plan>>] {
    found.as_ref().map_or(&[], |found| &found.rows)
}

fn summed(at: usize, found: &Option<Found>, mut each: impl FnMut(Identity)) {
    rows_of(found).iter().enumerate().for_each(|(of, row)| each(Identity::placed(&[at, of], row.identity)));
}
