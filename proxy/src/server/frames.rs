//! Counts what an HTTP/2 client makes the gateway do without asking for anything: control frames and reset streams
//! (rapid reset, CVE-2023-44487; settings, ping and CONTINUATION floods; empty DATA). Reads frame headers as they come
//! by (RFC 9113 section 4.1) and nothing of what is in them. Pure but for the time, which is passed in.

use std::time::{Duration, Instant};

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Control frames in [`CONTROL_WINDOW`].
    pub(super) control_frames_max: u32,
    /// Reset streams in [`RESET_WINDOW`], beyond those that ended well.
    pub(super) resets_max: u32,
}

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    budget: Budget,
    // Bytes until the next frame header; first the preface.
    skip: usize,
    // And the payload of a WINDOW_UPDATE.
    header: [u8; HEADER_BYTES + 4],
    known: usize,
    control: Window,
    resets: Window,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    count: u32,
    // How many streams had ended well when it began.
    ended: u64,
}

impl Frames {
    /// A connection whose preface has not been fed yet.
    pub(super) fn new(budget: Budget, now: Instant) -> Self {
        let window = || Window { since: now, count: 0, ended: 0 };
        let (control, resets) = (window(), window());
        Self { budget, skip: PREFACE_BYTES, header: [0; HEADER_BYTES + 4], known: 0, control, resets }
    }

    /// Counts what is in `bytes`, which follow on what was fed before. `ended` is how many streams ended well so far.
    ///
    /// # Errors
    /// What there was too much of, for the log.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now: Instant, ended: u64) -> Result<(), &'static str> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let piece = (self.wanted() - self.known).min(bytes.len());
            self.header[self.known..self.known + piece].copy_from_slice(&bytes[..piece]);
            self.known += piece;
            bytes = &bytes[piece..];
            if self.known < self.wanted() {
                if bytes.is_empty() {
                    return Ok(());
                }
                continue;
            }
            self.skip = self.length() + HEADER_BYTES - self.known;
            self.known = 0;
            self.count((now, ended))?;
        }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.header;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    // How many bytes of a frame are looked at.
    fn wanted(&self) -> usize {
        let with_payload = self.known >= HEADER_BYTES && self.header[3] == WINDOW_UPDATE && self.length() == 4;
        if with_payload { HEADER_BYTES + 4 } else { HEADER_BYTES }
    }

    fn count(&mut self, (now, ended): (Instant, u64)) -> Result<(), &'static str> {
        let [_, _, _, kind, flags, .., a, b, c, d] = self.header;
        match kind {
            DATA if self.length() > 0 || flags & END_STREAM != 0 => {}
            HEADERS => {}
            // A fast reader sends many; one that lets a response trickle sends small ones.
            WINDOW_UPDATE if u32::from_be_bytes([a, b, c, d]) >= INCREMENT_BYTES_MIN => {}
            RST_STREAM => {
                self.resets.add(now, RESET_WINDOW, ended);
                let forgiven = u32::try_from(ended - self.resets.ended).unwrap_or(u32::MAX);
                if self.resets.count.saturating_sub(forgiven) > self.budget.resets_max {
                    return Err("too many reset streams");
                }
            }
            _ => {
                self.control.add(now, CONTROL_WINDOW, ended);
                if self.control.count > self.budget.control_frames_max {
                    return Err("too many control frames");
                }
            }
        }
        Ok(())
    }
}

impl Window {
    fn add(&mut self, now: Instant, length: Duration, ended: u64) {
        if now.saturating_duration_since(self.since) > length {
            *self = Self { since: now, count: 0, ended };
        }
        self.count = self.count.saturating_add(1);
    }
}

/// Over which time control frames are counted.
pub(super) const CONTROL_WINDOW: Duration = Duration::from_secs(10);
/// Over which time reset streams are counted.
pub(super) const RESET_WINDOW: Duration = Duration::from_secs(30);
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
// Smaller ones count as control frames.
const INCREMENT_BYTES_MIN: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    // Whether so many of `frame` are one too many, with a budget of 10 each, however they are cut.
    fn is_too_much(frame: &[u8], count: usize, ended: u64) -> bool {
        let (now, budget) = (Instant::now(), Budget { control_frames_max: 10, resets_max: 10 });
        let bytes = [PREFACE, &frame.repeat(count)].concat();
        let outcomes: Vec<_> = [1, 5, 9, 1000]
            .into_iter()
            .map(|piece| {
                let mut frames = Frames::new(budget, now);
                bytes.chunks(piece).try_for_each(|bytes| frames.feed(bytes, now, ended)).is_err()
            })
            .collect();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
        outcomes[0]
    }

    #[test]
    fn frames_that_ask_for_nothing_are_counted_and_the_others_are_not() {
        let ping = frame(6, 0, b"12345678");
        let (settings, priority, continuation) = (frame(4, 0, b""), frame(2, 0, b"12345"), frame(9, 0, b"x"));
        let trickle = frame(8, 0, b"\0\0\0\x01");
        for flood in [ping, settings, priority, continuation, trickle, frame(0, 0, b""), frame(0x77, 0, b"")] {
            assert!(!is_too_much(&flood, 10, 0), "{flood:?}");
            assert!(is_too_much(&flood, 11, 0), "{flood:?}");
        }
        for good in [frame(0, 0, b"data"), frame(0, 1, b""), frame(1, 5, b"x"), frame(8, 0, b"\0\0\x01\0")] {
            assert!(!is_too_much(&good, 100, 0), "{good:?}");
        }
    }

    #[test]
    fn resets_are_weighed_against_streams_that_ended() {
        let reset = frame(3, 0, b"\0\0\0\x08");
        assert!(!is_too_much(&reset, 10, 0));
        assert!(is_too_much(&reset, 11, 0));
        assert!(!is_too_much(&reset, 15, 5));
        assert!(is_too_much(&reset, 16, 5));
    }

    #[test]
    fn a_window_ends() {
        let (now, budget) = (Instant::now(), Budget { control_frames_max: 1, resets_max: 1 });
        let mut frames = Frames::new(budget, now);
        frames.feed(PREFACE, now, 0).unwrap();
        let ping = frame(6, 0, b"12345678");
        frames.feed(&ping, now, 0).unwrap();
        frames.feed(&ping, now + CONTROL_WINDOW * 2, 0).unwrap();
        assert!(frames.feed(&ping, now + CONTROL_WINDOW * 2, 0).is_err());
    }
}
