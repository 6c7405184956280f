//! What guests print: lines of standard output and standard error become messages of the process log, so many a second,
//! each so long.

use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::{handling, local::Local};
use crate::wasm::{
    budget::Allowance,
    journal::{self, Level},
};

/// One of the two, of whichever exchange is under way.
#[derive(Clone, Copy)]
pub(super) struct Output(pub(super) Stream);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Bytes that a guest writes at a time.
const WRITE_BYTES_MAX: usize = 64 << 10;

impl Stream {
    /// How much what is printed there matters.
    pub(super) const fn level(self) -> Level {
        match self {
            Self::Stdout => Level::Info,
            Self::Stderr => Level::Warn,
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(*self)
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // While a guest is tried out there is no exchange, and nobody to read.
        handling::with_active(|handling| {
            let mut lines = handling.lines(self.0).borrow_mut();
            lines.push(&bytes, handling.local.shared.plugin.limits.log_bytes_max, |line| {
                handling.log(self.0.level(), line);
            });
        });
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

/// What was written and is no whole line yet.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// The line is over its limit: what follows is left out, up to its end.
    over: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], bytes_max: usize, mut line: impl FnMut(String)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            if !self.over {
                let room = bytes_max.saturating_sub(self.rest.len());
                self.rest.extend_from_slice(&text[..text.len().min(room)]);
                self.over = text.len() > room;
            }
            if ends {
                self.end(&mut line);
            }
        }
    }

    /// What is left of it when the guest ends.
    pub(super) fn end(&mut self, line: impl FnOnce(String)) {
        let text = String::from_utf8_lossy(&self.rest);
        let text = text.trim_end_matches('\r');
        if !text.is_empty() {
            line(text.to_owned());
        }
        self.rest.clear();
        self.over = false;
    }
}

/// Writes a message, if there may be one more.
pub(super) fn write(local: &Local, generation: u64, level: Level, message: &str) {
    let Allowance::Write { dropped } = local.log.take(Instant::now()) else { return };
    journal::write(&local.name, Some(generation), dropped, level, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_cut_at_their_limit() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for part in ["on", "e\ntwo\r\n\nfar too long a ", "line\nla", "st"] {
            lines.push(part.as_bytes(), 8, |line| seen.push(line));
        }
        lines.end(|line| seen.push(line));
        assert_eq!(seen, ["one", "two", "far too ", "last"]);
    }
}
