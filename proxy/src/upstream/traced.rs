//! A try with its span, where its exchange is traced. Knows what a try is, and nothing of how it is made.

use super::attempt::{Attempt, Missed};
use crate::{
    exchange::{Request, Response},
    telemetry::trace,
};

impl Attempt<'_> {
    /// [`Attempt::make`], as a span of the exchange that it is made for.
    ///
    /// # Errors
    /// As of [`Attempt::make`].
    pub(super) async fn run(&self, request: &mut Request) -> Result<Response, Box<Missed>> {
        if request.exchange.spans.is_none() {
            return self.make(request).await;
        }
        // Boxed, because most exchanges are not traced and every call has room for it.
        Box::pin(self.traced(request)).await
    }

    async fn traced(&self, request: &mut Request) -> Result<Response, Box<Missed>> {
        let tries = if self.own { request.exchange.record.read(|record| record.attempts) } else { 0 };
        let address = &self.member.endpoint.key.address;
        let span = trace::begin_try(request, (&self.user.name, address), tries);
        let made = self.make(request).await;
        if let Some(span) = span {
            let peer = request.exchange.record.read(|record| record.endpoint).filter(|_| self.own);
            let outcome = made.as_ref().map(|response| response.head.status.as_u16());
            trace::end_try(span, peer, outcome.map_err(|missed| (missed.error.kind(), missed.error.to_string())));
        }
        made
    }
}
