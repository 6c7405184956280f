//! A listener on one worker: what its connections share, who is in, and the word that it closes. That word costs a
//! request nothing: connections leave a waker once, and look at a flag of their own worker.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::Hall;
use crate::{
    config::spec::{Listener, ListenerTls, Part, ProxyProtocol},
    exchange::Worker,
    snapshot::View,
};

/// One listener on one worker.
#[derive(Debug)]
pub struct Door {
    /// The listener's name.
    pub name: Arc<str>,
    /// Where its connections take generations from.
    pub view: Rc<View>,
    /// The worker.
    pub worker: Rc<Worker>,
    /// The listener in the whole process.
    pub hall: Arc<Hall>,
    closing: Cell<bool>,
    summons: Cell<u32>,
    // The policy of the last look.
    seen: RefCell<Option<Arc<Part<Listener>>>>,
    inside: RefCell<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    // `None` is a free place, or one whose owner has not waited yet.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    waiting: Option<Waker>,
}

/// Whoever is inside a door: the accept loop and each connection. Dropped, it has left.
#[derive(Debug)]
pub struct Resident {
    door: Rc<Door>,
    place: usize,
    attends: Cell<bool>,
}

impl Door {
    /// An open door.
    pub fn new(name: Arc<str>, view: Rc<View>, worker: Rc<Worker>, hall: Arc<Hall>) -> Rc<Self> {
        let (closing, summons, seen) = (Cell::new(false), Cell::new(0), RefCell::default());
        let door = Self { name, view, worker, hall, closing, summons, seen, inside: RefCell::default() };
        door.look();
        Rc::new(door)
    }

    /// Closes: connections that wait in the socket's queue are still accepted, idle ones are closed, the others end
    /// after their current exchange.
    pub fn close(&self) {
        self.closing.set(true);
        let inside = self.inside.borrow();
        inside.wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// Looks at what the newest snapshot says of the listener. Where it became narrower whom it takes, all connections are
    /// woken, to see whether it still takes them.
    pub fn look(&self) {
        let snapshot = self.view.stable();
        let Some(plan) = snapshot.shared().listeners.get(&self.name) else { return };
        let before = self.seen.replace(Some(Arc::clone(&plan.spec)));
        if before.is_some_and(|before| narrows(&before, &plan.spec)) {
            self.summons.set(self.summons.get().wrapping_add(1));
            self.inside.borrow().wakers.iter().flatten().for_each(Waker::wake_by_ref);
        }
    }

    /// How often connections were woken for that.
    #[inline]
    pub fn summons(&self) -> u32 {
        self.summons.get()
    }

    /// Whether [`Door::close`] was called.
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// How many are inside: connections, tunnels, and the accept loop.
    pub fn residents(&self) -> usize {
        let inside = self.inside.borrow();
        inside.wakers.len() - inside.free.len()
    }

    /// Waits until nobody is inside. One caller at a time.
    pub async fn empty(&self) {
        std::future::poll_fn(|cx| {
            if self.residents() == 0 {
                return Poll::Ready(());
            }
            self.inside.borrow_mut().waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Enters.
    pub fn enter(self: &Rc<Self>) -> Resident {
        let mut inside = self.inside.borrow_mut();
        let place = inside.free.pop().unwrap_or_else(|| {
            inside.wakers.push(None);
            inside.wakers.len() - 1
        });
        Resident { door: Rc::clone(self), place, attends: Cell::new(false) }
    }
}

impl Resident {
    /// The door.
    pub fn door(&self) -> &Rc<Door> {
        &self.door
    }

    /// Asks for this task to be woken when the door closes; the first call counts, so it must always be the same task.
    #[inline]
    pub fn attend(&self, cx: &Context<'_>) {
        if !self.attends.replace(true) {
            self.door.inside.borrow_mut().wakers[self.place] = Some(cx.waker().clone());
        }
    }

    /// Wakes the task that attends.
    pub fn wake(&self) {
        if let Some(waker) = &self.door.inside.borrow().wakers[self.place] {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let mut inside = self.door.inside.borrow_mut();
        inside.wakers[self.place] = None;
        inside.free.push(self.place);
        if inside.free.len() == inside.wakers.len()
            && let Some(waiting) = inside.waiting.take()
        {
            waiting.wake();
        }
    }
}

fn narrows(before: &Listener, now: &Listener) -> bool {
    ListenerTls::narrows(before.tls.as_ref(), now.tls.as_ref())
        || ProxyProtocol::narrows(before.proxy_protocol.as_ref(), now.proxy_protocol.as_ref())
}
