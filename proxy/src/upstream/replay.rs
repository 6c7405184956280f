//! Request bodies that may have to be sent once more: what passes is kept, up to a bound. Several readers may read one
//! body, one after the other or side by side on one task. Knows nothing of what is sent where.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::{
    error::{Error, Kind},
    exchange::Body,
};

/// What a call holds of its request's body for the tries to come.
#[derive(Debug)]
pub(super) enum Spare {
    /// The body itself, which is in memory or empty.
    Copy(Body),
    /// What passed of a stream, and the rest of it.
    Tape(Tape),
}

impl Spare {
    /// Of a body, which is to be sent in the form that is left in its place; of a stream up to `bytes_max` are kept.
    pub(super) fn of(body: &mut Body, bytes_max: usize) -> Self {
        match body.copy() {
            Some(copy) => Self::Copy(copy),
            None => {
                let tape = Tape::new(body.take(), bytes_max);
                *body = tape.play();
                Self::Tape(tape)
            }
        }
    }

    /// The body from its beginning, where that can be had.
    pub(super) fn body(&self) -> Option<Body> {
        match self {
            Self::Copy(body) => body.copy(),
            Self::Tape(tape) => tape.is_whole().then(|| tape.play()),
        }
    }
}

/// A stream whose beginning is kept.
#[derive(Clone, Debug)]
pub(super) struct Tape(Rc<RefCell<Kept>>);

#[derive(Debug)]
struct Kept {
    rest: Body,
    ended: bool,
    // Of the whole body, at the beginning.
    hint: SizeHint,
    frames: Vec<Piece>,
    // Frames that came out of the stream, kept or not.
    passed: usize,
    bytes: usize,
    bytes_max: usize,
    // More passed than may be kept, or the stream failed: what is kept is no beginning any more.
    over: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Tape {
    fn new(rest: Body, bytes_max: usize) -> Self {
        let (hint, frames) = (rest.size_hint(), Vec::new());
        // What is known to be too long is not kept even for a while.
        let over = hint.lower() > bytes_max as u64;
        Self(Rc::new(RefCell::new(Kept { rest, ended: false, hint, frames, passed: 0, bytes: 0, bytes_max, over })))
    }

    fn is_whole(&self) -> bool {
        !self.0.borrow().over
    }

    fn play(&self) -> Body {
        Body::stream(Player { tape: Rc::clone(&self.0), position: 0, left: self.0.borrow().hint.exact() })
    }
}

/// One reader.
struct Player {
    tape: Rc<RefCell<Kept>>,
    // In the frames kept.
    position: usize,
    // Bytes still to come, where that is known.
    left: Option<u64>,
}

impl Kept {
    fn poll_next(&mut self, position: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Error>>> {
        if position < self.passed {
            // Once it is not kept any more, only the reader that took everything so far can go on.
            let piece = self.frames.get(position).cloned();
            return Poll::Ready(Some(piece.ok_or_else(gone)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(failed)) => {
                (self.ended, self.over) = (true, true);
                return Poll::Ready(Some(Err(failed)));
            }
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
        };
        let piece = match frame.into_data() {
            Ok(data) => Piece::Data(data),
            Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
        };
        self.passed += 1;
        self.keep(&piece);
        Poll::Ready(Some(Ok(piece)))
    }

    fn keep(&mut self, piece: &Piece) {
        self.bytes += match piece {
            Piece::Data(data) => data.len(),
            // Bounded by the reader of the request.
            Piece::Trailers(_) => 0,
        };
        self.over |= self.bytes > self.bytes_max;
        if self.over {
            self.frames = Vec::new();
        } else {
            self.frames.push(piece.clone());
        }
    }
}

fn gone() -> Error {
    Error::new(Kind::Internal, "the beginning of the request's body is gone")
}

impl http_body::Body for Player {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let piece = ready!(this.tape.borrow_mut().poll_next(this.position, cx));
        Poll::Ready(piece.map(|piece| {
            this.position += 1;
            Ok(match piece? {
                Piece::Data(data) => {
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    Frame::data(data)
                }
                Piece::Trailers(trailers) => Frame::trailers(trailers),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        let tape = self.tape.borrow();
        self.position == tape.passed && (tape.ended || tape.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    // A stream of these pieces; at the end it fails where `fails` says so.
    struct Pieces(VecDeque<&'static str>, bool);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            let failed = self.0.is_empty() && std::mem::take(&mut self.1);
            let data = self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
            Poll::Ready(data.or_else(|| failed.then(|| Err(Error::new(Kind::ClientGone, "test")))))
        }
    }

    fn read(body: &mut Body, frames: usize) -> Result<String, Error> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut text = String::new();
        for _ in 0..frames {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut cx) else { unreachable!("never waits") };
            let Some(frame) = frame.transpose()? else { break };
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        Ok(text)
    }

    fn spare(pieces: &[&'static str], fails: bool, bytes_max: usize) -> (Body, Spare) {
        let mut body = Body::stream(Pieces(pieces.iter().copied().collect(), fails));
        let spare = Spare::of(&mut body, bytes_max);
        (body, spare)
    }

    #[test]
    fn what_was_read_in_part_is_read_again_from_the_beginning() {
        let (mut first, spare) = spare(&["one ", "two ", "three"], false, 100);
        assert_eq!(read(&mut first, 2).unwrap(), "one two ");
        let (mut second, mut third) = (spare.body().unwrap(), spare.body().unwrap());
        assert_eq!(read(&mut second, 9).unwrap(), "one two three");
        assert_eq!(read(&mut third, 9).unwrap(), "one two three");
        assert_eq!(read(&mut first, 9).unwrap(), "three", "side by side");
        assert!(second.is_end_stream() && !spare.body().unwrap().is_end_stream());
    }

    #[test]
    fn more_than_is_kept_can_be_read_once() {
        let (mut first, spare) = spare(&["one ", "two ", "three"], false, 8);
        assert_eq!(read(&mut first, 2).unwrap(), "one two ");
        let mut second = spare.body().unwrap();
        assert_eq!(read(&mut first, 1).unwrap(), "three");
        assert!(spare.body().is_none() && read(&mut second, 1).is_err());
        assert_eq!(read(&mut first, 1).unwrap(), "");
    }

    #[test]
    fn a_stream_that_failed_is_not_read_again() {
        let (mut first, spare) = spare(&["one"], true, 100);
        assert_eq!(read(&mut first, 2).unwrap_err().kind(), Kind::ClientGone);
        assert!(spare.body().is_none());
    }

    #[test]
    fn what_is_in_memory_is_copied() {
        let mut body = Body::full("all of it");
        let spare = Spare::of(&mut body, 0);
        assert_eq!(read(&mut body, 9).unwrap(), "all of it");
        assert_eq!(read(&mut spare.body().unwrap(), 9).unwrap(), "all of it");
    }
}
