//! Work that keeps a processor busy for long, away from the workers: on few threads at a time, with a bounded queue.
//! Knows nothing of the work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Room for such work; one for the process.
#[derive(Debug)]
pub struct Offload {
    control: Handle,
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A place on one of the threads.
#[derive(Debug)]
pub struct Place(Handle, OwnedSemaphorePermit);

/// How much work may wait for a place, beside what is under way.
const WAITING_MAX: usize = 256;

impl Offload {
    /// Half of the processors, on threads that `control` lends.
    pub fn new(control: Handle) -> Self {
        let processors = thread::available_parallelism().map_or(1, Into::into);
        let threads = Arc::new(Semaphore::new(processors.div_ceil(2)));
        Self { control, threads, waiting: AtomicUsize::new(0) }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// When as much as may be waits already.
    pub async fn place(&self) -> Result<Place, Full> {
        if let Ok(permit) = Arc::clone(&self.threads).try_acquire_owned() {
            return Ok(Place(self.control.clone(), permit));
        }
        let _waiting = Waiting::enter(&self.waiting)?;
        let permit = Arc::clone(&self.threads).acquire_owned().await.expect("nobody closes it");
        Ok(Place(self.control.clone(), permit))
    }
}

impl Place {
    /// Does `work` there. Who no longer waits for it does not end it: its place is free when it is done.
    ///
    /// # Errors
    /// When it panicked, or the process is about to end.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Full> {
        let Self(control, permit) = self;
        let done = control.spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        done.await.map_err(|_| Full)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, Full> {
        let waiting = Self(count);
        if count.fetch_add(1, Relaxed) < WAITING_MAX { Ok(waiting) } else { Err(Full) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn work_beyond_the_queue_is_refused_and_those_who_leave_make_room() {
        let offload = Offload { threads: Arc::new(Semaphore::new(1)), ..Offload::new(Handle::current()) };
        let first = offload.place().await.unwrap();
        let mut queue: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(offload.place())).collect();
        assert!(queue.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        assert_eq!(offload.place().await.unwrap_err(), Full);
        drop(queue.pop());
        assert!(offload.place().now_or_never().is_none(), "one more may wait again");
        drop(queue);
        assert_eq!(first.run(|| 7).await, Ok(7));
        assert_eq!(offload.place().await.unwrap().run(|| 8).await, Ok(8));
    }
}
