//! WASI preview 1 for core modules of any ABI, as far as the runtimes of compilers need it: clocks, random bytes, an
//! environment of the operator's, standard output as log, sleep, an end. There are no files and no connections. Knows
//! no exchange.

mod poll;
mod provided;
mod random;
mod stubs;
pub(super) mod toolchains;

use std::{
    fmt,
    sync::LazyLock,
    time::{Instant, SystemTime},
};

use wasmtime::{Caller, Linker, Result};

#[cfg(test)]
pub(super) use self::provided::FUNCTIONS;
pub(super) use self::{
    provided::{MODULES, provides},
    random::random,
};
use super::{
    journal::Level,
    memory::{Fault, Holds, read, write, write_u32, write_u64},
};

/// What a store holds whose guest may use WASI.
pub(super) trait Wasi: Holds + Send {
    /// Whether `poll_oneoff` waits until something has come. Where many share a guest, one that sleeps would hold up
    /// all.
    const SLEEPS: bool;

    /// Environment variables, by name.
    fn environment(&self) -> &[(String, String)];

    /// Bytes of one line of output.
    fn line_bytes_max(guest: &mut Caller<'_, Self>) -> usize;

    /// Takes a line of output.
    fn print(guest: &mut Caller<'_, Self>, level: Level, line: &str);
}

/// A guest ended itself with a code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exit(pub(super) u32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it ended itself with the code {}", self.0)
    }
}

impl std::error::Error for Exit {}

// Numbers of errors.
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
// There is no such call here.
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;
const SPIPE: u32 = 70;

// Output that one call is taken of.
const LINE_BYTES_MAX: usize = 64 << 10;
const VECTORS_MAX: u32 = 1024;
const RANDOM_BYTES_MAX: u32 = 64 << 10;

// The monotonic clock counts from here, so that a guest learns nothing of how long the machine has been up.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Links all of it, under all its names.
///
/// # Errors
/// Where the engine has no room for it.
pub(super) fn link<D: Wasi>(linker: &mut Linker<D>) -> Result<()> {
    MODULES.iter().try_for_each(|module| {
        link_as(linker, module)?;
        poll::link(linker, module)?;
        stubs::link(linker, module)
    })
}

fn link_as<D: Wasi>(linker: &mut Linker<D>, module: &str) -> Result<()> {
    linker.func_wrap(module, "fd_write", |mut guest: Caller<'_, D>, fd: u32, vectors: u32, count: u32, at: u32| {
        fd_write(&mut guest, fd, vectors, count, at).unwrap_or_else(|errno| errno)
    })?;
    linker
        .func_wrap(module, "fd_fdstat_get", |mut guest: Caller<'_, D>, fd: u32, at: u32| fdstat(&mut guest, fd, at))?;
    linker.func_wrap(module, "fd_seek", |fd: u32, _: i64, _: u32, _: u32| if fd <= 2 { SPIPE } else { BADF })?;
    linker.func_wrap(module, "fd_close", |fd: u32| if fd <= 2 { 0 } else { BADF })?;
    linker.func_wrap(module, "clock_time_get", |mut guest: Caller<'_, D>, clock: u32, _: u64, at: u32| {
        now(clock).map_or(NOTSUP, |time| errno(write_u64(&mut guest, at, time)))
    })?;
    linker.func_wrap(module, "clock_res_get", |mut guest: Caller<'_, D>, clock: u32, at: u32| match clock {
        0..=3 => errno(write_u64(&mut guest, at, 1)),
        _ => NOTSUP,
    })?;
    linker.func_wrap(module, "random_get", |mut guest: Caller<'_, D>, at: u32, length: u32| {
        fill(&mut guest, at, length).unwrap_or_else(|errno| errno)
    })?;
    linker.func_wrap(module, "environ_sizes_get", |mut guest: Caller<'_, D>, count: u32, bytes: u32| {
        let (variables, size) = environment(&guest);
        errno(write_u32(&mut guest, count, variables).and_then(|()| write_u32(&mut guest, bytes, size)))
    })?;
    linker.func_wrap(module, "environ_get", |mut guest: Caller<'_, D>, pointers: u32, at: u32| {
        errno(write_environment(&mut guest, pointers, at))
    })?;
    linker.func_wrap(module, "args_sizes_get", |mut guest: Caller<'_, D>, count: u32, bytes: u32| {
        errno(write_u32(&mut guest, count, 0).and_then(|()| write_u32(&mut guest, bytes, 0)))
    })?;
    linker.func_wrap(module, "args_get", |_: u32, _: u32| 0_u32)?;
    linker.func_wrap(module, "sched_yield", || 0_u32)?;
    linker.func_wrap(module, "proc_exit", |status: u32| -> Result<()> { Err(Exit(status).into()) })?;
    Ok(())
}

/// Since 1970, in nanoseconds.
pub(super) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

// What a clock shows, in nanoseconds; 0 is the wall's, the others are monotonic.
fn now(clock: u32) -> Option<u64> {
    match clock {
        0 => Some(wall_ns()),
        1..=3 => Some(u64::try_from(STARTED.elapsed().as_nanos()).unwrap_or(u64::MAX)),
        _ => None,
    }
}

fn errno(done: Result<(), Fault>) -> u32 {
    if done.is_ok() { 0 } else { FAULT }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn fd_write<D: Wasi>(guest: &mut Caller<'_, D>, fd: u32, vectors: u32, count: u32, at: u32) -> Result<u32, u32> {
    let level = match fd {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Err(BADF),
    };
    if count > VECTORS_MAX {
        return Err(INVAL);
    }
    let (mut text, mut written) = (Vec::new(), 0_u32);
    let vectors = read(guest, vectors, count * 8).map_err(|_| FAULT)?.to_vec();
    for vector in vectors.chunks_exact(8) {
        let (from, length) = (number(&vector[..4]), number(&vector[4..]));
        let bytes = read(guest, from, length).map_err(|_| FAULT)?;
        let room = LINE_BYTES_MAX - text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        written = written.saturating_add(length);
    }
    write_u32(guest, at, written).map_err(|_| FAULT)?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim_end_matches('\n');
    if !text.is_empty() {
        let bytes_max = D::line_bytes_max(guest);
        D::print(guest, level, &text[..text.floor_char_boundary(bytes_max)]);
    }
    Ok(0)
}

// A character device that can be written to, where it is one.
fn fdstat<D: Wasi>(guest: &mut Caller<'_, D>, fd: u32, at: u32) -> u32 {
    if fd > 2 {
        return BADF;
    }
    let mut stat = [0; 24];
    stat[0] = 2;
    stat[8] = if fd == 0 { 2 } else { 64 };
    errno(write(guest, at, &stat))
}

fn fill<D: Wasi>(guest: &mut Caller<'_, D>, at: u32, length: u32) -> Result<u32, u32> {
    if length > RANDOM_BYTES_MAX {
        read(guest, at, length).map_err(|_| FAULT)?;
        return Err(INVAL);
    }
    let mut bytes = vec![0; length as usize];
    random(&mut bytes).map_err(|_| NOTSUP)?;
    Ok(errno(write(guest, at, &bytes)))
}

fn environment<D: Wasi>(guest: &Caller<'_, D>) -> (u32, u32) {
    let variables = guest.data().environment();
    let size: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    (u32::try_from(variables.len()).unwrap_or(u32::MAX), u32::try_from(size).unwrap_or(u32::MAX))
}

fn write_environment<D: Wasi>(guest: &mut Caller<'_, D>, mut pointers: u32, mut at: u32) -> Result<(), Fault> {
    let variables: Vec<_> =
        guest.data().environment().iter().map(|(name, value)| format!("{name}={value}\0")).collect();
    for text in variables {
        write_u32(guest, pointers, at)?;
        write(guest, at, text.as_bytes())?;
        at = at.wrapping_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
        pointers = pointers.wrapping_add(4);
    }
    Ok(())
}
