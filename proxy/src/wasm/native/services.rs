//! What every plugin has without a grant: clocks, random bytes, the log, metrics, and its key-value space.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use wasmtime::{Result, bail};

use super::bindings::tidegate::plugin::{clock, kv, log, metrics, random, types};
use crate::{
    state::kv::{Refused, Space},
    telemetry::metrics::GuestKind,
    wasm::{
        budget::Allowance,
        call::{Visit, active},
        guest::Data,
        journal::{self, Level},
        plugin::Plugin,
        preview1,
    },
};

impl types::Host for Data {}

impl Data {
    // The plugin that is being created, or the one whose call this is; with the call, if there is one.
    fn plugin<R>(&mut self, f: impl FnOnce(&Plugin, Option<&Visit>) -> R) -> Result<R> {
        match &self.creating {
            Some(plugin) => Ok(f(plugin, None)),
            None => active(|visit| Ok(f(&visit.local.plugin, Some(visit)))),
        }
    }
}

// Clocks count from here, so that a guest learns nothing of how long the machine has been up.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl clock::Host for Data {
    fn monotonic_ns(&mut self) -> Result<u64> {
        Ok(nanoseconds(STARTED.elapsed()))
    }

    fn wall_ns(&mut self) -> Result<u64> {
        Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanoseconds))
    }

    async fn sleep(&mut self, duration_ns: u64) -> Result<()> {
        // Ends with the call's deadline at the latest: the whole call is dropped then.
        tokio::time::sleep(Duration::from_nanos(duration_ns)).await;
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const RANDOM_BYTES_MAX: u32 = 4096;

impl random::Host for Data {
    fn bytes(&mut self, count: u32) -> Result<Vec<u8>> {
        if count > RANDOM_BYTES_MAX {
            bail!("{count} random bytes at a time are over the limit of {RANDOM_BYTES_MAX}");
        }
        let mut bytes = vec![0; count as usize];
        preview1::random(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        preview1::random(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl log::Host for Data {
    fn write(&mut self, level: log::Level, mut message: String) -> Result<()> {
        let early = if self.creating.is_some() { Some(self.early.take(Instant::now())) } else { None };
        self.plugin(|plugin, visit| {
            truncate(&mut message, plugin.limits.log_bytes_max);
            let own = || visit.map_or(Allowance::Drop, |visit| visit.local.log.take(Instant::now()));
            let allowance = early.unwrap_or_else(own);
            let Allowance::Write { dropped } = allowance else { return };
            let (name, generation) = (&*plugin.name, visit.map(|visit| visit.exchange.generation()));
            let level = match level {
                log::Level::Trace => Level::Trace,
                log::Level::Debug => Level::Debug,
                log::Level::Info => Level::Info,
                log::Level::Warn => Level::Warn,
                log::Level::Error => Level::Error,
            };
            journal::write(name, generation, dropped, level, &message);
        })
    }
}

fn truncate(message: &mut String, bytes_max: usize) {
    message.truncate(message.floor_char_boundary(bytes_max));
}

impl metrics::Host for Data {
    fn define(&mut self, kind: metrics::Kind, name: String) -> Result<Option<u32>> {
        let kind = match kind {
            metrics::Kind::Counter => GuestKind::Counter,
            metrics::Kind::Gauge => GuestKind::Gauge,
            metrics::Kind::Histogram => GuestKind::Histogram,
        };
        self.plugin(|plugin, _| plugin.metrics.define(&plugin.name, &name, kind))
    }

    fn update(&mut self, handle: u32, value: i64) -> Result<()> {
        // While a plugin is created there is no worker to count for.
        if self.creating.is_some() {
            return Ok(());
        }
        active(|visit| {
            let local = &visit.local;
            let mut known = local.metrics.borrow_mut();
            if handle as usize >= known.len() {
                *known = local.plugin.metrics.all();
            }
            let Some(metric) = known.get(handle as usize) else { return Ok(()) };
            match (metric.kind(), u64::try_from(value)) {
                (GuestKind::Counter, Ok(value)) => metric.add(local.worker, value),
                (GuestKind::Histogram, Ok(value)) => metric.observe(local.worker, value),
                (GuestKind::Gauge, _) => metric.set(value as f64),
                (GuestKind::Counter | GuestKind::Histogram, Err(_)) => {}
            }
            Ok(())
        })
    }
}

impl Data {
    fn space<R>(&mut self, f: impl FnOnce(&Space) -> R) -> Result<R> {
        self.plugin(|plugin, _| f(&plugin.kv))
    }
}

impl kv::Host for Data {
    fn get(&mut self, key: String) -> Result<Option<kv::Entry>> {
        let found = self.space(|space| space.get(&key, Instant::now()))?;
        Ok(found.map(|(value, version)| kv::Entry { value, version }))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<Result<(), kv::KvError>> {
        let set = self.space(|space| space.set(&key, value, ttl(ttl_ms), Instant::now()))?;
        Ok(set.map(drop).map_err(refused))
    }

    fn delete(&mut self, key: String) -> Result<bool> {
        self.space(|space| space.delete(&key, Instant::now()))
    }

    fn compare_and_set(
        &mut self,
        key: String,
        version: u64,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Result<u64, kv::KvError>> {
        let set = self.space(|space| space.compare_and_set(&key, version, value, ttl(ttl_ms), Instant::now()))?;
        Ok(set.map_err(refused))
    }

    fn add(&mut self, key: String, by: i64, ttl_ms: Option<u64>) -> Result<Result<i64, kv::KvError>> {
        Ok(self.space(|space| space.add(&key, by, ttl(ttl_ms), Instant::now()))?.map_err(refused))
    }
}

fn ttl(ttl_ms: Option<u64>) -> Option<Duration> {
    ttl_ms.map(Duration::from_millis)
}

const fn refused(refused: Refused) -> kv::KvError {
    match refused {
        Refused::Full => kv::KvError::Full,
        Refused::Conflict => kv::KvError::Conflict,
        Refused::TooLarge => kv::KvError::TooLarge,
    }
}
