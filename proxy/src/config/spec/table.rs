//! Routing tables as modules. Knows nothing of how they run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;

use super::{HostPattern, ModuleTerms, Name};
use crate::config::diagnostic::Place;

/// A routing table: a module that yields routes, with a configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Path of the module in the tree, from the source's root; where it is fetched, its address with its hash.
    pub module: Arc<str>,
    /// How it comes to be there. What it has to be is in its name.
    #[serde(skip)]
    pub module_terms: ModuleTerms,
    /// Where `module` stands. Not content.
    #[serde(skip)]
    pub module_place: Option<Place>,
    /// What the table is made of, as JSON.
    pub config: serde_json::Value,
    /// Where `config` stands, and each value in it, by JSON pointer. Not content.
    #[serde(skip)]
    pub config_places: Arc<BTreeMap<String, Place>>,
    /// Listeners that its routes may serve; all where empty.
    pub listeners: Vec<Name>,
    /// Hosts that its routes may serve; any where empty.
    pub hosts: Vec<HostPattern>,
    /// What it may use.
    pub limits: TableLimits,
}

/// Bounds of a routing table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableLimits {
    /// Routes that it may yield.
    pub routes_max: usize,
    /// Of one `select`.
    pub call_timeout: Duration,
    /// Linear memory of one guest.
    pub memory_bytes_max: usize,
    /// Guests that may be busy at a time, in the whole process.
    pub guests_max: usize,
    /// Bytes of one log message.
    pub log_bytes_max: usize,
}

impl Default for TableLimits {
    fn default() -> Self {
        Self {
            routes_max: 10_000,
            call_timeout: Duration::from_millis(50),
            memory_bytes_max: 32 << 20,
            guests_max: 64,
            log_bytes_max: 8 << 10,
        }
    }
}

/// The table that yielded a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FromTable {
    /// Its name.
    pub table: Name,
    /// What the table calls the route.
    pub name: Name,
    /// Whether the route serves only what the table selects it for; else it is matched like any other.
    pub selected: bool,
}
