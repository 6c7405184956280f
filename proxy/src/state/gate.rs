//! A limit on what is under way at once in the whole process, and a queue before it. Whoever finds room takes it with
//! one atomic operation; the queue and its lock are for those who do not. Knows nothing of what is let in.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

/// The gate of one upstream. The limit comes with whoever enters, so that a changed one holds from the next on.
#[derive(Debug, Default)]
pub struct Gate {
    limit: AtomicUsize,
    under_way: AtomicUsize,
    // As many as the queue has. Written with its lock held.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Turn>>>,
}

#[derive(Debug, Default)]
struct Turn(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    admitted: bool,
    waker: Option<Waker>,
}

/// One that is under way, until it is dropped.
#[derive(Debug)]
pub struct Pass(Arc<Gate>);

/// One that waits for its turn; dropped, it gives up its place.
#[derive(Debug)]
pub struct InLine {
    gate: Arc<Gate>,
    turn: Arc<Turn>,
    taken: bool,
}

impl Gate {
    /// Lets one in, where fewer than `limit` are under way and nobody waits.
    pub fn enter(self: &Arc<Self>, limit: usize) -> Option<Pass> {
        self.adopt(limit);
        (self.waiting.load(SeqCst) == 0 && self.claim()).then(|| Pass(Arc::clone(self)))
    }

    /// Has one wait behind those who came before, unless `waiting_max` wait already.
    pub fn wait(self: &Arc<Self>, limit: usize, waiting_max: usize) -> Option<InLine> {
        self.adopt(limit);
        let turn = Arc::new(Turn::default());
        let mut queue = self.lock();
        if queue.len() >= waiting_max {
            return None;
        }
        queue.push_back(Arc::clone(&turn));
        // Said before it is looked once more whether there is room: whoever leaves meanwhile sees it, or is seen.
        self.waiting.store(queue.len(), SeqCst);
        self.admit(queue);
        Some(InLine { gate: Arc::clone(self), turn, taken: false })
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(SeqCst)
    }

    fn adopt(&self, limit: usize) {
        if self.limit.load(SeqCst) != limit {
            self.limit.store(limit, SeqCst);
        }
    }

    fn claim(&self) -> bool {
        let limit = self.limit.load(SeqCst);
        let one_more = |under_way: usize| (under_way < limit).then_some(under_way + 1);
        self.under_way.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    fn leave(&self) {
        self.under_way.fetch_sub(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.admit(self.lock());
        }
    }

    // Lets in those at the front as far as there is room.
    fn admit(&self, mut queue: MutexGuard<'_, VecDeque<Arc<Turn>>>) {
        let mut wakers = Vec::new();
        while !queue.is_empty() && self.claim() {
            if let Some(turn) = queue.pop_front() {
                let mut state = turn.0.lock().unwrap_or_else(PoisonError::into_inner);
                state.admitted = true;
                wakers.extend(state.waker.take());
            }
        }
        self.waiting.store(queue.len(), SeqCst);
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Turn>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Future for InLine {
    type Output = Pass;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pass> {
        let mut state = self.turn.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.admitted {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.taken = true;
        Poll::Ready(Pass(Arc::clone(&self.gate)))
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut queue = self.gate.lock();
        queue.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
        self.gate.waiting.store(queue.len(), SeqCst);
        drop(queue);
        // Let in just before it gave up: the next one is.
        if self.turn.0.lock().unwrap_or_else(PoisonError::into_inner).admitted {
            self.gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn those_who_wait_are_let_in_in_the_order_of_their_arrival() {
        let gate = Arc::<Gate>::default();
        let first = gate.enter(1).unwrap();
        assert!(gate.enter(1).is_none());
        let (mut a, mut b) = (gate.wait(1, 2).unwrap(), gate.wait(1, 2).unwrap());
        assert!(gate.wait(1, 2).is_none(), "the queue is full");
        assert!((&mut a).now_or_never().is_none());
        drop(first);
        assert!(gate.enter(1).is_none(), "nobody overtakes those who wait");
        assert!((&mut b).now_or_never().is_none());
        let pass = a.now_or_never().unwrap();
        drop(pass);
        drop(b.now_or_never().unwrap());
        assert_eq!(gate.under_way(), 0);
        assert!(gate.enter(1).is_some());
    }

    #[test]
    fn who_gives_up_holds_nobody_up() {
        let gate = Arc::<Gate>::default();
        let first = gate.enter(1).unwrap();
        let (a, b, c) = (gate.wait(1, 9).unwrap(), gate.wait(1, 9).unwrap(), gate.wait(1, 9).unwrap());
        drop(a);
        drop(first);
        drop(b);
        drop(c.now_or_never().expect("it is its turn, though the one before was let in and gave up"));
        assert_eq!((gate.under_way(), gate.waiting.load(SeqCst)), (0, 0));
    }

    #[test]
    fn a_changed_limit_holds_for_those_who_wait_and_those_under_way() {
        let gate = Arc::<Gate>::default();
        let passes: Vec<_> = (0..3).map(|_| gate.enter(3).unwrap()).collect();
        let waiting = gate.wait(3, 9).unwrap();
        assert!(gate.enter(5).is_none(), "one waits");
        let next = gate.wait(5, 9).unwrap();
        assert!(waiting.now_or_never().is_some() && next.now_or_never().is_some());
        drop(passes);
        assert!(gate.enter(1).is_some());
    }

    #[test]
    fn no_one_is_forgotten_when_many_come_and_go() {
        let gate = Arc::<Gate>::default();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let gate = Arc::clone(&gate);
                std::thread::spawn(move || {
                    for _ in 0..2_000 {
                        let pass = match gate.enter(2) {
                            Some(pass) => pass,
                            None => futures_executor(gate.wait(2, 100).unwrap()),
                        };
                        assert!(gate.under_way() <= 2);
                        drop(pass);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(gate.under_way(), 0);
    }

    fn futures_executor<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(20), future).await.unwrap() })
    }
}
