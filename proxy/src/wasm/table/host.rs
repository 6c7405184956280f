//! What the gateway provides to tables: the head of the request that is asked about, and the log. Everything is read
//! off the store; a table can change nothing.

use std::time::Instant;

use http::header;
use wasmtime::Result;

use super::bindings::tidegate::table::{log, request, types};
use crate::{
    config::spec::Name,
    exchange::Asked,
    wasm::{
        budget::{Allowance, LogBudget},
        guest::Limits,
    },
};

/// What a table's store holds.
pub(in crate::wasm) struct TableData {
    pub(super) limits: Limits,
    /// The request of the present call, if it has one.
    pub(super) asked: Option<Asked>,
    table: Name,
    log_bytes_max: usize,
    log: LogBudget,
}

impl TableData {
    pub(super) fn new(table: &Name, memory_bytes_max: usize, log_bytes_max: usize) -> Self {
        let (limits, table) = (Limits::new(memory_bytes_max), Name::clone(table));
        Self { limits, asked: None, table, log_bytes_max, log: LogBudget::default() }
    }

    fn asked(&self) -> Result<&Asked> {
        self.asked.as_ref().ok_or_else(|| wasmtime::Error::msg("no request is under way: a table is being made"))
    }
}

impl types::Host for TableData {}

impl request::Host for TableData {
    fn method(&mut self) -> Result<String> {
        Ok(self.asked()?.head.method.as_str().to_owned())
    }

    fn authority(&mut self) -> Result<String> {
        Ok(self.asked()?.authority.as_str().to_owned())
    }

    fn path(&mut self) -> Result<String> {
        Ok(self.asked()?.head.uri.path().to_owned())
    }

    fn query(&mut self) -> Result<Option<String>> {
        Ok(self.asked()?.head.uri.query().map(str::to_owned))
    }

    fn header(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        Ok(self.asked()?.head.headers.get(name).map(|value| value.as_bytes().to_vec()))
    }

    fn header_values(&mut self, name: String) -> Result<Vec<Vec<u8>>> {
        Ok(self.asked()?.head.headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    fn cookie(&mut self, name: String) -> Result<Option<String>> {
        let lines = self.asked()?.head.headers.get_all(header::COOKIE);
        Ok(lines.iter().filter_map(|line| line.to_str().ok()).find_map(|line| cookie(line, &name)))
    }

    fn client_address(&mut self) -> Result<String> {
        Ok(self.asked()?.client.to_string())
    }

    fn secure(&mut self) -> Result<bool> {
        Ok(self.asked()?.secure)
    }

    fn listener(&mut self) -> Result<String> {
        Ok(self.asked()?.listener.to_string())
    }
}

// RFC 6265 section 4.2.1: pairs between `; `, a value perhaps in quotes.
fn cookie(line: &str, name: &str) -> Option<String> {
    let pairs = line.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(bare.unwrap_or(value).to_owned())
}

impl log::Host for TableData {
    fn write(&mut self, level: log::Level, mut message: String) -> Result<()> {
        message.truncate(message.floor_char_boundary(self.log_bytes_max));
        let Allowance::Write { dropped } = self.log.take(Instant::now()) else { return Ok(()) };
        let (table, generation) = (&*self.table, self.asked.as_ref().map(|asked| asked.generation));
        if dropped > 0 {
            tracing::warn!(target: "table", table, dropped, "the table logs too much");
        }
        match level {
            log::Level::Trace => tracing::trace!(target: "table", table, generation, "{message}"),
            log::Level::Debug => tracing::debug!(target: "table", table, generation, "{message}"),
            log::Level::Info => tracing::info!(target: "table", table, generation, "{message}"),
            log::Level::Warn => tracing::warn!(target: "table", table, generation, "{message}"),
            log::Level::Error => tracing::error!(target: "table", table, generation, "{message}"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::cookie;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let line = "a=1; canary=on; b=\"quoted\"; c=x=y; a=2";
        let cases = [
            ("a", Some("1")),
            ("canary", Some("on")),
            ("b", Some("quoted")),
            ("c", Some("x=y")),
            ("nary", None),
            ("d", None),
        ];
        for (name, expected) in cases {
            assert_eq!(cookie(line, name).as_deref(), expected, "{name}");
        }
    }
}
