//! What every plugin has without a grant: log, clock, ticks, metrics, shared data and queues.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, gives};
use crate::{
    state::kv::Refused,
    telemetry::metrics::GuestKind,
    wasm::{
        budget::Allowance,
        journal::{self, Level},
        plugin::Plugin,
        preview1::wall_ns,
        proxy_wasm::{
            data::{Asked, Data},
            guest::{copy, read, write_u32, write_u64},
            sight::{home, stream},
        },
    },
};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    answers!(linker, "proxy_log", log, level: u32, at: u32, length: u32);
    answers!(linker, "proxy_get_log_level", log_level, at: u32);
    answers!(linker, "proxy_get_current_time_nanoseconds", time, at: u32);
    answers!(linker, "proxy_set_tick_period_milliseconds", set_tick_period, millis: u32);
    answers!(linker, "proxy_define_metric", define_metric, kind: u32, name: u32, length: u32, at: u32);
    answers!(linker, "proxy_increment_metric", increment_metric, metric: u32, by: i64);
    answers!(linker, "proxy_record_metric", record_metric, metric: u32, value: u64);
    answers!(linker, "proxy_get_metric", metric_value, metric: u32, at: u32);
    answers!(linker, "proxy_set_shared_data", set_shared, key: u32, length: u32, value: u32, bytes: u32, cas: u32);
    answers!(linker, "proxy_register_shared_queue", register_queue, name: u32, length: u32, at: u32);
    answers!(linker, "proxy_resolve_shared_queue", resolve_queue, vm: u32, vm_length: u32, name: u32, length: u32, at: u32);
    answers!(linker, "proxy_enqueue_shared_queue", enqueue, queue: u32, value: u32, bytes: u32);
    gives!(linker, "proxy_dequeue_shared_queue", dequeue, queue: u32);
    linker.func_wrap_async(
        "env",
        "proxy_get_shared_data",
        |mut guest: Guest<'_>, (key, key_length, address, length, cas): (u32, u32, u32, u32, u32)| {
            Box::new(async move {
                let found = shared(&mut guest, key, key_length);
                let found = found.and_then(|(value, version)| write_u32(&mut guest, cas, version).map(|()| value));
                super::give(&mut guest, found, address, length).await
            })
        },
    )?;
    Ok(())
}

/// The plugin that host functions act for.
pub(in super::super) fn plugin(guest: &Guest<'_>) -> Option<Arc<Plugin>> {
    match stream(guest) {
        Some(stream) => Some(Arc::clone(&stream.local.plugin)),
        None => guest.data().roots.get(&guest.data().effective).map(|root| Arc::clone(&root.plugin)),
    }
}

fn log(guest: &mut Guest<'_>, level: u32, at: u32, length: u32) -> Done {
    let level = match level {
        0 => Level::Trace,
        1 => Level::Debug,
        2 => Level::Info,
        3 => Level::Warn,
        4 | 5 => Level::Error,
        _ => return Err(Status::BadArgument),
    };
    // No more of it is copied than is written.
    let bytes_max = plugin(guest).map_or(0, |plugin| plugin.limits.log_bytes_max);
    let message = read(guest, at, length)?;
    let message = String::from_utf8_lossy(&message[..message.len().min(bytes_max)]).into_owned();
    say(guest, level, &message);
    Ok(())
}

// Of what a plugin logs while it is configured, for the diagnostic if it refuses to be.
const SAID_MAX: usize = 4;
const SAID_BYTES_MAX: usize = 512;

/// Writes a message to the log, within the plugin's budget.
pub(in super::super) fn say(guest: &mut Guest<'_>, level: Level, message: &str) {
    let Some(plugin) = plugin(guest) else { return };
    let (name, mut generation, mut dropped) = (&*plugin.name, None, 0);
    let effective = guest.data().effective;
    let local = stream(guest).map(|stream| {
        generation = Some(stream.exchange.generation());
        std::rc::Rc::clone(&stream.local)
    });
    let local = local.or_else(|| home().and_then(|home| home.local(effective)));
    if let Some(local) = &local {
        match local.log.take(Instant::now()) {
            Allowance::Write { dropped: before } => dropped = before,
            Allowance::Drop => return,
        }
    } else if let Some(root) = guest.data_mut().roots.get_mut(&effective)
        && level >= Level::Warn
        && root.said.len() < SAID_MAX
    {
        root.said.push(message[..message.floor_char_boundary(SAID_BYTES_MAX)].to_owned());
    }
    journal::write(name, generation, dropped, level, message);
}

// The lowest level that anything of a plugin is written at.
fn log_level(guest: &mut Guest<'_>, at: u32) -> Done {
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn];
    let level = levels.iter().position(|level| level.is_enabled()).unwrap_or(levels.len());
    write_u32(guest, at, level as u32)
}

fn time(guest: &mut Guest<'_>, at: u32) -> Done {
    write_u64(guest, at, wall_ns())
}

/// The root context that host functions act for.
pub(super) fn root(guest: &Guest<'_>) -> Done<u32> {
    match stream(guest) {
        Some(stream) => Ok(stream.local.root.get()),
        None => {
            Some(guest.data().effective).filter(|id| guest.data().roots.contains_key(id)).ok_or(Status::BadArgument)
        }
    }
}

// What callbacks may ask for before it is done.
const ASKED_MAX: usize = 256;

/// Notes what is done when the callback has returned.
pub(super) fn ask(guest: &mut Guest<'_>, asked: Asked) -> Done {
    let all = &mut guest.data_mut().asked;
    if all.len() >= ASKED_MAX {
        return Err(Status::InternalFailure);
    }
    all.push(asked);
    Ok(())
}

fn set_tick_period(guest: &mut Guest<'_>, millis: u32) -> Done {
    let root = root(guest)?;
    ask(guest, Asked::Ticks { root, period: Duration::from_millis(millis.into()) })
}

fn define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, length: u32, at: u32) -> Done {
    let kind = match kind {
        0 => GuestKind::Counter,
        1 => GuestKind::Gauge,
        2 => GuestKind::Histogram,
        _ => return Err(Status::BadArgument),
    };
    let name = copy(guest, name, length)?;
    let name = String::from_utf8(name).map_err(|_| Status::BadArgument)?;
    let plugin = plugin(guest).ok_or(Status::InternalFailure)?;
    let handle = plugin.metrics.define(&plugin.name, &name, kind).ok_or(Status::InternalFailure)?;
    let metric = plugin.metrics.all().into_iter().nth(handle as usize).ok_or(Status::InternalFailure)?;
    // Numbers are the VM's, in which several plugins may be.
    let metrics = &mut guest.data_mut().metrics;
    let known = metrics.iter().position(|known| Arc::ptr_eq(known, &metric));
    let number = known.unwrap_or_else(|| {
        metrics.push(metric);
        metrics.len() - 1
    });
    write_u32(guest, at, u32::try_from(number).map_err(|_| Status::InternalFailure)?)
}

fn increment_metric(guest: &mut Guest<'_>, metric: u32, by: i64) -> Done {
    let metric = guest.data().metrics.get(metric as usize).ok_or(Status::NotFound)?;
    match (metric.kind(), u64::try_from(by)) {
        // By nothing, a counter does not rise.
        (GuestKind::Counter, Ok(by @ 1..)) => on_worker(|worker| metric.add(worker, by)),
        (GuestKind::Gauge, _) => metric.raise(by as f64),
        (GuestKind::Counter | GuestKind::Histogram, _) => return Err(Status::BadArgument),
    }
    Ok(())
}

fn record_metric(guest: &mut Guest<'_>, metric: u32, value: u64) -> Done {
    let metric = guest.data().metrics.get(metric as usize).ok_or(Status::NotFound)?;
    match metric.kind() {
        GuestKind::Gauge => metric.set(value as f64),
        GuestKind::Histogram => on_worker(|worker| metric.observe(worker, value)),
        // A counter only rises: what is recorded is added, as in Envoy.
        GuestKind::Counter => on_worker(|worker| metric.add(worker, value)),
    }
    Ok(())
}

// While a VM is made there is no worker to count for.
fn on_worker(count: impl FnOnce(usize)) {
    if let Some(home) = home() {
        count(home.worker.index);
    }
}

fn metric_value(guest: &mut Guest<'_>, metric: u32, at: u32) -> Done {
    let metric = guest.data().metrics.get(metric as usize).ok_or(Status::NotFound)?;
    let value = metric.value().ok_or(Status::BadArgument)?;
    write_u64(guest, at, value as u64)
}

// Keys are bytes here and text there.
fn key(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).map_or_else(
        |error| error.as_bytes().iter().fold("x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
        |text| format!("u{text}"),
    )
}

fn shared(guest: &mut Guest<'_>, at: u32, length: u32) -> Done<(Vec<u8>, u32)> {
    let key = key(copy(guest, at, length)?);
    let found = guest.data().settings.space.get(&key, Instant::now());
    found.map(|(value, version)| (value, cas_of(version))).ok_or(Status::NotFound)
}

// 0 is for no version.
const fn cas_of(version: u64) -> u32 {
    match version as u32 {
        0 => u32::MAX,
        cas => cas,
    }
}

fn set_shared(guest: &mut Guest<'_>, key_at: u32, length: u32, value: u32, bytes: u32, cas: u32) -> Done {
    let (key, value) = (key(copy(guest, key_at, length)?), copy(guest, value, bytes)?);
    let (space, now) = (&guest.data().settings.space, Instant::now());
    let set = match space.get(&key, now) {
        Some((_, version)) if cas != 0 && cas_of(version) != cas => return Err(Status::CasMismatch),
        Some((_, version)) if cas != 0 => space.compare_and_set(&key, version, value, None, now),
        _ => space.set(&key, value, None, now),
    };
    set.map(drop).map_err(|refused| match refused {
        Refused::Conflict => Status::CasMismatch,
        Refused::Full => Status::InternalFailure,
        Refused::TooLarge => Status::BadArgument,
    })
}

fn register_queue(guest: &mut Guest<'_>, name: u32, length: u32, at: u32) -> Done {
    let name = copy(guest, name, length)?;
    let root = root(guest)?;
    let settings = Arc::clone(&guest.data().settings);
    let (number, queue) = settings.queues.register(&settings.own_queues, name)?;
    write_u32(guest, at, number)?;
    ask(guest, Asked::Watch { root, number, queue })
}

fn resolve_queue(guest: &mut Guest<'_>, vm: u32, vm_length: u32, name: u32, length: u32, at: u32) -> Done {
    let (vm, name) = (copy(guest, vm, vm_length)?, copy(guest, name, length)?);
    let settings = Arc::clone(&guest.data().settings);
    // A module that does not know its VM's name means its own.
    let vm = if vm.is_empty() { &settings.vm_id } else { str::from_utf8(&vm).map_err(|_| Status::NotFound)? };
    let number = settings.queues.resolve(vm, &name)?;
    write_u32(guest, at, number)
}

fn enqueue(guest: &mut Guest<'_>, queue: u32, value: u32, bytes: u32) -> Done {
    let value = copy(guest, value, bytes)?;
    guest.data().settings.queues.queue(queue)?.push(value)
}

fn dequeue(guest: &mut Guest<'_>, queue: u32) -> Done<Vec<u8>> {
    guest.data().settings.queues.queue(queue)?.pop()
}
