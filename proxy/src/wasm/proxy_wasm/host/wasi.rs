//! WASI preview 1, as far as the runtimes of compilers need it: clocks, random bytes, an environment of the operator's,
//! standard output as log, an end. There are no files and no connections.

use std::{sync::LazyLock, time::Instant};

use wasmtime::{Linker, Result};

use super::{Done, Exit, Guest, services};
use crate::wasm::proxy_wasm::{
    data::Data,
    guest::{copy, read, write, write_u32, write_u64},
};

/// Numbers of errors.
pub(super) const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
/// There is no such call here.
pub(super) const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;
const SPIPE: u32 = 70;

// Bytes of one line of output.
const LINE_BYTES_MAX: usize = 64 << 10;
const VECTORS_MAX: u32 = 1024;
const RANDOM_BYTES_MAX: u32 = 64 << 10;
const EVENTS_MAX: u32 = 64;

// The monotonic clock counts from here, so that a guest learns nothing of how long the machine has been up.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(super) fn link(linker: &mut Linker<Data>, module: &str) -> Result<()> {
    linker.func_wrap(module, "fd_write", |mut guest: Guest<'_>, fd: u32, vectors: u32, count: u32, at: u32| {
        fd_write(&mut guest, fd, vectors, count, at).unwrap_or_else(|errno| errno)
    })?;
    linker.func_wrap(module, "fd_fdstat_get", |mut guest: Guest<'_>, fd: u32, at: u32| fdstat(&mut guest, fd, at))?;
    linker.func_wrap(module, "fd_seek", |fd: u32, _: i64, _: u32, _: u32| if fd <= 2 { SPIPE } else { BADF })?;
    linker.func_wrap(module, "fd_close", |fd: u32| if fd <= 2 { 0 } else { BADF })?;
    linker.func_wrap(module, "clock_time_get", |mut guest: Guest<'_>, clock: u32, _: u64, at: u32| {
        let time = match clock {
            0 => services::wall_ns(),
            1..=3 => u64::try_from(STARTED.elapsed().as_nanos()).unwrap_or(u64::MAX),
            _ => return NOTSUP,
        };
        errno(write_u64(&mut guest, at, time))
    })?;
    linker.func_wrap(module, "clock_res_get", |mut guest: Guest<'_>, clock: u32, at: u32| match clock {
        0..=3 => errno(write_u64(&mut guest, at, 1)),
        _ => NOTSUP,
    })?;
    linker.func_wrap(module, "random_get", |mut guest: Guest<'_>, at: u32, length: u32| {
        random(&mut guest, at, length).unwrap_or_else(|errno| errno)
    })?;
    linker.func_wrap(module, "environ_sizes_get", |mut guest: Guest<'_>, count: u32, bytes: u32| {
        let (variables, size) = environment(&guest);
        errno(write_u32(&mut guest, count, variables).and_then(|()| write_u32(&mut guest, bytes, size)))
    })?;
    linker.func_wrap(module, "environ_get", |mut guest: Guest<'_>, pointers: u32, at: u32| {
        errno(write_environment(&mut guest, pointers, at))
    })?;
    linker.func_wrap(module, "args_sizes_get", |mut guest: Guest<'_>, count: u32, bytes: u32| {
        errno(write_u32(&mut guest, count, 0).and_then(|()| write_u32(&mut guest, bytes, 0)))
    })?;
    linker.func_wrap(module, "args_get", |_: u32, _: u32| 0_u32)?;
    linker.func_wrap(module, "sched_yield", || 0_u32)?;
    linker.func_wrap(module, "poll_oneoff", |mut guest: Guest<'_>, from: u32, to: u32, count: u32, at: u32| {
        poll(&mut guest, from, to, count, at).unwrap_or_else(|errno| errno)
    })?;
    linker.func_wrap(module, "proc_exit", |status: u32| -> Result<()> { Err(Exit(status).into()) })?;
    Ok(())
}

fn errno(done: Done) -> u32 {
    if done.is_ok() { 0 } else { FAULT }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn fd_write(guest: &mut Guest<'_>, fd: u32, vectors: u32, count: u32, at: u32) -> Result<u32, u32> {
    let level = match fd {
        1 => services::Level::Info,
        2 => services::Level::Error,
        _ => return Err(BADF),
    };
    if count > VECTORS_MAX {
        return Err(INVAL);
    }
    let (mut text, mut written) = (Vec::new(), 0_u32);
    let vectors = copy(guest, vectors, count * 8).map_err(|_| FAULT)?;
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
        let bytes_max = services::plugin(guest).map_or(0, |plugin| plugin.limits.log_bytes_max);
        services::say(guest, level, &text[..text.floor_char_boundary(bytes_max)]);
    }
    Ok(0)
}

// A character device that can be written to, where it is one.
fn fdstat(guest: &mut Guest<'_>, fd: u32, at: u32) -> u32 {
    if fd > 2 {
        return BADF;
    }
    let mut stat = [0; 24];
    stat[0] = 2;
    stat[8] = if fd == 0 { 2 } else { 64 };
    errno(write(guest, at, &stat))
}

fn random(guest: &mut Guest<'_>, at: u32, length: u32) -> Result<u32, u32> {
    if length > RANDOM_BYTES_MAX {
        read(guest, at, length).map_err(|_| FAULT)?;
        return Err(INVAL);
    }
    let mut bytes = vec![0; length as usize];
    services::random(&mut bytes).map_err(|_| NOTSUP)?;
    Ok(errno(write(guest, at, &bytes)))
}

fn environment(guest: &Guest<'_>) -> (u32, u32) {
    let variables = &guest.data().settings.environment;
    let size: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    (u32::try_from(variables.len()).unwrap_or(u32::MAX), u32::try_from(size).unwrap_or(u32::MAX))
}

fn write_environment(guest: &mut Guest<'_>, mut pointers: u32, mut at: u32) -> Done {
    let settings = std::sync::Arc::clone(&guest.data().settings);
    for (name, value) in &settings.environment {
        let text = format!("{name}={value}\0");
        write_u32(guest, pointers, at)?;
        write(guest, at, text.as_bytes())?;
        at = at.wrapping_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
        pointers = pointers.wrapping_add(4);
    }
    Ok(())
}

// All events have come: a guest that sleeps would hold up its VM. It finds that no time has passed, and may sleep again,
// until its deadline.
fn poll(guest: &mut Guest<'_>, from: u32, to: u32, count: u32, at: u32) -> Result<u32, u32> {
    const SUBSCRIPTION_BYTES: u32 = 48;
    if count == 0 || count > EVENTS_MAX {
        return Err(INVAL);
    }
    let subscriptions = copy(guest, from, count * SUBSCRIPTION_BYTES).map_err(|_| FAULT)?;
    let mut events = Vec::new();
    for subscription in subscriptions.chunks_exact(SUBSCRIPTION_BYTES as usize) {
        let mut event = [0; 32];
        event[..8].copy_from_slice(&subscription[..8]);
        event[10] = subscription[8];
        events.extend_from_slice(&event);
    }
    write(guest, to, &events).map_err(|_| FAULT)?;
    Ok(errno(write_u32(guest, at, count)))
}
