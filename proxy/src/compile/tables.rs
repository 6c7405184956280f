//! Routing tables as modules: made once for each identity, their routes joined to those of documents, and those that
//! choose among their routes put before the matching of every listener that they serve.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::join_all;

use super::{Built, Compiler, lanes::Rows};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Name, Part, Spec, Table as TableSpec},
        yielded::{self, Yielded},
    },
    exchange::{Adoption, Select},
    identity::Identity,
    resolve::Modules,
    route::{BuildError, Table},
    snapshot::Selection,
};

/// A table that was made: the same object as long as its name, definition and module are.
pub(super) struct MadeTable {
    identity: Identity,
    name: Name,
    yielded: Arc<Yielded>,
    select: Option<Arc<dyn Select>>,
    // One for each worker, until they are taken.
    adoptions: Mutex<Vec<Adoption>>,
}

/// The tables of a specification.
#[derive(Default)]
pub(super) struct Tables(Vec<(Arc<Part<TableSpec>>, Arc<MadeTable>)>);

// A table, and whether it is new.
type Outcome = Result<(Arc<MadeTable>, bool), Vec<Diagnostic>>;

/// Makes what is new of the tables of `spec`.
pub(super) async fn build(
    compiler: &mut Compiler,
    spec: &Spec,
    modules: &Modules,
    built: &mut Built,
) -> Result<Tables, Vec<Diagnostic>> {
    let identified = spec.tables.iter().map(|(name, part)| {
        let module = modules.get(&part.module).map(|entry| entry.identity);
        let own = [Identity::of_bytes(b"table"), Identity::of_bytes(name.as_bytes()), part.identity];
        (name, part, Identity::of_all(own.into_iter().chain(module)))
    });
    let identified: Vec<_> = identified.collect();
    let shared = &*compiler;
    let made = identified.iter().map(|(name, part, identity)| async move {
        match shared.parts.tables.find(*identity) {
            Some(found) => Ok((found, false)),
            None => Ok((Arc::new(make(shared, name, part, *identity, modules).await?), true)),
        }
    });
    let made: Vec<Outcome> = join_all(made).await;
    let (mut tables, mut wrong) = (Vec::new(), Vec::new());
    for ((_, part, identity), made) in identified.into_iter().zip(made) {
        match made {
            Ok((table, new)) => {
                built.tables += usize::from(new);
                compiler.parts.tables.keep(identity, &table);
                tables.push((Arc::clone(part), table));
            }
            Err(found) => wrong.extend(found),
        }
    }
    if wrong.is_empty() { Ok(Tables(tables)) } else { Err(wrong) }
}

async fn make(
    compiler: &Compiler,
    name: &Name,
    part: &Part<TableSpec>,
    identity: Identity,
    modules: &Modules,
) -> Result<MadeTable, Vec<Diagnostic>> {
    let entry = modules.get(&part.module).expect("resolve found every module");
    let made = compiler.wasm.table(name, part, entry, compiler.metrics.table(name)).await?;
    let yielded = Arc::new(yielded::check(name, part, made.select.is_some(), &made.routes)?);
    let adoptions = Mutex::new(made.adoptions);
    Ok(MadeTable { identity, name: Arc::clone(name), yielded, select: made.select, adoptions })
}

impl Tables {
    /// `spec` with the routes of its tables, and what is worth a warning.
    pub(super) fn join(&self, spec: &Arc<Spec>) -> Result<(Arc<Spec>, Vec<Diagnostic>), Vec<Diagnostic>> {
        if self.0.is_empty() {
            return Ok((Arc::clone(spec), Vec::new()));
        }
        let tables: Vec<_> =
            self.0.iter().map(|(_, table)| (Arc::clone(&table.name), Arc::clone(&table.yielded))).collect();
        yielded::join(spec, &tables).map(|(whole, warnings)| (Arc::new(whole), warnings))
    }

    /// Adds what workers must take before these tables may be asked. A table that was found again has given it before.
    pub(super) fn adopt(&mut self, adoptions: &mut [Vec<Adoption>]) {
        for (_, table) in &self.0 {
            let own = std::mem::take(&mut *table.adoptions.lock().unwrap_or_else(PoisonError::into_inner));
            adoptions.iter_mut().zip(own).for_each(|(all, one)| all.push(one));
        }
    }

    /// What one listener asks before it matches: of each table, its routes there. What is as in `before` is the same.
    pub(super) fn selections(
        &self,
        mut routes: BTreeMap<&Name, Vec<(&Name, Rows)>>,
        before: Option<&[Arc<Selection>]>,
    ) -> Result<Box<[Arc<Selection>]>, BuildError> {
        let mut selections = Vec::new();
        for (part, table) in &self.0 {
            let (Some(select), Some(routes)) = (&table.select, routes.remove(&table.name)) else { continue };
            let rows = routes.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.identity));
            let identity = Identity::of_all([table.identity].into_iter().chain(rows));
            let found = before.unwrap_or_default().iter().find(|selection| selection.identity == identity);
            if let Some(found) = found {
                selections.push(Arc::clone(found));
                continue;
            }
            let mut by_name = HashMap::default();
            for (name, rows) in routes {
                by_name.insert(Arc::clone(name), Table::build(&rows, None)?);
            }
            selections.push(Arc::new(Selection {
                identity,
                table: Arc::clone(&table.name),
                label: format!("table/{}", table.name).into(),
                hosts: part.hosts.clone(),
                select: Arc::clone(select),
                routes: by_name,
            }));
        }
        Ok(selections.into())
    }
}
