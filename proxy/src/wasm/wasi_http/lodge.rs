//! Bodies of this worker, as a store can hold them. A store must be `Send` and a body is not: the store gets a number,
//! and the body stays here, on the thread that it belongs to. Nothing is copied, and nothing is read before the guest
//! asks for it.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use wasmtime_wasi_http::Error as WasiError;

use super::errors;
use crate::{
    error::Error,
    exchange::{Body, Timeout, Timers},
};

/// A body, held by the exchange and by a guest.
pub(super) struct Lodging {
    body: RefCell<Body>,
    touched: Cell<bool>,
    failed: RefCell<Option<Error>>,
    pace: RefCell<Option<Pace>>,
}

// How long the next frame may take.
struct Pace {
    timers: Rc<Timers>,
    limit: Duration,
    timeout: Option<Timeout>,
}

/// The number of a lodged body, and the right to read it. Dropped, the body has one holder less.
pub(super) struct Lodged(u64);

thread_local! {
    static LODGED: RefCell<HashMap<u64, Rc<Lodging>, foldhash::fast::RandomState>> = RefCell::default();
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

impl Lodging {
    /// A body that somebody else than the guest may want back.
    pub(super) fn new(body: Body) -> Rc<Self> {
        Rc::new(Self {
            body: RefCell::new(body),
            touched: Cell::new(false),
            failed: RefCell::default(),
            pace: RefCell::default(),
        })
    }

    /// Has each frame come within `limit` of being asked for.
    pub(super) fn paced(self: Rc<Self>, timers: Rc<Timers>, limit: Option<Duration>) -> Rc<Self> {
        *self.pace.borrow_mut() = limit.map(|limit| Pace { timers, limit, timeout: None });
        self
    }

    /// Lets it in.
    pub(super) fn lodge(self: &Rc<Self>) -> Lodged {
        let number = NEXT.get();
        NEXT.set(number + 1);
        LODGED.with_borrow_mut(|lodged| lodged.insert(number, Rc::clone(self)));
        Lodged(number)
    }

    /// The body as it came, if nobody has read of it.
    pub(super) fn take_back(&self) -> Option<Body> {
        (!self.touched.get()).then(|| self.body.borrow_mut().take())
    }

    /// Why it broke off, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failed.take()
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        self.touched.set(true);
        // Taken out, so that nothing is borrowed while whatever is behind it runs.
        let mut body = self.body.take();
        let polled = Pin::new(&mut body).poll_frame(cx);
        self.body.replace(body);
        if polled.is_pending() {
            return self.poll_pace(cx);
        }
        if let Some(pace) = &mut *self.pace.borrow_mut() {
            pace.timeout = None;
        }
        Poll::Ready(ready!(polled).map(|frame| {
            frame.map_err(|error| {
                let told = errors::to_guest(&error);
                self.failed.replace(Some(error));
                told
            })
        }))
    }

    fn poll_pace(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        let mut pace = self.pace.borrow_mut();
        let Some(Pace { timers, limit, timeout }) = &mut *pace else { return Poll::Pending };
        let timeout = timeout.get_or_insert_with(|| timers.at(Instant::now() + *limit));
        Pin::new(timeout).poll(cx).map(|()| Some(Err(WasiError::ConnectionReadTimeout)))
    }
}

impl http_body::Body for Lodged {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        // Not there on another thread, where no guest of an exchange runs.
        let Some(lodging) = LODGED.with_borrow(|lodged| lodged.get(&self.0).cloned()) else {
            return Poll::Ready(Some(Err(WasiError::InternalError(None))));
        };
        lodging.poll(cx)
    }

    fn size_hint(&self) -> SizeHint {
        LODGED
            .with_borrow(|lodged| lodged.get(&self.0).map(|lodging| lodging.body.borrow().size_hint()))
            .unwrap_or_default()
    }
}

impl Drop for Lodged {
    fn drop(&mut self) {
        // The body is dropped after the map is let go: what is behind it may come back here. When the thread ends, the
        // map may be gone already.
        let left = LODGED.try_with(|lodged| lodged.try_borrow_mut().ok()?.remove(&self.0));
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_is_read_through_its_number_and_gone_with_it() {
        let lodging = Lodging::new(Body::full("text"));
        let mut lodged = lodging.lodge();
        assert_eq!(lodged.size_hint().exact(), Some(4));
        let frame = lodged.frame().await.unwrap().unwrap();
        assert_eq!((&frame.into_data().unwrap()[..], lodged.frame().await.is_none()), (&b"text"[..], true));
        assert!(lodging.take_back().is_none());
        drop(lodged);
        assert_eq!((Rc::strong_count(&lodging), LODGED.with_borrow(HashMap::len)), (1, 0));
    }

    #[test]
    fn a_body_that_nobody_read_is_given_back_whole() {
        let lodging = Lodging::new(Body::full("text"));
        drop(lodging.lodge());
        assert_eq!(&lodging.take_back().unwrap().in_memory().unwrap()[..], b"text");
    }
}
