//! What components import: WASI 0.2 and `wasi:http` by the engine's own library, and the drafts `wasi:config` and
//! `wasi:logging`, which are few functions.

use wasmtime::{
    Engine, Result, StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower},
};
use wasmtime_wasi::p2;

use super::{
    data::Data,
    handling, inform, keyvalue,
    provided::{CONFIG, LOGGING},
};
use crate::wasm::journal::Level;

/// Everything that components may import.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    inform::add(&mut linker)?;
    keyvalue::add(&mut linker)?;
    for interface in CONFIG {
        config(&mut linker, interface)?;
    }
    let mut logging = linker.instance(LOGGING)?;
    logging.func_wrap("log", |_: StoreContextMut<'_, Data>, said: (Severity, String, String)| {
        let (severity, context, message) = said;
        let text = if context.is_empty() { message } else { format!("{context}: {message}") };
        handling::with_active(|handling| handling.log(severity.level(), text));
        Ok(())
    })?;
    Ok(linker)
}

type Got<T> = Result<(Result<T, ConfigError>,)>;

fn config(linker: &mut Linker<Data>, interface: &str) -> Result<()> {
    let mut instance = linker.instance(interface)?;
    instance.func_wrap("get", |store: StoreContextMut<'_, Data>, (key,): (String,)| -> Got<Option<String>> {
        Ok((Ok(store.data().shared.settings.values.get(&key).cloned()),))
    })?;
    instance.func_wrap("get-all", |store: StoreContextMut<'_, Data>, (): ()| -> Got<Vec<(String, String)>> {
        let values = store.data().shared.settings.values.iter();
        Ok((Ok(values.map(|(key, value)| (key.clone(), value.clone())).collect()),))
    })
}

#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "what is configured is there: reading it does not fail")]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting")]
enum Severity {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl Severity {
    const fn level(self) -> Level {
        match self {
            Self::Trace => Level::Trace,
            Self::Debug => Level::Debug,
            Self::Info => Level::Info,
            Self::Warn => Level::Warn,
            Self::Error | Self::Critical => Level::Error,
        }
    }
}
