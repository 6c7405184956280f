//! Asks a module what its settings look like. Runs it in an engine of its own, bounded in memory and time, beside no
//! gateway: for tools, never while requests are served.

use std::{thread, time::Duration};

use serde_json::Value;
use wasmtime::component::{Component, Linker};

use super::{
    engine::{AddressSpace, Filters, PLUGINS},
    guest,
};

const DEADLINE: Duration = Duration::from_secs(5);
const MEMORY_BYTES_MAX: usize = 32 << 20;
/// Of the schema's text. A longer one is an error.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// The JSON Schema that a component gives of its settings by the interface `settings`; `None` if it has none to show.
///
/// # Errors
/// In words: it fails when it is asked, or what it says is no JSON Schema.
pub(super) fn schema(component: &[u8], settings: &str) -> Result<Option<Value>, String> {
    // On a thread of its own, because the caller may be on a runtime already, which waits for no other.
    let asked = thread::scope(|scope| scope.spawn(|| run(component, settings)).join());
    let text = asked.map_err(|_| "asking for it panicked".to_owned())??;
    let Some(text) = text else { return Ok(None) };
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("{} bytes are over the limit of {SCHEMA_BYTES_MAX}", text.len()));
    }
    match serde_json::from_str(&text) {
        Ok(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Some(schema)),
        Ok(_) => Err("it is neither an object nor a boolean, as a JSON Schema is".into()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

fn run(component: &[u8], settings: &str) -> Result<Option<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let asked = tokio::time::timeout(DEADLINE, ask(component, settings)).await;
        asked.map_err(|_| format!("the module took longer than {} s", DEADLINE.as_secs()))?
    })
}

async fn ask(component: &[u8], settings: &str) -> Result<Option<String>, String> {
    let said = |error: wasmtime::Error| format!("{error:#}");
    let filters = Filters::new(1, PLUGINS, AddressSpace::Small).map_err(|error| error.to_string())?;
    let _running = filters.ticker.run_beside();
    let component = Component::from_binary(&filters.engine, component).map_err(said)?;
    let settings = component.get_export_index(None, settings);
    let Some(schema) = settings.and_then(|settings| component.get_export_index(Some(&settings), "schema")) else {
        return Ok(None);
    };
    let mut store = guest::store(&filters.engine, MEMORY_BYTES_MAX);
    // There is no gateway, whatever the module is for.
    let mut linker = Linker::new(&filters.engine);
    linker.define_unknown_imports_as_traps(&component).map_err(said)?;
    let instance = linker.instantiate_async(&mut store, &component).await.map_err(said)?;
    let schema = instance.get_typed_func::<(), (Option<String>,)>(&mut store, &schema).map_err(said)?;
    let (schema,) = schema.call_async(&mut store, ()).await.map_err(said)?;
    Ok(schema)
}
