//! What the store of a guest holds: its plugin, and what it said while it started. Nothing of any exchange, because it
//! must be `Send`: those are on the worker, in sight while a call runs.

use std::sync::Arc;

use wasmtime::{Caller, Memory};

use super::host;
use crate::wasm::{guest::Limits, journal::Level, memory::Holds, plugin::Plugin, preview1::Wasi};

/// See the module.
pub(in crate::wasm) struct Data {
    pub(super) limits: Limits,
    pub(super) plugin: Arc<Plugin>,
    pub(super) memory: Option<Memory>,
    /// Features that it enabled while it started: those of every exchange.
    pub(super) features: u32,
    /// The last that it said while it started, in case it fails.
    pub(super) said: Vec<String>,
    /// How much it said while it started.
    pub(super) lines: u32,
}

impl Data {
    /// Of a guest of `plugin` that is not there yet.
    pub(super) fn new(plugin: &Arc<Plugin>) -> Self {
        Self {
            limits: Limits::new(plugin.memory_bytes_max),
            plugin: Arc::clone(plugin),
            memory: None,
            features: 0,
            said: Vec::new(),
            lines: 0,
        }
    }
}

impl Holds for Data {
    fn memory(&mut self) -> &mut Option<Memory> {
        &mut self.memory
    }
}

impl Wasi for Data {
    const SLEEPS: bool = true;

    fn environment(&self) -> &[(String, String)] {
        &self.plugin.environment
    }

    fn line_bytes_max(guest: &mut Caller<'_, Self>) -> usize {
        guest.data().plugin.limits.log_bytes_max
    }

    fn print(guest: &mut Caller<'_, Self>, level: Level, line: &str) {
        host::say(guest, level, line);
    }
}
