//! The callbacks of a stream, one for each part of a message, and what their answers mean.

use super::{Direction, News, Stream};
use crate::{
    error::Error,
    wasm::proxy_wasm::exports::{Exports, OnHeaders},
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
    /// Shows a head, and what follows from that.
    ///
    /// # Errors
    /// Where it fails, and the policy is `closed`.
    pub(in crate::wasm::proxy_wasm) async fn headers(
        &self,
        direction: Direction,
        fields: usize,
        end: bool,
    ) -> Result<News, Error> {
        let (context, fields) = (self.context.get(), u32::try_from(fields).unwrap_or(u32::MAX));
        let three = |exports: &Exports| match &direction.phases(exports).headers {
            Some(OnHeaders::Three(export)) => Some(export.clone()),
            _ => None,
        };
        let two = |exports: &Exports| match &direction.phases(exports).headers {
            Some(OnHeaders::Two(export)) => Some(export.clone()),
            _ => None,
        };
        self.side(direction).resumed.set(false);
        let action = match self.call(direction.phase(Part::Head), three, |_| (context, fields, u32::from(end))).await? {
            Some(action) => Some(action),
            None => self.call(direction.phase(Part::Head), two, |_| (context, fields)).await?,
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
        let export = |exports: &Exports| direction.phases(exports).body.clone();
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
        let export = |exports: &Exports| direction.phases(exports).trailers.clone();
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

impl Direction {
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
