//! A queue of records from one worker to the writing thread: a ring of words, one writer, one reader, no lock and no
//! locked instruction. Words are atomics, so that safe code may share them; plain moves on every machine of today.
//! Knows nothing of what the records say.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// What waits for the writer, of each worker. At 400 bytes a line, some 2,600 lines.
const RING_BYTES_MAX: usize = 1 << 20;
const WORDS: usize = RING_BYTES_MAX / 8;

/// Bytes of one record; more is refused.
const RECORD_BYTES_MAX: usize = RING_BYTES_MAX / 4;

pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    producer: Producer,
    consumer: Consumer,
}

// Written by the worker. Positions count words since the beginning; they do not wrap in the life of a machine.
#[repr(align(128))]
#[derive(Default)]
struct Producer {
    words: AtomicU64,
    records: AtomicU64,
    // What the reader was last seen to have done, so that its cache line is read seldom.
    seen_words: AtomicU64,
    seen_records: AtomicU64,
}

// Written by the reader.
#[repr(align(128))]
#[derive(Default)]
struct Consumer {
    words: AtomicU64,
    records: AtomicU64,
    // Whether the worker has rung already since the reader last looked; the worker writes it then, seldom.
    rung: AtomicBool,
}

/// What came of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is queued.
    Queued,
    /// It is queued, and the queue is half full for the first time since the reader looked: wake it.
    HalfFull,
    /// There is no room.
    Refused,
}

impl Ring {
    pub(super) fn new() -> Self {
        let words = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Self { words, producer: Producer::default(), consumer: Consumer::default() }
    }

    /// Queues `bytes` under `tag`, if there is room for them and fewer than `records_max` records wait. For the worker
    /// alone.
    pub(super) fn push(&self, tag: u32, bytes: &[u8], records_max: u64) -> Pushed {
        let needs = 1 + bytes.len().div_ceil(8) as u64;
        let own = &self.producer;
        let (at, records) = (own.words.load(Relaxed), own.records.load(Relaxed));
        let fullness = |words: &AtomicU64, count: &AtomicU64| {
            (at + needs - words.load(Relaxed), records + 1 - count.load(Relaxed))
        };
        let half = |(words, count)| words > WORDS as u64 / 2 || 2 * count > records_max;
        let mut full = fullness(&own.seen_words, &own.seen_records);
        if half(full) {
            own.seen_words.store(self.consumer.words.load(Acquire), Relaxed);
            own.seen_records.store(self.consumer.records.load(Relaxed), Relaxed);
            full = fullness(&own.seen_words, &own.seen_records);
        }
        if bytes.len() > RECORD_BYTES_MAX || full.0 > WORDS as u64 || full.1 > records_max {
            return Pushed::Refused;
        }
        self.put(at, tag, bytes);
        own.records.store(records + 1, Relaxed);
        own.words.store(at + needs, Release);
        if half(full) && !self.consumer.rung.load(Relaxed) {
            self.consumer.rung.store(true, Relaxed);
            return Pushed::HalfFull;
        }
        Pushed::Queued
    }

    /// Appends the oldest record to `into`; answers its tag, or that there is none. For the reader alone.
    pub(super) fn pop(&self, into: &mut Vec<u8>) -> Option<u32> {
        let own = &self.consumer;
        let at = own.words.load(Relaxed);
        if at == self.producer.words.load(Acquire) {
            own.rung.store(false, Relaxed);
            return None;
        }
        let head = self.word(at).load(Relaxed);
        let (tag, len) = ((head >> 32) as u32, (head & 0xffff_ffff) as usize);
        let words = len.div_ceil(8) as u64;
        let start = into.len();
        into.resize(start + words as usize * 8, 0);
        let mut chunks = into[start..].as_chunks_mut::<8>().0.iter_mut();
        for span in self.spans(at + 1, words) {
            for (word, chunk) in span.iter().zip(&mut chunks) {
                *chunk = word.load(Relaxed).to_le_bytes();
            }
        }
        into.truncate(start + len);
        own.records.store(own.records.load(Relaxed) + 1, Relaxed);
        own.words.store(at + 1 + words, Release);
        Some(tag)
    }

    fn put(&self, at: u64, tag: u32, bytes: &[u8]) {
        self.word(at).store(u64::from(tag) << 32 | bytes.len() as u64, Relaxed);
        let (whole, rest) = bytes.as_chunks::<8>();
        let mut chunks = whole.iter();
        for span in self.spans(at + 1, whole.len() as u64) {
            for (word, chunk) in span.iter().zip(&mut chunks) {
                word.store(u64::from_le_bytes(*chunk), Relaxed);
            }
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(at + 1 + whole.len() as u64).store(u64::from_le_bytes(last), Relaxed);
        }
    }

    // So many words from a position on: up to the end of the ring, and from its beginning.
    fn spans(&self, position: u64, words: u64) -> [&[AtomicU64]; 2] {
        let start = position as usize & (WORDS - 1);
        let words = words as usize;
        let straight = words.min(WORDS - start);
        [&self.words[start..start + straight], &self.words[..words - straight]]
    }

    #[inline]
    fn word(&self, position: u64) -> &AtomicU64 {
        &self.words[position as usize & (WORDS - 1)]
    }
}

const _: () = assert!(WORDS.is_power_of_two(), "positions are masked");

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_whatever_its_length() {
        let ring = Ring::new();
        for round in 0..20_000_usize {
            let bytes: Vec<u8> = (0..round % 257).map(|byte| byte as u8).collect();
            assert_ne!(ring.push(round as u32, &bytes, u64::MAX / 2), Pushed::Refused);
            let mut read = b"before".to_vec();
            assert_eq!(ring.pop(&mut read), Some(round as u32));
            assert_eq!(read, [b"before".as_slice(), &bytes].concat());
        }
        assert_eq!(ring.pop(&mut Vec::new()), None);
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_once_read() {
        let ring = Ring::new();
        let pushed: Vec<_> = (0..5).map(|tag| ring.push(tag, b"x", 4)).collect();
        use Pushed::{HalfFull, Queued, Refused};
        assert_eq!(pushed, [Queued, Queued, HalfFull, Queued, Refused]);
        assert_eq!(ring.pop(&mut Vec::new()), Some(0));
        assert_eq!(ring.push(9, b"x", 4), Queued, "rung once is enough");
        let long = vec![0; RECORD_BYTES_MAX - 8];
        let fit = (0..9).take_while(|_| ring.push(0, &long, u64::MAX / 2) != Refused).count();
        assert_eq!(fit, 3, "bytes have their own limit");
        assert_eq!(ring.push(0, &vec![0; RECORD_BYTES_MAX + 1], u64::MAX / 2), Refused);
    }

    #[test]
    fn a_reader_beside_the_writer_sees_whole_records() {
        let ring = Ring::new();
        let rounds = 200_000_u32;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..rounds {
                    let record = round.to_string().repeat(1 + round as usize % 7);
                    while ring.push(round, record.as_bytes(), 1 << 20) == Pushed::Refused {
                        thread::yield_now();
                    }
                }
            });
            let mut expected = 0;
            let mut record = Vec::new();
            while expected < rounds {
                record.clear();
                match ring.pop(&mut record) {
                    Some(tag) => {
                        assert_eq!(tag, expected);
                        assert_eq!(record, tag.to_string().repeat(1 + tag as usize % 7).as_bytes());
                        expected += 1;
                    }
                    None => thread::yield_now(),
                }
            }
        });
    }
}
