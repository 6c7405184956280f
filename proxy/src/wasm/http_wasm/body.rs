//! A message's body as a guest reads and writes it. What is read is asked for from the sender only then, and what is not
//! read is never held: it goes on as it comes. Knows no guest.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::edits::Edits;
use crate::{error::Error, exchange::Body};

/// One direction's body.
#[derive(Default)]
pub(super) struct Side {
    source: Body,
    /// What came from the source and was not read yet.
    unread: Bytes,
    /// What was read and is to go on all the same.
    kept: BytesMut,
    /// Something was read and is gone.
    consumed: bool,
    ended: bool,
    /// The source's, once they are there.
    trailers: Option<HeaderMap>,
    written: Option<BytesMut>,
    /// What the guest makes of the trailers.
    pub(super) edits: Edits,
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The body broke off.
    Broken(Error),
    /// It is over the limit for keeping it.
    TooLarge,
}

/// Bytes of one chunk that a guest is given at a time.
const CHUNK_BYTES_MAX: usize = 64 << 10;

impl Side {
    /// That of a message.
    pub(super) fn new(source: Body) -> Self {
        Self { source, ..Self::default() }
    }

    /// Takes up to `room` bytes of what follows; `None` at the end. Where the guest reads without consuming, up to
    /// `keep_bytes_max` are kept.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        keep_bytes_max: Option<usize>,
    ) -> Poll<Result<Option<Bytes>, Unread>> {
        loop {
            if !self.unread.is_empty() {
                let length = self.unread.len().min(room).min(CHUNK_BYTES_MAX);
                match keep_bytes_max {
                    Some(bytes_max) if self.kept.len() + length > bytes_max => {
                        return Poll::Ready(Err(Unread::TooLarge));
                    }
                    Some(_) => self.kept.extend_from_slice(&self.unread[..length]),
                    None => self.consumed = true,
                }
                return Poll::Ready(Ok(Some(self.unread.split_to(length))));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            match ready!(Pin::new(&mut self.source).poll_frame(cx)).transpose().map_err(Unread::Broken)? {
                None => self.ended = true,
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.unread = data,
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.ended = true;
                    }
                },
            }
        }
    }

    /// Whether all was read, as far as is known without asking the source.
    pub(super) fn is_at_end(&self) -> bool {
        self.unread.is_empty() && (self.ended || self.source.is_end_stream())
    }

    /// Has all of it come, up to `bytes_max`, so that its trailers are known; a longer one stays a stream.
    ///
    /// # Errors
    /// The body's own.
    pub(super) async fn gather(&mut self, bytes_max: usize) -> Result<(), Error> {
        let broken = loop {
            match poll_fn(|cx| self.poll_read(cx, usize::MAX, Some(bytes_max))).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(Unread::TooLarge) => break None,
                Err(Unread::Broken(error)) => break Some(error),
            }
        };
        let mut read = std::mem::take(&mut self.kept);
        read.extend_from_slice(&self.unread);
        self.unread = read.freeze();
        broken.map_or(Ok(()), Err)
    }

    /// Adds to what takes the body's place.
    ///
    /// # Errors
    /// Where it would be over `bytes_max`.
    pub(super) fn write(&mut self, bytes: &[u8], bytes_max: usize) -> Result<(), ()> {
        let written = self.written.get_or_insert_default();
        if written.len() + bytes.len() > bytes_max {
            return Err(());
        }
        written.extend_from_slice(bytes);
        Ok(())
    }

    /// What was written, of which at most `room` bytes from `at` on.
    pub(super) fn written(&self, at: usize, room: usize) -> Bytes {
        let written = self.written.as_deref().and_then(|written| written.get(at..)).unwrap_or_default();
        Bytes::copy_from_slice(&written[..written.len().min(room)])
    }

    /// The trailers as far as they are known, with what the guest made of them.
    pub(super) fn trailers(&self) -> HeaderMap {
        match &self.trailers {
            Some(trailers) => self.edits.on(trailers),
            None => self.edits.fields().clone(),
        }
    }

    /// Whether the guest changed the body, or what follows it.
    pub(super) fn is_changed(&self) -> bool {
        self.written.is_some() || self.consumed || !self.edits.is_empty()
    }

    /// The body that goes on.
    pub(super) fn into_body(mut self) -> Body {
        match self.written.take() {
            Some(written) => {
                let edits = std::mem::take(&mut self.edits);
                let trailers = self.trailers.take();
                Rejoined::body([written.freeze()], Body::empty(), trailers, edits)
            }
            None => self.rejoin(),
        }
    }

    /// The body as it came, where all that was read was kept.
    pub(super) fn into_original(mut self) -> Body {
        self.edits = Edits::default();
        self.rejoin()
    }

    /// The body with what was written before it.
    pub(super) fn before(mut self, body: Body) -> Body {
        let written = self.written.take().unwrap_or_default();
        Rejoined::body([written.freeze()], body, None, std::mem::take(&mut self.edits))
    }

    fn rejoin(self) -> Body {
        Rejoined::body([self.kept.freeze(), self.unread], self.source, self.trailers, self.edits)
    }
}

/// Chunks that were read before, and the rest.
struct Rejoined {
    chunks: VecDeque<Bytes>,
    rest: Body,
    trailers: Option<HeaderMap>,
    edits: Edits,
    over: bool,
}

impl Rejoined {
    fn body<const N: usize>(chunks: [Bytes; N], rest: Body, trailers: Option<HeaderMap>, edits: Edits) -> Body {
        let mut chunks: VecDeque<_> = chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect();
        let plain = trailers.is_none() && edits.is_empty();
        match (chunks.len(), plain) {
            (0, true) => rest,
            (1, true) if rest.is_empty() => Body::full(chunks.pop_front().unwrap_or_default()),
            _ => Body::stream(Self { chunks, rest, trailers, edits, over: false }),
        }
    }

    fn last(&mut self) -> Option<Frame<Bytes>> {
        self.over = true;
        let mut trailers = self.trailers.take().unwrap_or_default();
        self.edits.apply(&mut trailers);
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
    }
}

impl http_body::Body for Rejoined {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if self.over {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.rest).poll_frame(cx)).transpose()? {
            None => Poll::Ready(self.last().map(Ok)),
            Some(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.trailers = Some(trailers);
                    Poll::Ready(self.last().map(Ok))
                }
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
            && (self.over || self.trailers.is_none() && self.edits.is_empty() && self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.trailers.is_some() || !self.edits.is_empty() {
            // A body whose length is told ahead has no place for trailers in HTTP/1.
            return SizeHint::default();
        }
        let mut hint = self.rest.size_hint();
        let first: u64 = self.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + first);
        }
        hint.set_lower(hint.lower() + first);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http::{HeaderName, HeaderValue};
    use http_body_util::BodyExt;

    use super::*;

    fn read(side: &mut Side, room: usize, keep: Option<usize>) -> Result<Option<Bytes>, Unread> {
        poll_fn(|cx| side.poll_read(cx, room, keep)).now_or_never().unwrap()
    }

    fn rest(body: Body) -> String {
        let collected = body.collect().now_or_never().unwrap().unwrap();
        String::from_utf8(collected.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_is_read_is_gone_unless_it_is_kept() {
        for (keep, left, length) in [(None, "llo", 3), (Some(9), "hello", 5)] {
            let mut side = Side::new(Body::full("hello"));
            assert_eq!(read(&mut side, 2, keep).unwrap().unwrap(), "he");
            assert_eq!(side.is_changed(), keep.is_none());
            let body = side.into_body();
            assert_eq!((body.size_hint().exact(), rest(body).as_str()), (Some(length), left));
        }
    }

    #[test]
    fn no_more_is_kept_than_may_be_and_nothing_of_it_is_lost() {
        let mut side = Side::new(Body::full("hello"));
        assert_eq!(read(&mut side, 3, Some(4)).unwrap().unwrap(), "hel");
        assert!(matches!(read(&mut side, 3, Some(4)), Err(Unread::TooLarge)));
        assert_eq!(rest(side.into_original()), "hello");
    }

    #[test]
    fn what_is_written_takes_the_bodys_place_and_has_a_limit() {
        let mut side = Side::new(Body::full("hello"));
        side.write(b"bye", 5).unwrap();
        side.write(b"", 5).unwrap();
        assert!(side.write(b"bye", 5).is_err());
        assert_eq!((side.written(1, 9), side.written(9, 9)), (Bytes::from("ye"), Bytes::new()));
        assert_eq!(rest(side.into_body()), "bye");
    }

    #[test]
    fn trailers_are_changed_at_the_end_and_the_length_is_not_told_ahead() {
        let mut side = Side::new(Body::full("hello"));
        side.edits.set(HeaderName::from_static("x-sum"), HeaderValue::from_static("5"));
        let body = side.into_body();
        assert_eq!(body.size_hint().exact(), None);
        let collected = body.collect().now_or_never().unwrap().unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "5");
        assert_eq!(collected.to_bytes(), "hello");
    }

    #[test]
    fn a_gathered_body_is_read_from_its_beginning() {
        for bytes_max in [3, 9] {
            let mut side = Side::new(Body::full("hello"));
            side.gather(bytes_max).now_or_never().unwrap().unwrap();
            assert_eq!(read(&mut side, 9, Some(9)).unwrap().unwrap(), "hello");
            assert!(side.is_at_end());
        }
    }
}
