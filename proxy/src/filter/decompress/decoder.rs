//! One decoder, with what may come of it. Knows nothing of bodies.

use std::{
    cell::Cell,
    io::{self, Write},
    rc::Rc,
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, InBuffer, Operation as _, OutBuffer};

use crate::{
    config::spec::Coding,
    error::{Error, Kind},
    exchange::Worker,
};

/// A decoder, counted among those of its worker.
pub(super) struct Decoder {
    // `None` once it is finished.
    inner: Option<Inner>,
    coding: Coding,
    limits: (u64, u32),
    taken: u64,
    _place: Place,
}

enum Inner {
    Gzip(Box<MultiGzDecoder<Sink>>),
    Brotli(Box<brotli::DecompressorWriter<Sink>>),
    Zstd(Box<Zstd>),
}

/// At a time, on one worker. A decoder looks back on up to 16 MiB.
const DECODERS_MAX: usize = 64;
/// What is fed at once: what comes of it before the next look at the limits is bounded by them.
pub(super) const PIECE_BYTES: usize = 4 << 10;
// What may come of a body however little was sent.
const RATIO_SLACK_BYTES: u64 = 64 << 10;
// 8 MiB (RFC 8878 section 3.1.1.1.2, RFC 9659).
const ZSTD_WINDOW: u32 = 23;
const BUFFER_BYTES: usize = 16 << 10;

impl Decoder {
    /// A decoder of which come at most so many bytes, and so many times what it is fed; `None` where the worker has as many
    /// as it may have, or there is no memory for one.
    pub(super) fn new(coding: Coding, limits: (u64, u32), worker: &Worker) -> Option<Self> {
        let place = Place::take(worker)?;
        let inner = match coding {
            Coding::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(Sink::default()))),
            Coding::Brotli => Inner::Brotli(Box::new(brotli::DecompressorWriter::new(Sink::default(), BUFFER_BYTES))),
            Coding::Zstd => Inner::Zstd(Box::new(Zstd::new().ok()?)),
        };
        Some(Self { inner: Some(inner), coding, limits, taken: 0, _place: place })
    }

    /// Whether it is finished.
    pub(super) const fn is_finished(&self) -> bool {
        self.inner.is_none()
    }

    /// Decodes a piece; answers with what comes of it.
    ///
    /// # Errors
    /// `BodyTooLarge` over a limit, `MalformedRequest` for what is not in the coding.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<Bytes, Error> {
        self.taken += piece.len() as u64;
        let (bytes_max, ratio_max) = self.limits;
        let room = (self.taken * u64::from(ratio_max) + RATIO_SLACK_BYTES).min(bytes_max);
        let Some(inner) = &mut self.inner else { return Ok(Bytes::new()) };
        inner.sink().room = room;
        let wrote = match inner {
            Inner::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Inner::Brotli(decoder) => decoder.write_all(piece),
            Inner::Zstd(decoder) => decoder.write(piece),
        };
        let (sink, coding, limits) = (inner.sink(), self.coding, self.limits);
        wrote.map_err(|error| failed(error, (sink.over, coding, limits)))?;
        Ok(std::mem::take(&mut sink.out).into())
    }

    /// Decodes what is left at the end.
    ///
    /// # Errors
    /// As of [`Decoder::write`]; a body that is cut short is malformed.
    pub(super) fn finish(&mut self) -> Result<Bytes, Error> {
        let Some(mut inner) = self.inner.take() else { return Ok(Bytes::new()) };
        let ended = match &mut inner {
            Inner::Gzip(decoder) => decoder.try_finish(),
            Inner::Brotli(decoder) => decoder.close(),
            Inner::Zstd(decoder) => decoder.finish(),
        };
        let sink = inner.sink();
        ended.map_err(|error| failed(error, (sink.over, self.coding, self.limits)))?;
        Ok(std::mem::take(&mut sink.out).into())
    }
}

fn failed(error: io::Error, (over, coding, (bytes_max, ratio_max)): (bool, Coding, (u64, u32))) -> Error {
    if over {
        let what =
            format!("decompress: of the body come over {bytes_max} bytes, or over {ratio_max} times what was sent");
        return Error::new(Kind::BodyTooLarge, what);
    }
    Error::because(Kind::MalformedRequest, format!("decompress: the body is not whole {}", coding.name()), error)
}

impl Inner {
    fn sink(&mut self) -> &mut Sink {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => &mut decoder.sink,
        }
    }
}

// What came of a decoder, and how much may.
#[derive(Default)]
struct Sink {
    out: Vec<u8>,
    made: u64,
    room: u64,
    over: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.made += bytes.len() as u64;
        if self.made > self.room {
            self.over = true;
            return Err(io::Error::other("over a limit"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Zstd {
    decoder: zstd::stream::raw::Decoder<'static>,
    sink: Sink,
    buffer: Box<[u8]>,
    // Whether what was fed ends with a frame.
    whole: bool,
}

impl Zstd {
    fn new() -> io::Result<Self> {
        let mut decoder = zstd::stream::raw::Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW))?;
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Ok(Self { decoder, sink: Sink::default(), buffer, whole: false })
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(piece);
        loop {
            let mut output = OutBuffer::around(&mut *self.buffer);
            let left = self.decoder.run(&mut input, &mut output)?;
            let made = output.pos();
            self.sink.write_all(&self.buffer[..made])?;
            self.whole = left == 0;
            // Where the buffer was filled there may be more to come.
            if input.pos() == piece.len() && made < self.buffer.len() {
                return Ok(());
            }
        }
    }

    fn finish(&self) -> io::Result<()> {
        if self.whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// How many decoders a worker has.
#[derive(Debug, Default)]
struct Decoders(Cell<usize>);

struct Place(Rc<Decoders>);

impl Place {
    fn take(worker: &Worker) -> Option<Self> {
        let decoders = worker.locals.of::<Decoders>();
        let count = decoders.0.get();
        (count < DECODERS_MAX).then(|| {
            decoders.0.set(count + 1);
            Self(decoders)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}
