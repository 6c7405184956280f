//! What Proxy-Wasm modules import, one function each. Here are their names and types; what they do stands beside.

mod buffers;
mod calls;
mod foreign;
mod grpc;
mod higress;
mod maps;
mod property;
mod services;
mod signatures;
mod streams;

use wasmtime::{Engine, Linker, Result};

use super::{
    data::Data,
    guest::{Guest, give},
    status::{Done, Status, code},
};
use crate::wasm::preview1::{self, toolchains};

pub(super) use services::{plugin, say};

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
    grpc::link(&mut linker)?;
    foreign::link(&mut linker)?;
    higress::link(&mut linker)?;
    toolchains::link(&mut linker)?;
    preview1::link(&mut linker)?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wasmtime::Store;

    use super::*;
    use crate::wasm::{
        preview1::{FUNCTIONS, MODULES},
        proxy_wasm::provided::ENV,
        surface::Item,
    };

    #[test]
    fn what_is_said_to_be_provided_is_linked_and_nothing_else() {
        let engine = Engine::default();
        let linker = linker(&engine).unwrap();
        let mut store = Store::new(&engine, crate::wasm::proxy_wasm::testing::data());
        let linked: BTreeSet<_> = linker.iter(&mut store).map(|(module, name, _)| Item::new(module, name)).collect();
        let named = ENV.iter().map(|name| Item::new("env", *name));
        let wasi = MODULES.iter().flat_map(|module| FUNCTIONS.iter().map(|name| Item::new(*module, *name)));
        assert_eq!(linked, named.chain(wasi).collect());
    }
}
