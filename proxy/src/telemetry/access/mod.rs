//! The access log: one line for each exchange, formatted on its worker, written by one thread of its own. Bounded:
//! a line that finds no room is dropped and counted. Knows nothing of who serves the exchange.

use http::{HeaderValue, Method};

use crate::exchange::{Exchange, Outcome};

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

/// Where the lines of one configuration go, and in which form. Held by its snapshot. The default one is off.
#[derive(Debug, Default)]
pub struct Sink {}

impl Sink {
    /// Whether [`Sink::write`] does anything: to spare the caller the making of a line.
    #[inline]
    pub const fn is_on(&self) -> bool {
        false
    }

    /// Writes a line, on the thread of `worker`. Never waits.
    pub fn write(&self, _worker: usize, _line: &Line<'_>) {}
}
