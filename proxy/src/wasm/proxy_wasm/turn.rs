//! One at a time has the VM, in the order of asking, all on one thread: what a lock for threads costs is paid at each
//! callback otherwise. Knows no VM.

use std::{
    cell::RefCell,
    collections::VecDeque,
    ops::{Deref, DerefMut},
    rc::Rc,
};

use tokio::sync::oneshot;

/// Where something is that one at a time has, or where it is missed.
pub(super) struct Place<T>(RefCell<Inner<T>>);

struct Inner<T> {
    thing: Option<T>,
    taken: bool,
    waiting: VecDeque<oneshot::Sender<Turn<T>>>,
}

/// The turn to have it, or to put one there. Ends when it is dropped.
pub(super) struct Turn<T> {
    place: Rc<Place<T>>,
    thing: Option<T>,
}

impl<T> Place<T> {
    pub(super) fn new(thing: Option<T>) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Inner { thing, taken: false, waiting: VecDeque::new() })))
    }

    /// A turn, if nobody has one.
    #[inline]
    pub(super) fn try_take(self: &Rc<Self>) -> Option<Turn<T>> {
        let mut inner = self.0.borrow_mut();
        if std::mem::replace(&mut inner.taken, true) {
            return None;
        }
        Some(Turn { thing: inner.thing.take(), place: Rc::clone(self) })
    }

    /// A turn, behind those who asked before.
    pub(super) async fn take(self: &Rc<Self>) -> Turn<T> {
        loop {
            if let Some(turn) = self.try_take() {
                return turn;
            }
            let (sender, receiver) = oneshot::channel();
            self.0.borrow_mut().waiting.push_back(sender);
            // Whoever has the turn hands it on when it ends.
            if let Ok(turn) = receiver.await {
                return turn;
            }
        }
    }
}

impl<T> Deref for Turn<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.thing
    }
}

impl<T> DerefMut for Turn<T> {
    fn deref_mut(&mut self) -> &mut Option<T> {
        &mut self.thing
    }
}

impl<T> Drop for Turn<T> {
    fn drop(&mut self) {
        let mut inner = self.place.0.borrow_mut();
        let thing = self.thing.take();
        // Who went away while waiting has no turn.
        while let Some(next) = inner.waiting.pop_front() {
            if !next.is_closed() {
                drop(inner);
                drop(next.send(Self { place: Rc::clone(&self.place), thing }));
                return;
            }
        }
        (inner.taken, inner.thing) = (false, thing);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn turns_come_in_the_order_of_asking_and_hand_on_what_is_there() {
        let place = Place::new(Some(1));
        let mut first = place.try_take().unwrap();
        assert!(place.try_take().is_none());
        let (mut second, mut gone, mut third) =
            (Box::pin(place.take()), Box::pin(place.take()), Box::pin(place.take()));
        for waits in [&mut second, &mut gone, &mut third] {
            assert!(waits.now_or_never().is_none());
        }
        *first = Some(2);
        drop((gone, first));
        assert!(third.as_mut().now_or_never().is_none());
        let had = second.now_or_never().unwrap();
        assert_eq!(*had, Some(2));
        drop(had);
        let mut had = third.now_or_never().unwrap();
        assert_eq!(had.take(), Some(2));
        drop(had);
        assert_eq!(*place.try_take().unwrap(), None);
    }

    #[test]
    fn a_turn_that_came_to_somebody_who_then_went_away_is_handed_on() {
        let place = Place::new(Some(1));
        let first = place.try_take().unwrap();
        let mut waits = Box::pin(place.take());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(first);
        drop(waits);
        assert_eq!(place.try_take().as_deref(), Some(&Some(1)));
    }
}
