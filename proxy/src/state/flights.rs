//! Work that several want done, by key: the first does it, the others wait until it is done. Sharded by key; a shard is
//! locked for one look. Knows nothing of the work.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

/// What is being done.
#[derive(Debug, Default)]
pub struct Flights {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

type Shard = HashMap<Arc<str>, Arc<Semaphore>>;

/// What becomes of who comes.
#[derive(Debug)]
pub enum Boarding {
    /// Does it.
    Lead(Lead),
    /// Waits for who does it.
    Follow(Follow),
    /// As many as may wait do.
    Full,
}

/// Who does it; dropped, it is done, well or not.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: Arc<str>,
    // Has no permit and never gets one: it is closed when it is done.
    landed: Arc<Semaphore>,
}

/// Who waits.
#[derive(Debug)]
pub struct Follow(Arc<Semaphore>);

const SHARDS: usize = 16;
/// Who may wait for one.
const FOLLOWERS_MAX: usize = 1024;

impl Flights {
    /// Does what `key` stands for, or waits for who does it.
    pub fn board(self: &Arc<Self>, key: &str) -> Boarding {
        let mut flights = self.shard(key);
        if let Some(landed) = flights.get(key) {
            // Beside the followers, the map and the one who does it hold it.
            let full = Arc::strong_count(landed) >= FOLLOWERS_MAX + 2;
            return if full { Boarding::Full } else { Boarding::Follow(Follow(Arc::clone(landed))) };
        }
        let (key, landed): (Arc<str>, _) = (key.into(), Arc::new(Semaphore::new(0)));
        flights.insert(Arc::clone(&key), Arc::clone(&landed));
        Boarding::Lead(Lead { flights: Arc::clone(self), key, landed })
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Whether anybody waits for it.
    pub fn is_followed(&self) -> bool {
        Arc::strong_count(&self.landed) > 2
    }
}

impl Follow {
    /// Waits until it is done.
    pub async fn landed(self) {
        let closed = self.0.acquire().await;
        debug_assert!(closed.is_err(), "nobody adds permits");
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.shard(&self.key).remove(&self.key);
        self.landed.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_does_it_and_the_others_wait() {
        let flights = Arc::new(Flights::default());
        let Boarding::Lead(lead) = flights.board("a") else { panic!("nobody does it") };
        let Boarding::Lead(_) = flights.board("b") else { panic!("nobody does this one") };
        let mut waiting: Vec<_> = std::iter::from_fn(|| match flights.board("a") {
            Boarding::Follow(follow) => Some(Box::pin(follow.landed())),
            _ => None,
        })
        .collect();
        assert_eq!(waiting.len(), FOLLOWERS_MAX);
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        drop(lead);
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_some()));
        assert!(matches!(flights.board("a"), Boarding::Lead(_)));
        assert!(flights.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
