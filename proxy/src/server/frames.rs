//! Looks at what an HTTP/2 client sends before h2 does. Frames of a wrong length or place, frames of streams that the client
//! has ended, and field blocks that cannot be decoded end the connection with the code that RFC 9113 has for them, where h2
//! says less. And it counts what a client makes the gateway do without asking for anything: control frames and reset streams
//! (rapid reset, CVE-2023-44487; settings, ping and CONTINUATION floods; empty DATA). Reads frame headers as they come
//! by (RFC 9113 section 4.1), and has field blocks looked at. Pure but for the time, which is passed in.

use std::time::{Duration, Instant};

use super::hpack::{Blocks, Fault};

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
    // And the payload of a WINDOW_UPDATE, or the first of SETTINGS.
    header: [u8; HEADER_BYTES + PAYLOAD_BYTES_MAX],
    known: usize,
    control: Window,
    resets: Window,
    // Streams that the client ended last, by END_STREAM or RST_STREAM.
    ended: [u32; ENDED_STREAMS_MAX],
    next_ended: usize,
    blocks: Blocks,
    // Whether a field block is open, which nothing but CONTINUATION may follow.
    in_block: bool,
    // The part of it that is in the frame at hand.
    fragment: Option<Fragment>,
    // The newest stream that the client has opened.
    newest: u32,
}

// What is left of the frame at hand before its padding.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    // Of the priority that may stand before the block.
    priority: usize,
    block: usize,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    /// For the log.
    pub(super) what: &'static str,
    /// The error code that the client is told (RFC 9113 section 7).
    pub(super) code: u8,
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
        let (header, ended) = ([0; HEADER_BYTES + PAYLOAD_BYTES_MAX], [0; ENDED_STREAMS_MAX]);
        Self {
            budget,
            skip: PREFACE_BYTES,
            header,
            known: 0,
            control,
            resets,
            ended,
            next_ended: 0,
            blocks: Blocks::default(),
            in_block: false,
            fragment: None,
            newest: 0,
        }
    }

    /// Counts what is in `bytes`, which follow on what was fed before. `ended` is how many streams ended well so far.
    ///
    /// # Errors
    /// Why the connection has to end.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now: Instant, ended: u64) -> Result<(), Breach> {
        loop {
            bytes = self.fragment(bytes)?;
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
            self.check()?;
            self.count((now, ended)).map_err(|what| Breach { what, code: ENHANCE_YOUR_CALM })?;
            if matches!(self.header[3], HEADERS | CONTINUATION) {
                self.begin_fragment()?;
            }
        }
    }

    // A frame with a part of a field block begins. What h2 does not take at all (RFC 9113 section 4.2) is not looked at.
    fn begin_fragment(&mut self) -> Result<(), Breach> {
        let [_, _, _, kind, flags, _, _, _, _, padding, ..] = self.header;
        if self.length() > FRAME_BYTES_MAX {
            return Ok(());
        }
        let has = |flag| kind == HEADERS && flags & flag != 0;
        let padding = if has(PADDED) { usize::from(padding) } else { 0 };
        let priority = if has(PRIORITIZED) { PRIORITY_BYTES } else { 0 };
        let block = self.skip.checked_sub(padding + priority).filter(|_| self.length() > 0 || !has(PADDED));
        let block = block.ok_or(Breach { what: "more padding than frame", code: PROTOCOL_ERROR })?;
        (self.fragment, self.skip) = (Some(Fragment { priority, block }), padding);
        if kind == HEADERS {
            let stream = self.stream();
            self.blocks.begin(stream <= self.newest);
            self.newest = self.newest.max(stream);
        }
        Ok(())
    }

    // What is behind the fragment at hand.
    fn fragment<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Breach> {
        let Some(fragment) = &mut self.fragment else { return Ok(bytes) };
        let (priority, bytes) = bytes.split_at(fragment.priority.min(bytes.len()));
        let (block, bytes) = bytes.split_at(fragment.block.min(bytes.len()));
        fragment.priority -= priority.len();
        fragment.block -= block.len();
        let is_read = fragment.priority + fragment.block == 0;
        self.blocks.feed(block)?;
        if is_read {
            self.fragment = None;
            if self.header[4] & END_HEADERS != 0 {
                self.blocks.end()?;
            }
        }
        Ok(bytes)
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.header;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn stream(&self) -> u32 {
        let [_, _, _, _, _, a, b, c, d, ..] = self.header;
        u32::from_be_bytes([a & 0x7f, b, c, d])
    }

    // How many bytes of a frame are kept.
    fn wanted(&self) -> usize {
        let payload = match self.header[3] {
            _ if self.known < HEADER_BYTES => 0,
            WINDOW_UPDATE if self.length() == 4 => 4,
            SETTINGS => self.length().min(PAYLOAD_BYTES_MAX),
            HEADERS if self.header[4] & PADDED != 0 => self.length().min(1),
            _ => 0,
        };
        HEADER_BYTES + payload
    }

    // RFC 9113 sections 4.2, 4.3, 5.1 and 6.
    fn check(&mut self) -> Result<(), Breach> {
        let [_, _, _, kind, flags, ..] = self.header;
        let (length, stream) = (self.length(), self.stream());
        let fits = match kind {
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            SETTINGS if flags & ACK != 0 => length == 0,
            SETTINGS => length.is_multiple_of(6),
            PING => length == 8,
            _ => true,
        };
        if !fits {
            return Err(Breach { what: "a frame of a wrong length", code: FRAME_SIZE_ERROR });
        }
        if self.in_block && kind != CONTINUATION {
            return Err(Breach { what: "a frame within a field block", code: PROTOCOL_ERROR });
        }
        if !self.in_block && kind == CONTINUATION {
            return Err(Breach { what: "a rest of no field block", code: PROTOCOL_ERROR });
        }
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
        if kind == SETTINGS {
            let (settings, _) =
                self.header[HEADER_BYTES..HEADER_BYTES + length.min(PAYLOAD_BYTES_MAX)].as_chunks::<6>();
            if settings.iter().any(|[_, id, high, ..]| *id == INITIAL_WINDOW_SIZE && high & 0x80 != 0) {
                return Err(Breach { what: "a window over its maximum", code: FLOW_CONTROL_ERROR });
            }
        }
        if matches!(kind, DATA | HEADERS) && stream != 0 && self.ended.contains(&stream) {
            return Err(Breach { what: "a frame of a stream that it ended", code: STREAM_CLOSED });
        }
        if kind == RST_STREAM || matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.ended[self.next_ended] = stream;
            self.next_ended = (self.next_ended + 1) % ENDED_STREAMS_MAX;
        }
        Ok(())
    }

    fn count(&mut self, (now, ended): (Instant, u64)) -> Result<(), &'static str> {
        let [_, _, _, kind, flags, _, _, _, _, a, b, c, d, ..] = self.header;
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

impl From<Fault> for Breach {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Undecodable => Self { what: "a field block that cannot be decoded", code: COMPRESSION_ERROR },
            // RFC 9113 section 5.4.1: the fault of a stream may be taken for one of the connection.
            Fault::PseudoInTrailers => Self { what: "a pseudo-header in trailers", code: PROTOCOL_ERROR },
        }
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
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;
const ACK: u8 = 1;
const INITIAL_WINDOW_SIZE: u8 = 4;
const PROTOCOL_ERROR: u8 = 1;
const FLOW_CONTROL_ERROR: u8 = 3;
const STREAM_CLOSED: u8 = 5;
const FRAME_SIZE_ERROR: u8 = 6;
const COMPRESSION_ERROR: u8 = 9;
/// Of a client that makes too much of what asks for nothing.
pub(super) const ENHANCE_YOUR_CALM: u8 = 11;
const PRIORITY_BYTES: usize = 5;
// SETTINGS_MAX_FRAME_SIZE where nothing else is said, and the gateway says nothing else.
const FRAME_BYTES_MAX: usize = 16_384;
// Ten settings; those behind them h2 looks at.
const PAYLOAD_BYTES_MAX: usize = 60;
// Frames of streams that were ended before so many others are h2's to judge.
const ENDED_STREAMS_MAX: usize = 32;
// Smaller ones count as control frames.
const INCREMENT_BYTES_MIN: u32 = 256;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    // How many requests.
    const COUNT: usize = 1000;
    // `date`, from the static table.
    const FIELD: &[u8] = b"\xa1";
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn is_too_much(frame: &[u8], count: usize, ended: u64) -> bool {
        is_too_much_behind(&[], frame, count, ended)
    }

    // Whether so many of `frame` are one too many, with a budget of 10 each, however they are cut.
    fn is_too_much_behind(first: &[u8], frame: &[u8], count: usize, ended: u64) -> bool {
        let (now, budget) = (Instant::now(), Budget { control_frames_max: 10, resets_max: 10 });
        let bytes = [PREFACE, first, &frame.repeat(count)].concat();
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
        let (settings, priority, trickle) = (frame(4, 0, b""), frame(2, 0, b"12345"), frame(8, 0, b"\0\0\0\x01"));
        for flood in [ping, settings, priority, trickle, frame(0, 0, b""), frame(0x77, 0, b"")] {
            assert!(!is_too_much(&flood, 10, 0), "{flood:?}");
            assert!(is_too_much(&flood, 11, 0), "{flood:?}");
        }
        let (open, continuation) = (frame(1, 0, FIELD), frame(9, 0, FIELD));
        assert!(!is_too_much_behind(&open, &continuation, 10, 0));
        assert!(is_too_much_behind(&open, &continuation, 11, 0));
        for good in [frame(0, 0, b"data"), frame(1, 4, FIELD), frame(8, 0, b"\0\0\x01\0")] {
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
    fn what_a_stream_or_a_frame_may_not_be_is_told_by_its_code() {
        let (now, budget) = (Instant::now(), Budget { control_frames_max: 10, resets_max: 10 });
        let ended = [frame(1, 5, FIELD), frame(0, 0, b"late")].concat();
        let reset = [frame(1, 4, FIELD), frame(3, 0, b"\0\0\0\x08"), frame(1, 5, FIELD)].concat();
        for (bytes, code) in [
            (ended, Some(STREAM_CLOSED)),
            (reset, Some(STREAM_CLOSED)),
            ([frame(1, 1, FIELD), frame(0, 1, b"data")].concat(), Some(PROTOCOL_ERROR)),
            ([frame(1, 1, FIELD), frame(9, 4, FIELD)].concat(), None),
            ([frame(1, 4, FIELD), frame(0, 1, b"data"), frame(8, 0, b"\0\0\x01\0")].concat(), None),
            (frame(6, 0, b"1234567"), Some(FRAME_SIZE_ERROR)),
            (frame(4, 0, b"\0\x04\0"), Some(FRAME_SIZE_ERROR)),
            (frame(4, 1, b"\0\x04\0\0\0\0"), Some(FRAME_SIZE_ERROR)),
            (frame(4, 0, b"\0\x03\0\0\0\x01\0\x04\x80\0\0\0"), Some(FLOW_CONTROL_ERROR)),
            (frame(4, 0, b"\0\x04\x7f\xff\xff\xff"), None),
            (frame(9, 4, FIELD), Some(PROTOCOL_ERROR)),
            (frame(1, 4, b"\x80"), Some(COMPRESSION_ERROR)),
            (frame(1, 4, b"\x40"), Some(COMPRESSION_ERROR)),
            ([frame(1, 0, b"\x40"), frame(9, 4, b"\x01x\0")].concat(), None),
            ([frame(1, 0, b"\x40"), frame(9, 4, b"\x01x")].concat(), Some(COMPRESSION_ERROR)),
            ([frame(1, 4, FIELD), frame(1, 5, b"\x82")].concat(), Some(PROTOCOL_ERROR)),
            // Padding and priority are no part of a block.
            (frame(1, 0x2c, b"\x02\x80\x80\x80\x80\x80\xa1\x80\x80"), None),
            (frame(1, 0xc, b"\x02\xa1"), Some(PROTOCOL_ERROR)),
            (frame(1, 0xc, b""), Some(PROTOCOL_ERROR)),
        ] {
            let mut frames = Frames::new(budget, now);
            let outcome = frames.feed(&[PREFACE, &bytes].concat(), now, 0);
            assert_eq!(outcome.err().map(|breach| breach.code), code, "{bytes:?}");
        }
    }

    // Fields that come again and again, and others that push each other out of the table.
    fn request(number: usize) -> http::Request<()> {
        let mut request = http::Request::get(format!("http://example.com/{}", number % 7));
        for field in 0..number % 9 {
            let letter = char::from(b' ' + (number * 7 + field) as u8 % 95);
            let value = letter.to_string().repeat(number * 13 % 300);
            request = request.header(format!("x-{}", (number * 5 + field) % 40), value.trim());
        }
        request.body(()).unwrap()
    }

    #[tokio::test]
    async fn what_another_codec_writes_can_be_decoded() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut builder = h2::client::Builder::new();
        let (mut client, connection) =
            builder.initial_max_send_streams(COUNT).handshake::<_, bytes::Bytes>(near).await.unwrap();
        tokio::spawn(connection);
        tokio::spawn(async move {
            let mut sent = Vec::new();
            for number in 0..COUNT {
                sent.push(client.send_request(request(number), true).unwrap());
            }
            std::future::pending::<()>().await;
            drop((client, sent));
        });
        let now = Instant::now();
        let mut frames = Frames::new(Budget { control_frames_max: 100, resets_max: 100 }, now);
        let mut bytes = [0; 1000];
        while frames.newest < 2 * COUNT as u32 - 1 {
            let read = far.read(&mut bytes).await.unwrap();
            assert_ne!(read, 0);
            frames.feed(&bytes[..read], now, 0).unwrap();
        }
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
