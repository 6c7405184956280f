//! What compilers leave in core modules that they make for other hosts: imports of the module `env`.

use wasmtime::{Caller, Linker, Result};

use super::{Wasi, random};
use crate::wasm::{
    journal::Level,
    memory::{read, write},
};

/// The names.
pub(in crate::wasm) const FUNCTIONS: [&str; 8] = [
    "abort",
    "emscripten_memcpy_big",
    "emscripten_memcpy_js",
    "emscripten_notify_memory_growth",
    "emscripten_resize_heap",
    "pthread_equal",
    "seed",
    "trace",
];

/// Links them.
///
/// # Errors
/// Where the engine has no room for it.
pub(in crate::wasm) fn link<D: Wasi>(linker: &mut Linker<D>) -> Result<()> {
    linker.func_wrap(
        "env",
        "abort",
        |mut guest: Caller<'_, D>, message: u32, file: u32, line: u32, column: u32| -> Result<()> {
            let (message, file) = (wide(&mut guest, message), wide(&mut guest, file));
            Err(wasmtime::Error::msg(format!("it aborted: {message} ({file}:{line}:{column})")))
        },
    )?;
    linker.func_wrap("env", "seed", || -> Result<f64> {
        let mut bytes = [0; 8];
        random(&mut bytes)?;
        Ok((u64::from_le_bytes(bytes) >> 11) as f64)
    })?;
    let trace = |mut guest: Caller<'_, D>, message: u32, _: i32, _: f64, _: f64, _: f64, _: f64, _: f64| {
        let message = wide(&mut guest, message);
        D::print(&mut guest, Level::Info, &message);
    };
    linker.func_wrap("env", "trace", trace)?;
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: u32| {})?;
    // It may grow its memory by the instruction for that.
    linker.func_wrap("env", "emscripten_resize_heap", |_: u32| 0_u32)?;
    linker.func_wrap("env", "emscripten_memcpy_js", copy_within::<D>)?;
    linker.func_wrap("env", "emscripten_memcpy_big", |guest: Caller<'_, D>, to: u32, from: u32, length: u32| {
        copy_within(guest, to, from, length).map(|()| to)
    })?;
    linker.func_wrap("env", "pthread_equal", |a: u32, b: u32| u32::from(a == b))?;
    Ok(())
}

fn copy_within<D: Wasi>(mut guest: Caller<'_, D>, to: u32, from: u32, length: u32) -> Result<()> {
    let bytes = read(&mut guest, from, length)?.to_vec();
    Ok(write(&mut guest, to, &bytes)?)
}

// A text of AssemblyScript: UTF-16, its length in bytes before it.
fn wide<D: Wasi>(guest: &mut Caller<'_, D>, at: u32) -> String {
    const BYTES_MAX: u32 = 1024;
    let length = at.checked_sub(4).and_then(|before| read(guest, before, 4).ok()?.try_into().ok());
    let length = length.map_or(0, u32::from_le_bytes).min(BYTES_MAX);
    let bytes = read(guest, at, length).unwrap_or_default();
    let units = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
