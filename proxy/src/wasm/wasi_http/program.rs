//! Compiled components, and the engine of their own that they run on: one with room for what whole language runtimes
//! need, made when the first of them is loaded.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::{data::Data, linker};
use crate::{
    source::Entry,
    telemetry::Metrics,
    wasm::{
        AddressSpace, Counters, LoadError,
        cache::Cache,
        compile::{Code, Press},
        engine::{Filters, Shape},
        load,
    },
};

/// Components of interpreters are linked of dozens of modules and have large tables.
const SHAPE: Shape = Shape { core_instances: 32, tables: 6, table_elements: 100_000 };

/// A component.
pub(in crate::wasm) struct Program {
    pub(super) pre: ProxyPre<Data>,
    pub(super) filters: Filters,
}

/// Makes them.
pub(in crate::wasm) struct Workshop {
    slots: u32,
    space: AddressSpace,
    cache: Option<PathBuf>,
    counted: (Arc<Counters>, Arc<Metrics>),
    bench: OnceLock<Result<Bench, LoadError>>,
}

// What is there once there is a component.
struct Bench {
    filters: Filters,
    linker: Linker<Data>,
    press: Press,
}

impl Workshop {
    /// One that has made nothing yet.
    pub(in crate::wasm) const fn new(
        slots: u32,
        space: AddressSpace,
        cache: Option<PathBuf>,
        counted: (Arc<Counters>, Arc<Metrics>),
    ) -> Self {
        Self { slots, space, cache, counted, bench: OnceLock::new() }
    }

    /// Compiles a file, or takes it from the disk.
    ///
    /// # Errors
    /// Where it does not fit, or the machine has no room for another engine.
    pub(in crate::wasm) fn make(&self, entry: &Entry) -> Result<Program, LoadError> {
        let Bench { filters, linker, press } =
            self.bench.get_or_init(|| self.bench()).as_ref().map_err(Clone::clone)?;
        let refused = |error: wasmtime::Error| LoadError::Refused(format!("{error:#}"));
        let Code::Component(component) = press.code(entry, load::load)? else {
            return Err(LoadError::Refused("it is no component".into()));
        };
        let pre = linker.instantiate_pre(&component).map_err(refused)?;
        Ok(Program { pre: ProxyPre::new(pre).map_err(refused)?, filters: filters.clone() })
    }

    fn bench(&self) -> Result<Bench, LoadError> {
        let filters = Filters::new(self.slots, SHAPE, self.space)?;
        let engine = filters.engine.clone();
        let cache = self.cache.as_deref().map(|path| Cache::open(path, &engine)).transpose()?;
        let linker = linker::linker(&engine).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let (counters, metrics) = (Arc::clone(&self.counted.0), Arc::clone(&self.counted.1));
        Ok(Bench { filters, linker, press: Press { engine, cache: cache.map(Arc::new), counters, metrics } })
    }
}
