//! Routing tables: modules that yield routes when a configuration is compiled, and may choose among them for each
//! request. A table leaves this room as texts of routes and, if it chooses, as a [`Select`]. Knows no documents and no
//! routes; what the texts say is checked where documents are.

mod bindings;
mod guest;
mod host;
mod pool;
mod problem;
mod select;

use std::{collections::HashSet, rc::Rc, sync::Arc, time::Duration};

use self::{
    guest::{Definition, TableGuest, TableModule},
    pool::InUse,
    select::Selector,
};
use super::{Counters, Wasm, engine::Filters, problem::config_text};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{self, Name, TableLimits},
    },
    exchange::{Adoption, Select, Worker},
    source::Entry,
    telemetry::PluginSeries,
};

pub(super) use guest::{TableModule as Module, Workshop};
pub(super) use pool::Tables;

/// A table that was made.
pub struct BuiltTable {
    /// Its routes in order: name, and definition as JSON.
    pub routes: Vec<(String, String)>,
    /// How it is asked which of them serves, if it wants to be. Kept for as long as any snapshot has the table.
    pub select: Option<Arc<dyn Select>>,
    /// One for each worker, in order: moves the worker's warm guest to it. None where nothing is to be asked.
    pub adoptions: Vec<Adoption>,
}

/// A table: a module with a configuration and limits, as every worker shares it.
pub(super) struct Table {
    /// Unique in the life of the process.
    id: u64,
    name: Name,
    /// Its configuration, as JSON text.
    config: String,
    module: Arc<TableModule>,
    limits: TableLimits,
    /// Guests that may be busy at a time on one worker.
    busy_max: usize,
    filters: Filters,
    counters: Arc<Counters>,
    series: Arc<PluginSeries>,
}

/// How long a table may take to be made, in each guest.
const MAKE_DEADLINE: Duration = Duration::from_secs(5);

impl Wasm {
    /// Makes a table of a module's file: once, and once for each worker if it chooses by itself.
    ///
    /// # Errors
    /// Everything that the table says is wrong with its configuration, each at its place; or why it failed.
    pub async fn table(
        &self,
        name: &Name,
        spec: &spec::Table,
        file: &Entry,
        series: Arc<PluginSeries>,
    ) -> Result<BuiltTable, Vec<Diagnostic>> {
        let place = spec.module_place.clone();
        let module = self.tables.module(file).await;
        let module = module.map_err(|error| vec![error.diagnostic(&spec.module, place)])?;
        let table = Arc::new(Table {
            id: super::plugin::Plugin::next_id(),
            name: Arc::clone(name),
            config: config_text(&spec.config),
            module,
            limits: spec.limits.clone(),
            busy_max: spec.limits.guests_max.div_ceil(self.workers.max(1)).max(1),
            filters: self.filters.clone(),
            counters: Arc::clone(&self.counters),
            series,
        });
        let (first, definition) = table.make(spec).await?;
        if definition.routes.len() > spec.limits.routes_max {
            return Err(vec![problem::too_many(name, spec, definition.routes.len())]);
        }
        let routes = definition.routes.into_iter().map(|route| (route.name, route.definition)).collect::<Vec<_>>();
        if !definition.selects {
            return Ok(BuiltTable { routes, select: None, adoptions: Vec::new() });
        }
        if !table.module.can_select() {
            return Err(vec![problem::lacks_select(name, spec)]);
        }
        let mut guests = vec![first];
        while guests.len() < self.workers {
            guests.push(table.make(spec).await?.0);
        }
        let names: HashSet<Arc<str>> = routes.iter().map(|(name, _)| Arc::from(name.as_str())).collect();
        let selector = Arc::new(Selector { table, names, in_use: Arc::new(InUse) });
        let adoption = |guest: Box<TableGuest>| {
            let (table, in_use) = (Arc::clone(&selector.table), Arc::downgrade(&selector.in_use));
            Box::new(move |worker: &Rc<Worker>| {
                worker.locals.of::<Tables>().adopt(worker, &table, &in_use).put(guest);
                Ok(())
            }) as Adoption
        };
        let adoptions = guests.into_iter().map(adoption).collect();
        Ok(BuiltTable { routes, select: Some(selector), adoptions })
    }
}

impl Table {
    /// A guest with the table in it, and what the table is made of; for the control plane.
    async fn make(&self, spec: &spec::Table) -> Result<(Box<TableGuest>, Definition), Vec<Diagnostic>> {
        let _running = self.filters.ticker.run_beside();
        match tokio::time::timeout(MAKE_DEADLINE, TableGuest::make(self)).await {
            Ok(made) => made.map_err(|error| problem::diagnostics(&self.name, spec, error)),
            Err(_) => Err(vec![problem::too_slow(&self.name, spec, MAKE_DEADLINE)]),
        }
    }
}
