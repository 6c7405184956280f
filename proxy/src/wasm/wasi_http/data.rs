//! What a guest's store holds: WASI's own state, bounds, and the way out for its requests. Nothing of any exchange,
//! which the host functions find by [`super::handling`].

use std::{sync::Arc, time::Instant};

use http::{
    HeaderMap, Request, Response,
    header::{CONTENT_LENGTH, TE},
};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{HostMonotonicClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as WasiError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    p2::body::HostOutgoingBody,
};

use super::{
    Shared, handling, outgoing,
    output::{Output, Stream},
};
use crate::{exchange::is_framing, wasm::slice};

/// See the module.
pub(in crate::wasm) struct Data {
    pub(super) shared: Arc<Shared>,
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    limits: Limits,
}

/// Handles that a guest may hold at a time, of all kinds: its fields, bodies, streams, pollables.
const HANDLES_MAX: usize = 16 * 1024;
/// Bytes of one set of fields, as they lie in memory.
const FIELDS_BYTES_MAX: usize = 128 << 10;
/// Bytes that a guest writes to a body at a time; as many again may wait for whoever reads.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Random bytes that a guest asks for at a time.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// What the host may set aside for the arguments of one call.
const ARGUMENT_BYTES_MAX: usize = 16 << 20;

/// A store for one guest: bounded in memory, and in time by whoever drops the call.
pub(super) fn store(shared: &Arc<Shared>) -> Store<Data> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES_MAX);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(FIELDS_BYTES_MAX);
    let limits = Limits { memory_bytes_max: shared.plugin.memory_bytes_max, memory_bytes: 0, denied: None };
    let data = Data { wasi: wasi(shared), shared: Arc::clone(shared), table, http, hooks: Hooks, limits };
    let mut store = Store::new(&shared.plugin.module.wasi_http().filters.engine, data);
    store.limiter(|data| &mut data.limits);
    store.set_hostcall_fuel(ARGUMENT_BYTES_MAX);
    store.set_epoch_deadline(slice::FIRST);
    store.epoch_deadline_callback(|_| {
        handling::with_active(|handling| handling.gives_way.set(true));
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(give_way())))
    });
    store
}

async fn give_way() {
    slice::over().await;
    handling::with_active(|handling| handling.gives_way.set(false));
}

// Nothing of the machine: no files, no sockets, no names, no arguments, and clocks that begin with the process.
fn wasi(shared: &Shared) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder
        .envs(&shared.settings.environment)
        .stdout(Output(Stream::Stdout))
        .stderr(Output(Stream::Stderr))
        .monotonic_clock(SinceStart)
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
}

// A guest learns nothing of how long the machine has been up.
struct SinceStart;

impl HostMonotonicClock for SinceStart {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        u64::try_from(STARTED.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Data {
    /// Whether there is a body that the guest began and did not finish.
    pub(super) fn has_unfinished_body(&mut self) -> bool {
        self.table.iter_mut().any(|held| held.is::<HostOutgoingBody>())
    }

    /// What the guest asked for beyond its limits, if that is why it failed.
    pub(super) fn denied(&self) -> Option<String> {
        self.limits.denied.map(|asked| {
            format!(
                "it was refused {asked} bytes of memory: its limit is {} (`limits: {{memory-bytes-max: …}}`)",
                self.limits.memory_bytes_max
            )
        })
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Data {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

struct Hooks;

type Ending = Box<dyn Future<Output = Result<(), WasiError>> + Send>;
type Answered = Result<(Response<WasiBody>, Ending), WasiError>;

impl WasiHttpHooks for Hooks {
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Ending,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let begun = outgoing::begin(request, options.unwrap_or_default());
        Box::new(async move {
            let answer = begun?.answer().await?;
            Ok((answer, Box::new(std::future::ready(Ok(()))) as Ending))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }
}

/// The bounds of one guest; its memories count together.
struct Limits {
    memory_bytes_max: usize,
    memory_bytes: usize,
    denied: Option<usize>,
}

const TABLE_ELEMENTS_MAX: usize = 100_000;
const INSTANCES_MAX: usize = 512;
const MEMORIES_MAX: usize = 16;

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.memory_bytes_max {
            self.denied = Some(total);
            return Ok(false);
        }
        self.memory_bytes = total;
        handling::with_active(|handling| handling.remember(total));
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

/// Takes out what a guest may not say of a message: all that frames it but its length, which is checked against what is
/// written, and whether trailers are welcome.
pub(super) fn strip(fields: &mut HeaderMap) {
    let kept = [CONTENT_LENGTH, TE];
    let framing: Vec<_> = fields.keys().filter(|name| is_framing(name) && !kept.contains(name)).cloned().collect();
    for name in framing {
        fields.remove(name);
    }
}
