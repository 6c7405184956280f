//! What Proxy-Wasm modules import, one function each. Here are their names and types; what they do stands beside.

mod buffers;
mod calls;
mod maps;
mod property;
mod services;
mod streams;
mod wasi;
mod wasi_stubs;

use std::fmt;

use wasmtime::{Engine, Linker, Result};

use super::{
    data::Data,
    guest::{Guest, give},
    status::{Done, Status, code},
};

/// A guest ended itself with a code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exit(pub(super) u32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it ended itself with the code {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// Everything that modules may import.
///
/// # Errors
/// Where the engine has no room for it.
pub(in crate::wasm) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    maps::link(&mut linker)?;
    buffers::link(&mut linker)?;
    streams::link(&mut linker)?;
    services::link(&mut linker)?;
    property::link(&mut linker)?;
    calls::link(&mut linker)?;
    toolchains(&mut linker)?;
    for module in super::provided::WASI_MODULES {
        wasi::link(&mut linker, module)?;
        wasi_stubs::link(&mut linker, module)?;
    }
    Ok(linker)
}

/// Links a function that answers with a status alone.
macro_rules! answers {
    ($linker:expr, $name:literal, $does:path $(, $arg:ident: $ty:ty)*) => {
        $linker.func_wrap("env", $name, |mut guest: $crate::wasm::proxy_wasm::guest::Guest<'_> $(, $arg: $ty)*| {
            $crate::wasm::proxy_wasm::status::code($does(&mut guest $(, $arg)*))
        })?
    };
}

/// Links a function that gives a value: the last two arguments say where its address and length go.
macro_rules! gives {
    ($linker:expr, $name:literal, $does:path $(, $arg:ident: $ty:ty)*) => {
        $linker.func_wrap_async(
            "env",
            $name,
            |mut guest: $crate::wasm::proxy_wasm::guest::Guest<'_>, ($($arg,)* address, length): ($($ty,)* u32, u32)| {
                Box::new(async move {
                    let value = $does(&mut guest $(, $arg)*);
                    $crate::wasm::proxy_wasm::guest::give(&mut guest, value, address, length).await
                })
            },
        )?
    };
}

pub(super) use {answers, gives};

// What compilers leave in modules that they make for other hosts.
fn toolchains(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap(
        "env",
        "abort",
        |mut guest: Guest<'_>, message: u32, file: u32, line: u32, column: u32| -> Result<()> {
            let (message, file) = (wide(&mut guest, message), wide(&mut guest, file));
            Err(wasmtime::Error::msg(format!("it aborted: {message} ({file}:{line}:{column})")))
        },
    )?;
    linker.func_wrap("env", "seed", || -> Result<f64> {
        let mut bytes = [0; 8];
        services::random(&mut bytes)?;
        Ok((u64::from_le_bytes(bytes) >> 11) as f64)
    })?;
    let trace = |mut guest: Guest<'_>, message: u32, _: i32, _: f64, _: f64, _: f64, _: f64, _: f64| {
        let message = wide(&mut guest, message);
        services::say(&mut guest, services::Level::Info, &message);
    };
    linker.func_wrap("env", "trace", trace)?;
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: u32| {})?;
    // It may grow its memory by the instruction for that.
    linker.func_wrap("env", "emscripten_resize_heap", |_: u32| 0_u32)?;
    linker.func_wrap("env", "emscripten_memcpy_js", copy_within)?;
    linker.func_wrap("env", "emscripten_memcpy_big", |guest: Guest<'_>, to: u32, from: u32, length: u32| {
        copy_within(guest, to, from, length).map(|()| to)
    })?;
    linker.func_wrap("env", "pthread_equal", |a: u32, b: u32| u32::from(a == b))?;
    Ok(())
}

fn copy_within(mut guest: Guest<'_>, to: u32, from: u32, length: u32) -> Result<()> {
    let copied =
        super::guest::copy(&mut guest, from, length).and_then(|bytes| super::guest::write(&mut guest, to, &bytes));
    copied.map_err(|_| wasmtime::Error::msg("it copies from or to addresses that are not its own"))
}

// A text of AssemblyScript: UTF-16, its length in bytes before it.
fn wide(guest: &mut Guest<'_>, at: u32) -> String {
    const BYTES_MAX: u32 = 1024;
    let length = at.checked_sub(4).and_then(|before| super::guest::read(guest, before, 4).ok()?.try_into().ok());
    let length = length.map_or(0, u32::from_le_bytes).min(BYTES_MAX);
    let bytes = super::guest::read(guest, at, length).unwrap_or_default();
    let units = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wasmtime::Store;

    use super::*;
    use crate::wasm::{
        proxy_wasm::provided::{ENV, WASI, WASI_MODULES},
        surface::Item,
    };

    #[test]
    fn what_is_said_to_be_provided_is_linked_and_nothing_else() {
        let engine = Engine::default();
        let linker = linker(&engine).unwrap();
        let mut store = Store::new(&engine, crate::wasm::proxy_wasm::testing::data());
        let linked: BTreeSet<_> = linker.iter(&mut store).map(|(module, name, _)| Item::new(module, name)).collect();
        let named = ENV.iter().map(|name| Item::new("env", *name));
        let wasi = WASI_MODULES.iter().flat_map(|module| WASI.iter().map(|name| Item::new(*module, *name)));
        assert_eq!(linked, named.chain(wasi).collect());
    }
}
