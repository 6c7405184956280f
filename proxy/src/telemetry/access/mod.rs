//! The access log: one line for each exchange, formatted on its worker, written by one thread of its own. Bounded: a
//! line that finds no room is dropped and counted. A configuration's target and form are a [`Sink`], held by its
//! snapshot; the queues and the thread are the [`Log`], held by the process. Knows nothing of who serves the exchange.

mod escape;
mod format;
mod ring;
mod writer;

use std::{cell::RefCell, fmt, io, sync::Arc, time::Duration};

use http::{HeaderValue, Method};

use self::{
    format::{Format, Scratch},
    writer::{Hub, Target, Writer},
};
use super::metrics::Metrics;
use crate::{
    config::spec,
    exchange::{Exchange, Outcome},
};

/// What a line is made of, beside what the exchange itself knows.
#[derive(Debug)]
pub struct Line<'a> {
    /// The exchange, its record included.
    pub exchange: &'a Exchange,
    /// As the client sent it.
    pub method: &'a Method,
    /// `Host` or `:authority`.
    pub authority: &'a str,
    /// Path and query, as routed.
    pub path: &'a str,
    /// The request's field.
    pub user_agent: Option<&'a HeaderValue>,
    /// The request's field.
    pub referer: Option<&'a HeaderValue>,
    /// How it ended.
    pub outcome: &'a Outcome,
}

/// The access log of the process: a queue a worker, and the thread that writes.
#[derive(Debug)]
pub struct Log {
    hub: Arc<Hub>,
    writer: Writer,
}

/// Where the lines of one configuration go, and in which form. The default one is off.
#[derive(Default)]
pub struct Sink(Option<Open>);

struct Open {
    format: Format,
    target: Arc<Target>,
    hub: Arc<Hub>,
    // The operator's limit is of the process; each worker has its share of it.
    lines_max: u64,
}

/// Bytes of one line; a longer one is dropped and counted. Each field is cut long before, so only a plugin that notes
/// very many attributes gets here.
const LINE_BYTES_MAX: usize = 64 * 1024;

impl Log {
    /// Starts the writing thread. Drops are counted in `metrics`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(workers: usize, metrics: Arc<Metrics>) -> io::Result<Self> {
        let hub = Hub::new(workers, metrics);
        Ok(Self { writer: Writer::start(Arc::clone(&hub))?, hub })
    }

    /// The sink of a configuration; opens its file if that is not open yet.
    ///
    /// # Errors
    /// In words, for the operator: the file cannot be opened, or the format names a field that there is not.
    pub fn sink(&self, spec: &spec::AccessLog) -> Result<Arc<Sink>, String> {
        let format = Format::new(&spec.format)?;
        let Some(to) = &spec.to else { return Ok(Arc::default()) };
        let lines_max = spec.queue_lines_max.div_ceil(self.hub.workers().max(1)) as u64;
        let target = self.hub.target(to)?;
        Ok(Arc::new(Sink(Some(Open { format, target, hub: Arc::clone(&self.hub), lines_max }))))
    }

    /// Opens every file anew, by its name: whoever rotates logs renames the file and sends `USR1`. A file that cannot
    /// be opened is written on as it is.
    pub fn reopen(&self) {
        self.hub.ask_to_reopen();
    }

    /// Writes what is queued and ends the thread; waits for it as long as `deadline`, and answers whether all was
    /// written. Blocks: not for a worker.
    pub fn close(&self, deadline: Duration) -> bool {
        self.hub.ask_to_end();
        self.writer.wait(deadline)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.hub.ask_to_end();
    }
}

impl Sink {
    /// Whether [`Sink::write`] does anything: to spare the caller the making of a line.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a line, on the thread of `worker`. Never waits.
    pub fn write(&self, worker: usize, line: &Line<'_>) {
        let Some(open) = &self.0 else { return };
        let scratch = line.exchange.worker.locals.of::<RefCell<Scratch>>();
        let mut scratch = scratch.borrow_mut();
        let text = open.format.line(line, &mut scratch);
        if text.len() > LINE_BYTES_MAX || !open.hub.push(worker, open.target.id, text, open.lines_max) {
            open.hub.dropped(worker);
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Sink(off)"),
            Some(open) => write!(f, "Sink({:?})", open.target),
        }
    }
}

#[cfg(test)]
mod tests;
