//! A guest that holds one table: a store of its own, made from the table's configuration when it begins. Knows no pool
//! and no routes.

use std::sync::Arc;

use wasmtime::{
    PoolConcurrencyLimitError, Result, Store,
    component::{Component, ComponentExportIndex, HasSelf, InstancePre, Linker, TypedFunc},
};

use super::{Table, bindings, host::TableData};
use crate::{
    exchange::Asked,
    source::Entry,
    telemetry::PluginSeries,
    wasm::{
        LoadError,
        census::Counted,
        compile::{Code, Make, Press},
        guest::told,
        load::{self, Abi},
        provided::TABLE,
        slice,
    },
};

pub(super) use bindings::tidegate::table::types::{Definition, Problem};

type MakeTable = TypedFunc<(String,), (Result<Definition, Vec<Problem>>,)>;
type SelectRoute = TypedFunc<(), (Result<Option<String>, String>,)>;

/// A compiled module of a table.
pub(in crate::wasm) struct TableModule {
    pre: InstancePre<TableData>,
    table: ComponentExportIndex,
    select: Option<ComponentExportIndex>,
}

/// Makes modules of tables.
pub(in crate::wasm) struct Workshop {
    linker: Linker<TableData>,
    press: Press,
}

/// A running instance of a table's module, its table made.
pub(super) struct TableGuest {
    store: Store<TableData>,
    select: Option<SelectRoute>,
    counted: Counted,
}

/// Why a table was not made in a guest.
#[derive(Debug)]
pub(super) enum MakeError {
    /// The table says what is wrong with its configuration.
    Problems(Vec<Problem>),
    /// The guest failed.
    Failed(wasmtime::Error),
}

impl TableModule {
    /// Whether it exports `select`.
    pub(super) const fn can_select(&self) -> bool {
        self.select.is_some()
    }
}

impl Workshop {
    /// Where tables' modules are made.
    pub(in crate::wasm) fn open(press: Press) -> Result<Self, LoadError> {
        let mut linker = Linker::new(&press.engine);
        bindings::Imports::add_to_linker::<_, HasSelf<TableData>>(&mut linker, |data| data)
            .map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        Ok(Self { linker, press })
    }
}

impl Make for Workshop {
    type Made = TableModule;

    fn make(&self, entry: &Entry) -> Result<TableModule, LoadError> {
        let Code::Component(component) = self.press.code(entry, load::load_table)? else {
            return Err(LoadError::Misplaced(Abi::ProxyWasm));
        };
        let pre = self.linker.instantiate_pre(&component);
        let pre = pre.map_err(|error| LoadError::Refused(format!("{error:#}")))?;
        let table = export(&component, "table").ok_or_else(|| {
            LoadError::Refused(format!("it exports {} without the function `table`", TABLE.handler_name))
        })?;
        Ok(TableModule { pre, table, select: export(&component, "select") })
    }
}

fn export(component: &Component, name: &str) -> Option<ComponentExportIndex> {
    let routing = component.get_export_index(None, TABLE.handler_name.as_str())?;
    component.get_export_index(Some(&routing), name)
}

impl TableGuest {
    /// A fresh one, and what its table is made of.
    pub(super) async fn make(table: &Table) -> Result<(Box<Self>, Definition), MakeError> {
        let limits = &table.limits;
        let data = TableData::new(&table.name, limits.memory_bytes_max, limits.log_bytes_max);
        let module = &table.module;
        let mut store = Store::new(module.pre.engine(), data);
        store.limiter(|data| &mut data.limits);
        store.set_epoch_deadline(slice::FIRST);
        store.epoch_deadline_callback(|_| Ok(slice::give_way()));
        let made = async {
            let instance = module.pre.instantiate_async(&mut store).await?;
            let make: MakeTable = instance.get_typed_func(&mut store, module.table)?;
            let select = module.select.as_ref().map(|index| instance.get_typed_func(&mut store, index)).transpose()?;
            let (made,) = make.call_async(&mut store, (table.config.clone(),)).await?;
            Ok((made, select))
        };
        let made: Result<_> = made.await;
        let (definition, select) = match made {
            Ok((Ok(definition), select)) => (definition, select),
            Ok((Err(problems), _)) => return Err(MakeError::Problems(problems)),
            Err(error) => return Err(MakeError::Failed(explained(&store, error))),
        };
        Ok((Box::new(Self { store, select, counted: Counted::new(&table.counters) }), definition))
    }

    /// Asks which route serves `asked`, which [`TableGuest::take`] gives back, whatever came of it. An error, and a call
    /// that was dropped, leave a guest that is not to be used again.
    pub(super) async fn select(&mut self, asked: Asked) -> Result<Result<Option<String>, String>> {
        self.store.data_mut().asked = Some(asked);
        let select = self.select.as_ref().expect("only guests of tables that select are asked");
        self.store.set_epoch_deadline(slice::FIRST);
        let called = select.call_async(&mut self.store, ()).await;
        Ok(called.map_err(|error| explained(&self.store, error))?.0)
    }

    /// Says that it lives on `worker` from now on. To be called there.
    pub(super) fn settle(&mut self, worker: usize, series: &Arc<PluginSeries>) {
        self.counted.settle(worker, series, self.store.data().limits.memory_bytes());
    }

    /// A call has returned in good order.
    pub(super) fn returned(&mut self) {
        self.counted.remember(self.store.data().limits.memory_bytes());
    }

    /// What was last asked about.
    pub(super) fn take(&mut self) -> Asked {
        self.store.data_mut().asked.take().expect("taken once after each call")
    }
}

impl MakeError {
    /// Whether there was no room for the guest.
    pub(super) fn is_overload(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is::<PoolConcurrencyLimitError>())
    }
}

impl std::fmt::Display for MakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Problems(problems) => {
                let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
                write!(f, "it refuses its configuration: {}", messages.join("; "))
            }
            Self::Failed(error) => f.write_str(&told(error)),
        }
    }
}

fn explained(store: &Store<TableData>, error: wasmtime::Error) -> wasmtime::Error {
    match store.data().limits.denied() {
        Some(denied) => error.context(denied),
        None => error,
    }
}
