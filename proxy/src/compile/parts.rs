//! Compiled parts by identity, found as long as anything still uses them: an unchanged part is the same object, for
//! reloads, candidates and rollbacks alike.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use crate::{
    filter::{Action, Edit, Filter},
    identity::Identity,
    snapshot::Plan,
    tls::{Acceptor, Connector, SystemRoots, Tickets},
    upstream::Upstream,
};

use super::tables::MadeTable;

/// The registries of one compiler.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) upstreams: Living<Upstream>,
    pub(super) plans: Living<Plan>,
    pub(super) tables: Living<MadeTable>,
    pub(super) acceptors: Living<Acceptor>,
    pub(super) tickets: Living<Tickets>,
    pub(super) connectors: Living<Connector>,
    pub(super) system_roots: Living<SystemRoots>,
    edits: Living<dyn Edit>,
    filters: Living<dyn Filter>,
}

/// Parts that live as long as somebody holds them.
pub(super) struct Living<T: ?Sized> {
    parts: HashMap<Identity, Weak<T>>,
    /// How many lived when the others were forgotten last.
    lived: usize,
}

/// So many may be dead beyond as many as lived: looking at all of them each time would cost what there is.
const DEAD_MAX: usize = 256;

impl<T: ?Sized> Default for Living<T> {
    fn default() -> Self {
        Self { parts: HashMap::new(), lived: 0 }
    }
}

impl<T: ?Sized> Living<T> {
    pub(super) fn find(&self, identity: Identity) -> Option<Arc<T>> {
        self.parts.get(&identity).and_then(Weak::upgrade)
    }

    pub(super) fn keep(&mut self, identity: Identity, part: &Arc<T>) {
        self.parts.insert(identity, Arc::downgrade(part));
    }

    pub(super) fn find_or_make(&mut self, identity: Identity, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        self.find(identity).unwrap_or_else(|| {
            let made = make();
            self.keep(identity, &made);
            made
        })
    }

    fn sweep(&mut self) {
        if self.parts.len() > 2 * self.lived + DEAD_MAX {
            self.parts.retain(|_, part| part.strong_count() > 0);
            self.lived = self.parts.len();
        }
    }
}

impl Parts {
    pub(super) fn action(&self, identity: Identity) -> Option<Action> {
        let edit = self.edits.find(identity).map(Action::Edit);
        edit.or_else(|| self.filters.find(identity).map(Action::Around))
    }

    pub(super) fn keep_action(&mut self, identity: Identity, action: &Action) {
        match action {
            Action::Edit(edit) => self.edits.keep(identity, edit),
            Action::Around(filter) => self.filters.keep(identity, filter),
        }
    }

    /// Forgets the parts that nobody holds.
    pub(super) fn sweep(&mut self) {
        self.upstreams.sweep();
        self.plans.sweep();
        self.tables.sweep();
        self.acceptors.sweep();
        self.tickets.sweep();
        self.connectors.sweep();
        self.system_roots.sweep();
        self.edits.sweep();
        self.filters.sweep();
    }
}
