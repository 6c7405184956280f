//! The callbacks of a stream, one for each part of a message, and what their answers mean.

use super::{Direction, News, Stream};
use std::time::Instant;

use crate::{
    error::Error,
    wasm::proxy_wasm::{exports::Export, program::Head},
};

/// The action of a body's callback that pauses, and wants nothing kept of what it saw.
const NO_BUFFER: u32 = 3;

/// A part of a message.
#[derive(Clone, Copy)]
enum Part {
    Head,
    Body,
    Trailers,
}

impl Stream {
    /// Shows a head at the time `since`, and what follows from that.
    ///
    /// # Errors
    /// Where it fails, and the policy is `closed`.
    pub(in crate::wasm::proxy_wasm) async fn headers(
        &self,
        direction: Direction,
        since: Instant,
        (fields, end): (usize, bool),
    ) -> Result<News, Error> {
        let (context, fields) = (self.context.get(), u32::try_from(fields).unwrap_or(u32::MAX));
        let phase = direction.phase(Part::Head);
        self.side(direction).resumed.set(false);
        let action = match self.local.home.program().head(direction) {
            Head::Unseen => None,
            Head::Two => self.call_at(since, phase, direction.two(), |_| (context, fields)).await?.0,
            Head::Three => self.call_at(since, phase, direction.three(), |_| (context, fields, end.into())).await?.0,
        };
        if let Some(news) = self.pending(direction)? {
            return Ok(news);
        }
        Ok(match action {
            // 2 goes on in Envoy, too: it was once to end the stream there.
            None | Some(0 | 2) => News::GoesOn,
            Some(1) if !end && self.may_hold_head() => News::HoldsHead,
            Some(_) => News::Pauses,
        })
    }

    // Whether a head that pauses is held back alone, while its body is shown.
    fn may_hold_head(&self) -> bool {
        self.local.home.program().holds_head() || self.local.plugin.proxy_wasm.allow_on_headers_stop_iteration
    }

    /// Shows what is in the buffer.
    ///
    /// # Errors
    /// Where it fails, and the policy is `closed`.
    pub(in crate::wasm::proxy_wasm) async fn body(
        &self,
        direction: Direction,
        bytes: usize,
        end: bool,
    ) -> Result<News, Error> {
        let (context, bytes) = (self.context.get(), u32::try_from(bytes).unwrap_or(u32::MAX));
        self.side(direction).resumed.set(false);
        let export = direction.body();
        let action = self.call(direction.phase(Part::Body), export, |_| (context, bytes, u32::from(end))).await?;
        let news = self.news(direction, action)?;
        if action == Some(NO_BUFFER) && matches!(news, News::Pauses) {
            self.side(direction).buffer.take();
        }
        Ok(news)
    }

    /// Shows trailers.
    ///
    /// # Errors
    /// Where it fails, and the policy is `closed`.
    pub(in crate::wasm::proxy_wasm) async fn trailers(
        &self,
        direction: Direction,
        fields: usize,
    ) -> Result<News, Error> {
        let (context, fields) = (self.context.get(), u32::try_from(fields).unwrap_or(u32::MAX));
        self.side(direction).resumed.set(false);
        let export = direction.trailers();
        let action = self.call(direction.phase(Part::Trailers), export, |_| (context, fields)).await?;
        self.news(direction, action)
    }

    // An action of 0 goes on, whichever version; all others pause, in ways that come to the same here.
    fn news(&self, direction: Direction, action: Option<u32>) -> Result<News, Error> {
        if let Some(news) = self.pending(direction)? {
            return Ok(news);
        }
        Ok(if action.is_none_or(|action| action == 0) { News::GoesOn } else { News::Pauses })
    }
}

// Its callbacks.
impl Direction {
    const fn two(self) -> Export<(u32, u32), u32> {
        match self {
            Self::Request => |exports| exports.on_request.two(),
            Self::Response => |exports| exports.on_response.two(),
        }
    }

    const fn three(self) -> Export<(u32, u32, u32), u32> {
        match self {
            Self::Request => |exports| exports.on_request.three(),
            Self::Response => |exports| exports.on_response.three(),
        }
    }

    const fn body(self) -> Export<(u32, u32, u32), u32> {
        match self {
            Self::Request => |exports| exports.on_request.body.as_ref(),
            Self::Response => |exports| exports.on_response.body.as_ref(),
        }
    }

    const fn trailers(self) -> Export<(u32, u32), u32> {
        match self {
            Self::Request => |exports| exports.on_request.trailers.as_ref(),
            Self::Response => |exports| exports.on_response.trailers.as_ref(),
        }
    }

    // As traces name it.
    const fn phase(self, part: Part) -> &'static str {
        match (self, part) {
            (Self::Request, Part::Head) => "request",
            (Self::Request, Part::Body) => "request-body",
            (Self::Request, Part::Trailers) => "request-trailers",
            (Self::Response, Part::Head) => "response",
            (Self::Response, Part::Body) => "response-body",
            (Self::Response, Part::Trailers) => "response-trailers",
        }
    }
}
