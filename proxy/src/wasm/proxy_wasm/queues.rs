//! Shared queues: one registry for the process, a queue by the name of its VM and its own. Bounded in number, items and
//! bytes. Whoever registered a queue is told of each item, one of them at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use super::status::{Done, Status};

/// Queues of the process.
const QUEUES_MAX: usize = 1024;
/// Items of one queue.
const ITEMS_MAX: usize = 16 << 10;
/// Bytes of the items of one queue.
const BYTES_MAX: usize = 16 << 20;

/// All queues.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Queues(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    numbers: HashMap<(String, Vec<u8>), u32>,
    queues: Vec<Arc<Queue>>,
}

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    items: Mutex<Items>,
    /// One permit for each item that nobody was told of yet.
    pub(super) ready: Semaphore,
}

#[derive(Debug, Default)]
struct Items {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queues {
    /// The number of a queue, which is made if it is not there.
    pub(super) fn register(&self, vm_id: &str, name: Vec<u8>) -> Done<(u32, Arc<Queue>)> {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Registry { numbers, queues } = &mut *registry;
        let key = (vm_id.to_owned(), name);
        if let Some(number) = numbers.get(&key) {
            return Ok((*number, Arc::clone(&queues[*number as usize - 1])));
        }
        if queues.len() >= QUEUES_MAX {
            return Err(Status::InternalFailure);
        }
        let queue = Arc::new(Queue { items: Mutex::default(), ready: Semaphore::new(0) });
        queues.push(Arc::clone(&queue));
        let number = u32::try_from(queues.len()).map_err(|_| Status::InternalFailure)?;
        numbers.insert(key, number);
        Ok((number, queue))
    }

    /// The number of a queue that somebody registered.
    pub(super) fn resolve(&self, vm_id: String, name: Vec<u8>) -> Done<u32> {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        registry.numbers.get(&(vm_id, name)).copied().ok_or(Status::NotFound)
    }

    /// A queue by its number.
    pub(super) fn queue(&self, number: u32) -> Done<Arc<Queue>> {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (number as usize).checked_sub(1).ok_or(Status::NotFound)?;
        registry.queues.get(place).cloned().ok_or(Status::NotFound)
    }
}

impl Queue {
    /// Adds an item to the end.
    pub(super) fn push(&self, item: Vec<u8>) -> Done {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.waiting.len() >= ITEMS_MAX || items.bytes + item.len() > BYTES_MAX {
            return Err(Status::InternalFailure);
        }
        items.bytes += item.len();
        items.waiting.push_back(item);
        drop(items);
        self.ready.add_permits(1);
        Ok(())
    }

    /// Takes the first item.
    pub(super) fn pop(&self) -> Done<Vec<u8>> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let item = items.waiting.pop_front().ok_or(Status::Empty)?;
        items.bytes -= item.len();
        Ok(item)
    }

    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_the_name_of_its_vm_and_its_own() {
        let queues = Queues::default();
        let (number, queue) = queues.register("a", b"q".to_vec()).unwrap();
        assert_eq!(queues.register("a", b"q".to_vec()).unwrap().0, number);
        assert_ne!(queues.register("b", b"q".to_vec()).unwrap().0, number);
        assert_eq!(queues.resolve("a".into(), b"q".to_vec()), Ok(number));
        assert_eq!(queues.resolve("a".into(), b"r".to_vec()), Err(Status::NotFound));
        queue.push(b"1".to_vec()).unwrap();
        queues.queue(number).unwrap().push(b"2".to_vec()).unwrap();
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Ok(b"1".to_vec()), Ok(b"2".to_vec()), Err(Status::Empty)));
        assert!(queues.queue(0).is_err() && queues.queue(99).is_err());
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_what_makes_room() {
        let queues = Queues::default();
        let (_, queue) = queues.register("a", b"q".to_vec()).unwrap();
        queue.push(vec![0; BYTES_MAX]).unwrap();
        assert_eq!(queue.push(vec![0]), Err(Status::InternalFailure));
        queue.pop().unwrap();
        assert_eq!(queue.push(vec![0]), Ok(()));
    }
}
