//! A guest: one instance of a module of http-wasm, with a store of its own, started. Knows no pool and no exchange.

use std::sync::Arc;

use wasmtime::{Instance, Store, TypedFunc};

use super::data::Data;
use crate::{
    telemetry::PluginSeries,
    wasm::{
        Counters,
        census::Counted,
        guest::{CreateError, Wear, told},
        native::types::Problem,
        plugin::Plugin,
        preview1::Exit,
        slice,
    },
};

/// See the module.
pub(super) struct Guest {
    pub(super) store: Store<Data>,
    pub(super) handle_request: TypedFunc<(), u64>,
    pub(super) handle_response: TypedFunc<(u32, u32), ()>,
    counted: Counted,
}

// What the start of a program is called: the one, or the other. The first is a library's, and so is none; then there may
// be a `main` that nobody called, as in Rust's programs for `wasm32-unknown-unknown`.
const STARTS: [&str; 2] = ["_initialize", "_start"];

impl Guest {
    /// A fresh one of `plugin`, started.
    ///
    /// # Errors
    /// Where it fails; with what it said, if it said something.
    pub(super) async fn new(plugin: &Arc<Plugin>, counters: &Arc<Counters>) -> Result<Box<Self>, CreateError> {
        let program = plugin.module.http_wasm();
        let mut store = Store::new(program.pre.module().engine(), Data::new(plugin));
        store.limiter(|data| &mut data.limits);
        store.set_epoch_deadline(slice::FIRST);
        store.epoch_deadline_callback(|_| Ok(slice::give_way()));
        let started = match program.pre.instantiate_async(&mut store).await {
            Ok(instance) => start(&mut store, &instance).await,
            Err(error) => Err(error),
        };
        let (handle_request, handle_response) = started.map_err(|error| explained(&mut store, error))?;
        Ok(Box::new(Self { store, handle_request, handle_response, counted: Counted::new(counters) }))
    }

    /// Says that it lives on `worker` from now on. To be called there.
    pub(super) fn settle(&mut self, worker: usize, series: &Arc<PluginSeries>) {
        self.counted.settle(worker, series, self.store.data().limits.memory_bytes());
    }

    /// A call into it has returned. Answers whether it is worn.
    #[inline]
    pub(super) fn returned(&mut self, wear: Wear) -> bool {
        self.counted.returned(self.store.data().limits.memory_bytes(), wear)
    }

    /// What went wrong in a call, with what it asked for beyond its limits, if that is why.
    pub(super) fn failure(&self, error: &wasmtime::Error) -> String {
        let denied = self.store.data().limits.denied().map(|text| format!(" ({text})")).unwrap_or_default();
        told(error) + &denied
    }
}

type Exports = (TypedFunc<(), u64>, TypedFunc<(u32, u32), ()>);

async fn start(store: &mut Store<Data>, instance: &Instance) -> wasmtime::Result<Exports> {
    store.data_mut().memory = instance.get_memory(&mut *store, "memory");
    let first = STARTS.iter().find_map(|name| Some((*name, instance.get_func(&mut *store, name)?)));
    if let Some((_, start)) = first {
        match start.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await {
            // A program that ends in good order leaves its handlers.
            Err(error) if error.downcast_ref() == Some(&Exit(0)) => {}
            outcome => outcome?,
        }
    }
    if first.is_none_or(|(name, _)| name == STARTS[0])
        && let Some(main) = instance.get_func(&mut *store, "main")
        && let Ok(main) = main.typed::<(u32, u32), u32>(&*store)
    {
        main.call_async(&mut *store, (0, 0)).await?;
    }
    store.data_mut().said = Vec::new();
    let handle_request = instance.get_typed_func(&mut *store, "handle_request")?;
    let handle_response = instance.get_typed_func(&mut *store, "handle_response")?;
    Ok((handle_request, handle_response))
}

// A guest that says why it does not start means its configuration.
fn explained(store: &mut Store<Data>, error: wasmtime::Error) -> CreateError {
    let data = store.data_mut();
    match data.limits.denied() {
        Some(denied) => CreateError::Failed(error.context(denied)),
        None if data.said.is_empty() => CreateError::Failed(error),
        None => {
            let (why, said) = (told(&error), data.said.join("; "));
            let why = why.lines().next().unwrap_or_default();
            let message = format!("it does not start: {said} ({why})");
            CreateError::Problems(vec![Problem { pointer: String::new(), message }])
        }
    }
}
