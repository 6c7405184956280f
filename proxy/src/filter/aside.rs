//! What a step sends along the rest of its chain though it has answered already. In a task of its own, bounded in number
//! and time; its response is read to the end, for the step that sent it.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;
use http_body_util::BodyExt as _;

use super::{Aside, Chain};
use crate::exchange::{Call, Outcome, Timers};

/// Sends it from the step at `start` on. Where as many as may be are under way, it is dropped, and a later request may
/// send it again.
pub(super) fn send(chain: &Chain, start: usize, aside: Aside, end: &Arc<dyn Call>) {
    let Some(slot) = Slot::take(&aside) else { return };
    tokio::task::spawn_local(run(chain.clone(), start, aside, Arc::clone(end), slot));
}

// In a box, as a chain would otherwise hold itself.
fn run(
    chain: Chain,
    start: usize,
    Aside { request, visit }: Aside,
    end: Arc<dyn Call>,
    slot: Slot,
) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        let exchange = Rc::clone(&request.exchange);
        let timers = exchange.worker.locals.of::<Timers>();
        let (status, bytes) = (Cell::new(0), Cell::new(0));
        let whole = async {
            let response = chain.run_from(start, request, &end, None).await;
            status.set(response.head.status.as_u16());
            if let Ok(mut seen) = visit.response(response).settle().await {
                while let Some(Ok(frame)) = seen.body.frame().await {
                    bytes.set(bytes.get() + frame.data_ref().map_or(0, |data| data.len() as u64));
                }
            }
        };
        let _late = timers.within(exchange.started + ASIDE_TIMEOUT, whole).await.is_err();
        exchange.finish(Outcome {
            status: status.get(),
            request_bytes: 0,
            response_bytes: bytes.get(),
            duration: exchange.started.elapsed(),
            error: exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| *kind)),
        });
        drop(slot);
    })
}

/// Under way at a time, on one worker.
const ASIDES_MAX: usize = 256;
/// To the last byte of the response.
const ASIDE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Asides(Cell<usize>);

struct Slot(Rc<Asides>);

impl Slot {
    fn take(aside: &Aside) -> Option<Self> {
        let asides = aside.request.exchange.worker.locals.of::<Asides>();
        let count = asides.0.get();
        (count < ASIDES_MAX).then(|| {
            asides.0.set(count + 1);
            Self(asides)
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}
