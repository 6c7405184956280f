//! Bodies as a Proxy-Wasm plugin sees them on their way: it lets the part that is there go on, or pauses, and then sees
//! it again with what has come since, up to a limit. A chunk is asked for when the reader asks for one, but for the first where
//! the head waits for what becomes of it.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    FutureExt,
    future::{Either, LocalBoxFuture, select},
};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{
    promise::{Begun, Habit},
    stream::{Direction, News, Stream},
};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Response},
    wasm::call::Fail,
};

/// A body that a plugin sees.
pub(super) struct Streamed {
    reader: Option<Reader>,
    step: Option<LocalBoxFuture<'static, (Reader, Yield)>>,
    // What is left of the length that the head promises.
    left: Option<u64>,
    // What let the head go.
    first: Option<Frame<Bytes>>,
    // The end of what the head promises, until the plugin was told of it: who reads no further than that is there.
    last: Option<Frame<Bytes>>,
    // What came behind it.
    behind: Option<Frame<Bytes>>,
}

type Yield = Option<Result<Frame<Bytes>, Error>>;

struct Reader {
    source: Body,
    direction: Direction,
    stream: Rc<Stream>,
    head: Head,
    /// Bytes that came from the source.
    taken: u64,
    /// Since when the plugin holds back what is in the stream's buffer.
    paused: Option<Instant>,
    trailers: Option<HeaderMap>,
    /// Nothing more comes from the source.
    ended: bool,
    /// The source said so itself.
    drained: bool,
    over: bool,
}

/// Where the head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Gone,
    /// The plugin holds it back until it lets something go.
    Held,
    /// It waits for what the plugin makes of the body's first piece.
    Waits,
}

/// What comes next while a plugin may hold something back.
enum Event {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    News(News),
}

impl Streamed {
    /// The body of one direction; `declared` is the length that its head promises.
    pub(super) fn new(stream: &Rc<Stream>, direction: Direction, source: Body, declared: Option<u64>) -> Self {
        let stream = Rc::clone(stream);
        let reader = Reader {
            source,
            direction,
            stream,
            head: Head::Gone,
            taken: 0,
            paused: None,
            trailers: None,
            ended: false,
            drained: false,
            over: false,
        };
        Self { reader: Some(reader), step: None, left: declared, first: None, last: None, behind: None }
    }

    /// The body of a head that does not go before it: as soon as its plugin lets go one that it holds back, or else a first
    /// piece of the body; or [`News::Answers`] in its place.
    ///
    /// # Errors
    /// Where the body or the plugin fails, and the policy is `closed`.
    pub(super) async fn begun(
        stream: &Rc<Stream>,
        direction: Direction,
        source: Body,
        held: bool,
    ) -> Result<(Self, News), Error> {
        let mut body = Self::new(stream, direction, source, None);
        if let Some(reader) = &mut body.reader {
            reader.head = if held { Head::Held } else { Head::Waits };
            reader.paused = held.then(Instant::now);
        }
        match body.frame().await.transpose() {
            Ok(first) => body.first = first,
            Err(error) => {
                let answer = stream.midway.take().map_or(Err(error), |midway| *midway)?;
                return Ok((body, News::Answers(Box::new(answer))));
            }
        }
        Ok((body, News::GoesOn))
    }

    /// Makes a head promise what is known of the length of this body, which has begun, and holds the rest of it to that.
    pub(super) fn promise(&mut self, fields: &mut HeaderMap) {
        let passed = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        if let Some(reader) = &self.reader {
            self.left = reader.habit().settle(fields, Begun { taken: reader.taken, passed, over: reader.over });
        }
    }

    // A plugin that changes a body's length and leaves the promise of another in the head would break the framing.
    fn check(&mut self, frame: Yield) -> Yield {
        let Some(left) = &mut self.left else { return frame };
        let length = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) => return frame,
            None if *left == 0 => return None,
            None => u64::MAX,
        };
        match left.checked_sub(length) {
            Some(now) => {
                *left = now;
                frame
            }
            None => {
                let error = Error::new(Kind::PluginFailed, "the plugin changed a body's length behind its first piece");
                self.reader.take().map(|reader| {
                    reader.habit().is_late();
                    Err(reader.fail(error))
                })
            }
        }
    }

    // What goes on now of what the reader gave; `None`: it waits until the plugin was told of the end.
    fn pass(&mut self, frame: Yield, over: bool) -> Option<Yield> {
        match self.check(frame) {
            Some(Ok(frame)) if self.left == Some(0) && !over && frame.is_data() && self.last.is_none() => {
                self.last = Some(frame);
                None
            }
            Some(Ok(frame)) => Some(Some(Ok(match self.last.take() {
                None => frame,
                Some(last) => {
                    self.behind = Some(frame);
                    last
                }
            }))),
            end => {
                self.reader = None;
                let failed = end.is_some();
                Some(self.last.take().filter(|_| !failed).map(Ok).or(end))
            }
        }
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Yield> {
        let this = &mut *self;
        // An empty one would end a body in chunks.
        if let Some(first) = this.first.take()
            && first.data_ref().is_none_or(|data| !data.is_empty())
        {
            let over = this.reader.as_ref().is_none_or(|reader| reader.over);
            if let Some(passes) = this.pass(Some(Ok(first)), over) {
                return Poll::Ready(passes);
            }
        }
        if let Some(behind) = this.behind.take() {
            this.reader = None;
            return Poll::Ready(Some(Ok(behind)));
        }
        loop {
            if this.step.is_none() {
                let Some(reader) = this.reader.take() else { return Poll::Ready(None) };
                this.step = Some(Box::pin(reader.next()));
            }
            let Some(step) = &mut this.step else { return Poll::Ready(None) };
            let (reader, frame) = ready!(step.as_mut().poll(cx));
            let over = reader.over;
            this.step = None;
            this.reader = Some(reader);
            if let Some(passes) = this.pass(frame, over) {
                return Poll::Ready(passes);
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let last = self.last.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        self.left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + last))
    }
}

impl Reader {
    async fn next(mut self) -> (Self, Yield) {
        let next = self.frame().await;
        let next = match next {
            Ok(frame) => frame.map(Ok),
            Err(error) => Some(Err(self.fail(error))),
        };
        (self, next)
    }

    async fn frame(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        loop {
            if self.over {
                self.drain().await?;
                return Ok(self.trailers.take().filter(|trailers| !trailers.is_empty()).map(Frame::trailers));
            }
            let news = match self.event().await? {
                Event::Data(chunk) if self.stream.skipped.get() => {
                    self.head = Head::Gone;
                    return Ok(Some(Frame::data(self.flush(&chunk))));
                }
                Event::Data(chunk) => self.show(&chunk, self.source.is_end_stream()).await?,
                Event::End => self.show(&[], true).await?,
                Event::Trailers(trailers) => self.show_trailers(trailers).await?,
                Event::News(news) => news,
            };
            match news {
                News::GoesOn => {
                    self.over = self.ended;
                    self.paused = None;
                    if self.over && self.trailers.is_none() {
                        self.trailers = self.stream.side(self.direction).trailers.take();
                    }
                    let passes = self.flush(&[]);
                    if self.lets_head_go() || !passes.is_empty() {
                        return Ok(Some(Frame::data(passes)));
                    }
                }
                News::Pauses | News::HoldsHead => {
                    self.paused.get_or_insert_with(Instant::now);
                }
                News::Answers(answer) => return Err(self.break_off(Ok(*answer))),
            }
        }
    }

    // Whether a head goes with what the plugin let go just now.
    fn lets_head_go(&mut self) -> bool {
        let goes = match self.head {
            Head::Gone => return false,
            Head::Held => true,
            // A piece without a byte says nothing.
            Head::Waits => self.over || self.taken > 0,
        };
        if goes {
            self.head = Head::Gone;
        }
        goes
    }

    // A source that said that it is at its end may have trailers all the same.
    async fn drain(&mut self) -> Result<(), Error> {
        if !std::mem::replace(&mut self.drained, true)
            && let Some(frame) = self.source.frame().await
            && let Ok(trailers) = frame?.into_trailers()
        {
            self.trailers.get_or_insert_default().extend(trailers);
        }
        Ok(())
    }

    async fn event(&mut self) -> Result<Event, Error> {
        let frame = match self.paused {
            None if self.ended => return Ok(Event::News(News::GoesOn)),
            None => self.source.frame().await,
            Some(since) if self.ended => return self.stream.paused(self.direction, since).await.map(Event::News),
            Some(since) => {
                let stream = Rc::clone(&self.stream);
                let resumed = stream.paused(self.direction, since).boxed_local();
                match select(resumed, self.source.frame()).await {
                    Either::Left((news, _)) => return news.map(Event::News),
                    Either::Right((frame, _)) => frame,
                }
            }
        };
        let Some(frame) = frame.transpose()? else {
            (self.ended, self.drained) = (true, true);
            return Ok(Event::End);
        };
        Ok(match frame.into_data() {
            Ok(data) => {
                self.taken += data.len() as u64;
                self.ended = self.source.is_end_stream();
                Event::Data(data)
            }
            Err(frame) => {
                (self.ended, self.drained) = (true, true);
                Event::Trailers(frame.into_trailers().unwrap_or_default())
            }
        })
    }

    // Shows what is held back, and `more`.
    async fn show(&mut self, more: &[u8], end: bool) -> Result<News, Error> {
        let side = self.stream.side(self.direction);
        let bytes = {
            let mut buffer = side.buffer.borrow_mut();
            let buffer = buffer.get_or_insert_default();
            buffer.extend_from_slice(more);
            buffer.len()
        };
        if self.paused.is_some() && bytes > self.stream.local.plugin.limits.buffer_bytes_max {
            return self.too_large();
        }
        if end {
            side.trailers.borrow_mut().get_or_insert_default();
        }
        self.stream.body(self.direction, bytes, end).await
    }

    async fn show_trailers(&mut self, trailers: HeaderMap) -> Result<News, Error> {
        let fields = trailers.len();
        self.stream.side(self.direction).trailers.replace(Some(trailers));
        let since = Instant::now();
        let news = match self.stream.trailers(self.direction, fields).await? {
            News::Pauses => self.stream.paused(self.direction, since).await?,
            news => news,
        };
        self.trailers = self.stream.side(self.direction).trailers.take();
        Ok(news)
    }

    fn habit(&self) -> &Habit {
        self.stream.local.plugin.habits.of(self.direction)
    }

    fn too_large(&self) -> Result<News, Error> {
        let bytes_max = self.stream.local.plugin.limits.buffer_bytes_max;
        if self.direction == Direction::Request {
            let detail = format!("plugin {} holds back bodies up to {bytes_max} bytes", self.stream.local.name);
            return Err(Error::new(Kind::BodyTooLarge, detail));
        }
        self.stream.judge(&Fail::TooLarge(bytes_max)).map(|()| News::GoesOn)
    }

    // What is held back, and `more`.
    fn flush(&self, more: &[u8]) -> Bytes {
        let mut buffer: BytesMut = self.stream.side(self.direction).buffer.take().unwrap_or_default();
        buffer.extend_from_slice(more);
        buffer.freeze()
    }

    fn fail(&self, error: Error) -> Error {
        match self.direction {
            _ if self.stream.midway.borrow().is_some() => error,
            Direction::Request => self.break_off(Err(error)),
            Direction::Response if self.head != Head::Gone => error,
            Direction::Response => {
                self.stream.exchange.record.fail(&error);
                error
            }
        }
    }

    // Ends a request's body so that the step answers with `midway`, whatever the upstream makes of it.
    fn break_off(&self, midway: Result<Response, Error>) -> Error {
        let kind = midway.as_ref().map_or_else(Error::kind, |_| Kind::PluginFailed);
        if self.direction == Direction::Request || self.head != Head::Gone {
            self.stream.midway.replace(Some(Box::new(midway)));
        }
        Error::new(kind, "the plugin ended the body")
    }
}
