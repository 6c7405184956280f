//! The engine that filters run on, its memory pools, and the thread that ticks its epochs. Knows no plugin and no ABI.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::{LoadError, slice};

/// How memory for guests is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSpace {
    /// 4 GiB of address space for each guest, so that memory accesses need no check. The default; where the machine
    /// refuses it (`ulimit -v`, a container's limit), [`AddressSpace::Small`] is taken and a line in the log says so.
    Full,
    /// No reservation: slower guests, in as little address space as they use.
    Small,
}

/// What the guests of one engine need, each, at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Instances of core modules.
    pub(super) core_instances: u32,
    pub(super) tables: u32,
    pub(super) table_elements: usize,
}

/// Plugins of one core module: a component with imports takes three instances and tables of its own for them. A program in
/// Go has an element for each of its functions: some 2,500 where it greets, and tens of thousands where it does much.
pub(super) const PLUGINS: Shape = Shape { core_instances: 4, tables: 4, table_elements: 131_072 };

/// Slots without a guest whose memory is kept for the next: together with what is kept of each, what the process does not
/// give back when plugins that used much are gone. With more, a module that comes anew would take one never used before.
const WARM_SLOTS_MAX: u32 = 32;

/// The length of a tick: how long a guest that computes delays the other exchanges of its worker.
const TICK: Duration = Duration::from_millis(1);
/// The same while some guest computes from tick to tick: calls that begin at the same time each have what is left of one
/// before they take turns, and all the others wait for it. Waking four times as often costs a hundredth of a core.
const TICK_BUSY: Duration = Duration::from_micros(250);
/// Ticks for which a guest that computed is remembered.
const TICKS_BUSY: u32 = 400;

/// An engine and how it came to be.
#[derive(Clone)]
pub(super) struct Filters {
    pub(super) engine: Engine,
    pub(super) ticker: Arc<Ticker>,
}

impl Filters {
    /// An engine with room for `slots` guests of one shape at a time.
    pub(super) fn new(slots: u32, shape: Shape, space: AddressSpace) -> Result<Self, LoadError> {
        let engine = match space {
            AddressSpace::Full => Engine::new(&pooled(slots, shape)).or_else(|error| {
                tracing::warn!(%error, "no address space for {slots} guest slots; running in small address space, where guests are slower");
                Engine::new(&on_demand())
            }),
            AddressSpace::Small => Engine::new(&on_demand()),
        }
        .map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let (ticker, _) = Ticker::start(engine.weak()).map_err(|error| LoadError::Engine(error.to_string()))?;
        Ok(Self { engine, ticker })
    }
}

fn base() -> Config {
    let mut config = Config::new();
    config
        // Component async makes every call 2 to 5 times dearer.
        .concurrency_support(false)
        .epoch_interruption(true)
        // No interface has addresses of 64 bits, and `bulk` no steps for them.
        .wasm_memory64(false)
        .max_wasm_stack(512 << 10)
        // What is left beyond the guest's share is for our own host functions.
        .async_stack_size(1 << 20)
        // A stack overflow with a full backtrace takes ten times as long.
        .wasm_backtrace_max_frames(NonZeroUsize::new(16))
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable)
        .parallel_compilation(true);
    config
}

fn pooled(slots: u32, shape: Shape) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(shape.core_instances))
        .total_tables(slots.saturating_mul(shape.tables))
        .table_elements(shape.table_elements)
        .total_memories(slots)
        .total_stacks(slots)
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .linear_memory_keep_resident(if kernel_scans_pagemap() { 128 << 10 } else { 64 << 10 })
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

fn on_demand() -> Config {
    let mut config = base();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(64 << 10);
    config
}

// PAGEMAP_SCAN came with Linux 6.7: without it every kept page is cleared by hand.
fn kernel_scans_pagemap() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 7)
}

/// Ticks an engine's epochs while guests run, and rests while none does.
#[derive(Debug)]
pub(super) struct Ticker {
    /// One for each worker, and the last for the control plane.
    shards: Box<[Shard]>,
    /// Of the first, those that any worker has used: looking at the others at each tick would cost more than the tick.
    used: AtomicUsize,
    /// Written by its thread alone.
    ticks: AtomicU64,
    resting: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
}

// A cache line pair of its own: written at each call by its worker, read at each tick.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Shard {
    /// Calls that began and calls that ended.
    began: AtomicU64,
    ended: AtomicU64,
}

/// One call that is under way, for the ticker.
pub(super) struct Running<'a>(&'a Shard);

// More workers than shards share one, by way of a locked instruction.
const SHARDS: usize = 64;
/// That of the control plane.
const BESIDE: usize = SHARDS - 1;
/// Ticks without a call: a call that comes in a rest wakes the thread, which costs about as much as one tick.
const TICKS_UNTIL_REST: u32 = 10;

impl Ticker {
    // Its thread ends by itself once the ticker is gone.
    fn start(engine: EngineWeak) -> std::io::Result<(Arc<Self>, JoinHandle<()>)> {
        let ticker = Arc::new(Self::still());
        let weak = Arc::downgrade(&ticker);
        let handle = thread::Builder::new().name("wasm-ticks".into()).spawn(move || {
            let (mut idle, mut seen) = (0, 0);
            let (mut busy, mut given) = (0_u32, 0);
            while let (Some(engine), Some(ticker)) = (engine.upgrade(), weak.upgrade()) {
                engine.increment_epoch();
                ticker.tick(1);
                let (began, ended) = ticker.count();
                idle = if began == seen && began == ended { idle + 1 } else { 0 };
                seen = began;
                let mut rest = idle >= TICKS_UNTIL_REST;
                ticker.resting.store(rest, SeqCst);
                // A call that began before it could know of the rest wakes nobody.
                if rest && ticker.count().0 != seen {
                    rest = false;
                    ticker.resting.store(false, SeqCst);
                }
                busy = if slice::given() == given { busy.saturating_sub(1) } else { TICKS_BUSY };
                given = slice::given();
                drop((engine, ticker));
                match busy {
                    _ if rest => thread::park(),
                    0 => thread::park_timeout(TICK),
                    _ => thread::park_timeout(TICK_BUSY),
                }
            }
        })?;
        // Set before anybody else can have the ticker.
        drop(ticker.thread.set(handle.thread().clone()));
        Ok((ticker, handle))
    }

    /// One that does not tick by itself.
    pub(super) fn still() -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        let (used, ticks, resting) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { shards, used, ticks, resting, thread: Default::default() }
    }

    /// How many times it ticked.
    #[inline]
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.load(Relaxed)
    }

    pub(super) fn tick(&self, times: u64) {
        self.ticks.store(self.ticks() + times, Relaxed);
    }

    /// Says that guest code beside the exchanges begins to run; see [`Ticker::run`].
    pub(super) fn run_beside(&self) -> Running<'_> {
        self.run(BESIDE)
    }

    /// Says that a call on `worker` begins; it ends when the answer is dropped.
    #[inline]
    pub(super) fn run(&self, worker: usize) -> Running<'_> {
        let at = worker % SHARDS;
        let shard = &self.shards[at];
        if at >= self.used.load(Relaxed) && at != BESIDE {
            self.used.fetch_max(at + 1, SeqCst);
        }
        // Either the ticker sees this call before it rests, or this call sees that it does.
        shard.began.fetch_add(1, SeqCst);
        if self.resting.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        Running(shard)
    }

    fn count(&self) -> (u64, u64) {
        let (workers, beside) = (&self.shards[..self.used.load(SeqCst)], &self.shards[BESIDE]);
        let sum =
            |of: fn(&Shard) -> &AtomicU64| workers.iter().chain([beside]).map(|shard| of(shard).load(SeqCst)).sum();
        // Ended first: a call that ends in between then counts as running.
        let ended = sum(|shard| &shard.ended);
        (sum(|shard| &shard.began), ended)
    }
}

// Its thread is to see that, should it rest.
impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_small_address_space_is_enough_for_an_engine() {
        assert!(Filters::new(4, PLUGINS, AddressSpace::Small).is_ok());
    }

    #[test]
    fn the_thread_rests_without_calls_and_ticks_again_for_the_next() {
        let filters = Filters::new(4, PLUGINS, AddressSpace::Small).unwrap();
        let ticker = &filters.ticker;
        let until = |what: &dyn Fn() -> bool| {
            let end = Instant::now() + Duration::from_secs(10);
            while !what() {
                assert!(Instant::now() < end, "{ticker:?}");
                thread::yield_now();
            }
        };
        for round in 0..3 {
            until(&|| ticker.resting.load(SeqCst));
            let before = ticker.ticks();
            let running = ticker.run(round);
            until(&|| ticker.ticks() > before + u64::from(TICKS_UNTIL_REST));
            drop(running);
        }
    }

    #[test]
    fn the_thread_ends_with_what_it_ticks_for() {
        let engine = Engine::new(&on_demand()).unwrap();
        let (ticker, thread) = Ticker::start(engine.weak()).unwrap();
        drop(ticker);
        thread.join().unwrap();
    }

    #[test]
    fn a_running_call_is_counted_until_it_ends() {
        let filters = Filters::new(4, PLUGINS, AddressSpace::Small).unwrap();
        let running = filters.ticker.run(3);
        assert_eq!(filters.ticker.count(), (1, 0));
        drop(running);
        assert_eq!(filters.ticker.count(), (1, 1));
    }
}
