//! A plugin: a module with a configuration, limits and grants, as every worker shares it. Made when a configuration is
//! compiled; never changed after.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    compile::Module,
    native::types::{BodyMode, Declaration, Phases},
    proxy_wasm::Habits,
    standing::Standing,
};
use crate::{
    config::spec::{self, FailurePolicy, Isolation, Name, PluginLimits},
    exchange::Call,
    state::kv::Space,
    telemetry::{
        Metrics, PluginSeries,
        metrics::{GuestKind, GuestMetric},
    },
};

/// A plugin.
pub(super) struct Plugin {
    /// Unique in the life of the process; what a guest knows its plugins by.
    pub(super) id: u64,
    /// The middleware's name.
    pub(super) name: Name,
    /// Its configuration: JSON text, or for Proxy-Wasm a text as it is.
    pub(super) config: String,
    pub(super) module: Arc<Module>,
    pub(super) limits: PluginLimits,
    /// Linear memory of one guest.
    pub(super) memory_bytes_max: usize,
    pub(super) on_failure: FailurePolicy,
    /// Where it is told how it does, with the policy `previous`.
    pub(super) standing: Option<Arc<Standing>>,
    pub(super) isolation: Isolation,
    /// What only modules of Proxy-Wasm are told.
    pub(super) proxy_wasm: spec::ProxyWasm,
    /// What was seen of modules of Proxy-Wasm.
    pub(super) habits: Habits,
    /// Environment variables, for modules that have WASI.
    pub(super) environment: Vec<(String, String)>,
    pub(super) grants: BTreeMap<Name, Arc<dyn Call>>,
    pub(super) kv: Arc<Space>,
    pub(super) series: Arc<PluginSeries>,
    pub(super) metrics: Defined,
    /// What it is called for; set before the plugin is given to anybody.
    pub(super) calls: OnceLock<Calls>,
}

/// What a plugin is called for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) request: bool,
    pub(super) response: bool,
    pub(super) end: bool,
    pub(super) request_body: Option<Mode>,
    pub(super) response_body: Option<Mode>,
}

/// How it sees a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Streamed,
    /// Whole, up to this many bytes.
    Buffered(usize),
}

/// How long a call may hold its worker. What may take longer runs on a stack of its own and gives way at each tick.
const AT_ONCE_MAX: Duration = Duration::from_millis(2);

impl Plugin {
    /// A number for [`Plugin::id`].
    pub(super) fn next_id() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Relaxed)
    }

    /// What it is called for.
    pub(super) fn calls(&self) -> Calls {
        self.calls.get().copied().unwrap_or_default()
    }

    /// Whether it is called at once, on the worker's own stack: it cannot wait, and may hold the worker for
    /// [`AT_ONCE_MAX`] at most.
    pub(super) fn is_prompt(&self) -> bool {
        !self.module.native().waits
            && self.limits.call_timeout <= AT_ONCE_MAX
            && self.isolation == Isolation::Reused
            && !self.calls().overlap()
    }
}

impl Calls {
    /// What a plugin declared, within its limits.
    pub(super) fn of(declared: &Declaration, limits: &PluginLimits) -> Self {
        let mode = |mode: &Option<BodyMode>| match mode {
            Some(BodyMode::Streamed) => Some(Mode::Streamed),
            Some(BodyMode::Buffered(bytes)) => Some(Mode::Buffered((*bytes as usize).min(limits.buffer_bytes_max))),
            None => None,
        };
        Self {
            request: declared.phases.contains(Phases::REQUEST),
            response: declared.phases.contains(Phases::RESPONSE),
            end: declared.phases.contains(Phases::END),
            request_body: mode(&declared.request_body),
            response_body: mode(&declared.response_body),
        }
    }

    /// Whether two phases of one exchange may be due at the same time.
    pub(super) fn overlap(self) -> bool {
        self.request_body == Some(Mode::Streamed)
    }
}

/// The metrics that a plugin has defined, by handle.
pub(super) struct Defined {
    metrics: Arc<Metrics>,
    defined: Mutex<Vec<(String, Arc<GuestMetric>)>>,
}

impl Defined {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, defined: Mutex::default() }
    }

    /// The handle of a metric of `plugin`.
    pub(super) fn define(&self, plugin: &str, name: &str, kind: GuestKind) -> Option<u32> {
        let mut defined = self.defined.lock().unwrap_or_else(PoisonError::into_inner);
        let position = defined.iter().position(|(known, metric)| known == name && metric.kind() == kind);
        let position = match position {
            Some(position) => position,
            None => {
                defined.push((name.to_owned(), self.metrics.guest(plugin, name, kind)?));
                defined.len() - 1
            }
        };
        u32::try_from(position).ok()
    }

    /// All of them. Takes a lock: each worker keeps a copy.
    pub(super) fn all(&self) -> Vec<Arc<GuestMetric>> {
        let defined = self.defined.lock().unwrap_or_else(PoisonError::into_inner);
        defined.iter().map(|(_, metric)| Arc::clone(metric)).collect()
    }
}
