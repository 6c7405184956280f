//! One encoder and what it has put out. Knows nothing of bodies.

use std::{
    cell::Cell,
    fmt,
    io::{self, Write as _},
    rc::Rc,
};

use bytes::Bytes;
use flate2::write::GzEncoder;

use crate::{
    config::spec::{Coding, CompressLevels},
    exchange::Worker,
};

/// An encoder, counted among those of its worker.
pub(super) struct Coder {
    // `None` once it is finished.
    encoder: Option<Encoder>,
    // Whether it holds anything back.
    held: bool,
    _place: Place,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

/// Put out where there is this much.
pub(super) const PIECE_BYTES: usize = 16 << 10;
/// At a time, on one worker. An encoder holds up to about 1 MiB.
const CODERS_MAX: usize = 256;
// 256 KiB each: what an encoder may look back on, and most of what it holds.
const BROTLI_WINDOW: u32 = 18;
const ZSTD_WINDOW: u32 = 18;

impl Coder {
    /// An encoder; `None` where the worker has as many as it may have, or there is no memory for one.
    pub(super) fn new(coding: Coding, levels: &CompressLevels, worker: &Worker) -> Option<Self> {
        let place = Place::take(worker)?;
        Some(Self { encoder: Some(Encoder::new(coding, levels).ok()?), held: false, _place: place })
    }

    /// Whether it is finished.
    pub(super) const fn is_finished(&self) -> bool {
        self.encoder.is_none()
    }

    /// Whether a flush would put something out.
    pub(super) const fn is_held(&self) -> bool {
        self.held
    }

    /// Encodes `plain`; answers with what is put out, where that is a piece.
    pub(super) fn write(&mut self, plain: &[u8]) -> io::Result<Option<Bytes>> {
        let Some(encoder) = &mut self.encoder else { return Err(io::ErrorKind::BrokenPipe.into()) };
        self.held = true;
        encoder.write(plain)?;
        let out = encoder.put_out();
        Ok((out.len() >= PIECE_BYTES).then(|| std::mem::take(out).into()))
    }

    /// Puts out everything that was written so far.
    pub(super) fn flush(&mut self) -> io::Result<Option<Bytes>> {
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        self.held = false;
        encoder.flush()?;
        let out = encoder.put_out();
        Ok((!out.is_empty()).then(|| std::mem::take(out).into()))
    }

    /// Puts out the end.
    pub(super) fn finish(&mut self) -> io::Result<Option<Bytes>> {
        let Some(encoder) = self.encoder.take() else { return Ok(None) };
        let out = encoder.finish()?;
        Ok((!out.is_empty()).then(|| out.into()))
    }
}

impl Encoder {
    fn new(coding: Coding, levels: &CompressLevels) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(levels.gzip))),
            Coding::Brotli => {
                let writer = brotli::CompressorWriter::new(Vec::new(), PIECE_BYTES, levels.brotli, BROTLI_WINDOW);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let level = i32::try_from(levels.zstd).unwrap_or(i32::MAX);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(ZSTD_WINDOW)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    fn put_out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl fmt::Debug for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Coder {{ held: {} }}", self.held)
    }
}

/// How many encoders a worker has.
#[derive(Debug, Default)]
struct Coders(Cell<usize>);

struct Place(Rc<Coders>);

impl Place {
    fn take(worker: &Worker) -> Option<Self> {
        let coders = worker.locals.of::<Coders>();
        let count = coders.0.get();
        (count < CODERS_MAX).then(|| {
            coders.0.set(count + 1);
            Self(coders)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_so_many_encoders_and_no_more() {
        let (worker, levels) = (Worker::new(0), CompressLevels::default());
        let mut coders: Vec<_> = std::iter::from_fn(|| Coder::new(Coding::Gzip, &levels, &worker)).collect();
        assert_eq!(coders.len(), CODERS_MAX);
        coders.pop();
        assert!(Coder::new(Coding::Gzip, &levels, &worker).is_some(), "one that is dropped makes room");
    }
}
