//! A call that asks for the chunks of a body by itself: what passes between it and the body, and how it is driven from
//! one chunk to the next. While it waits for a chunk it has no turn and spends no time. Knows no body and no policy.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::call::{Fail, Visit};

/// What passes between a guest and the body that it sees. The guest is on its stack, so everything is behind cells.
#[derive(Debug, Default)]
pub(super) struct Pull {
    /// What takes the place of the present chunk.
    replaced: RefCell<Option<Vec<u8>>>,
    /// The present chunk is the last.
    last: Cell<bool>,
    /// The guest is done with the present chunk and waits for the next.
    waits: Cell<bool>,
    next: RefCell<Option<Next>>,
    /// What comes after the present chunk is not to be shown.
    rest_passes: Cell<bool>,
}

/// What a guest gets that waits: the bytes of a chunk and whether it is the last, or why there is none.
pub(super) type Next = Result<(Vec<u8>, bool), String>;

/// A call into a guest.
type Call<R> = Pin<Box<dyn Future<Output = Result<R, Fail>>>>;

/// A call that may ask for chunks.
pub(super) struct Pulled<R> {
    phase: &'static str,
    call: Call<R>,
    pull: Rc<Pull>,
}

/// How far a call got.
pub(super) enum Step<R> {
    /// It returned. What it put in the place of the last chunk that it saw, and whether it lets the rest pass.
    Returned { answer: R, replaced: Option<Vec<u8>>, rest_passes: bool },
    /// It waits for the next chunk; of the present one it made this.
    Waits { replaced: Option<Vec<u8>>, call: Pulled<R> },
}

impl Pull {
    // The host functions: see the WIT.

    pub(super) fn replace(&self, bytes: Vec<u8>) {
        self.replaced.replace(Some(bytes));
    }

    pub(super) fn pass_rest(&self) {
        self.rest_passes.set(true);
    }

    /// Whether there is a next chunk; if there is, the guest waits for it.
    pub(super) fn ask(&self) -> bool {
        let asks = !self.last.get() && !self.rest_passes.get();
        self.waits.set(asks);
        asks
    }

    /// The chunk that was asked for, once it is there.
    pub(super) fn answered(&self) -> Option<Next> {
        self.next.take()
    }
}

impl<R: 'static> Pulled<R> {
    /// A call that has seen the first chunk: `last` if there is no other.
    pub(super) fn new(phase: &'static str, call: impl Future<Output = Result<R, Fail>> + 'static, last: bool) -> Self {
        Self { phase, call: Box::pin(call), pull: Rc::new(Pull { last: Cell::new(last), ..Pull::default() }) }
    }

    /// Gives it the chunk that it waits for.
    pub(super) fn give(&self, next: Next) {
        self.pull.last.set(!matches!(next, Ok((_, false))));
        self.pull.waits.set(false);
        self.pull.next.replace(Some(next));
    }

    /// Runs it until it returns, or waits for the next chunk.
    ///
    /// # Errors
    /// It failed, or ran out of time; the guest is gone.
    pub(super) async fn step(mut self, visit: &Rc<Visit>) -> Result<Step<R>, Fail> {
        let returned = visit.turn(self.phase, |cx| self.poll(visit, cx)).await?;
        let replaced = self.pull.replaced.take();
        Ok(match returned {
            Some(answer) => Step::Returned { answer, replaced, rest_passes: self.pull.rest_passes.get() },
            None => Step::Waits { replaced, call: self },
        })
    }

    // `None`: it waits. The two bodies of an exchange may have a call each, so the visit knows of this one only while it
    // is polled.
    fn poll(&mut self, visit: &Visit, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Fail>> {
        visit.pull.replace(Some(Rc::clone(&self.pull)));
        let polled = self.call.as_mut().poll(cx);
        visit.pull.take();
        match polled {
            Poll::Ready(returned) => Poll::Ready(returned.map(Some)),
            Poll::Pending if self.pull.waits.get() => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        }
    }
}
