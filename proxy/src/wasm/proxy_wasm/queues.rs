//! Shared queues, found by the name of their VM and their own. Bounded in number, items and bytes for each VM's name, so
//! that no module takes the room of another's; and gone with the last VM of that name. Whoever registered a queue is told
//! of each item, one of them at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::Semaphore;

use super::status::{Done, Status};

/// Queues of one VM's name.
const QUEUES_MAX: usize = 64;
/// Items of one queue.
const ITEMS_MAX: usize = 16 << 10;
/// Bytes of the names and items of all queues of one VM's name.
const BYTES_MAX: usize = 16 << 20;

/// All queues of the process.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Queues(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    groups: HashMap<String, Weak<Group>>,
    /// By number. A number is given once: who kept that of a queue that is gone finds no other.
    queues: HashMap<u32, Weak<Queue>>,
    last: u32,
}

/// The queues of one VM's name: there for as long as somebody holds this.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Group {
    queues: Mutex<Named>,
    bytes: Arc<AtomicUsize>,
}

// By name: number and queue.
type Named = HashMap<Vec<u8>, (u32, Arc<Queue>)>;

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    items: Mutex<VecDeque<Vec<u8>>>,
    /// Of all queues of its group.
    bytes: Arc<AtomicUsize>,
    /// One permit for each item that nobody was told of yet.
    pub(super) ready: Semaphore,
}

impl Queues {
    /// Those of a VM's name.
    pub(in crate::wasm) fn group(&self, vm_id: &str) -> Arc<Group> {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        registry.groups.retain(|_, group| group.strong_count() > 0);
        registry.queues.retain(|_, queue| queue.strong_count() > 0);
        if let Some(found) = registry.groups.get(vm_id).and_then(Weak::upgrade) {
            return found;
        }
        let made = Arc::new(Group::default());
        registry.groups.insert(vm_id.to_owned(), Arc::downgrade(&made));
        made
    }

    /// The number of a queue of `group`, which is made if it is not there.
    pub(super) fn register(&self, group: &Group, name: Vec<u8>) -> Done<(u32, Arc<Queue>)> {
        let mut queues = group.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, queue)) = queues.get(&name) {
            return Ok((*number, Arc::clone(queue)));
        }
        if queues.len() >= QUEUES_MAX {
            return Err(Status::InternalFailure);
        }
        take(&group.bytes, name.len())?;
        let (items, bytes) = (Mutex::default(), Arc::clone(&group.bytes));
        let queue = Arc::new(Queue { items, bytes, ready: Semaphore::new(0) });
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        registry.last = registry.last.checked_add(1).ok_or(Status::InternalFailure)?;
        let number = registry.last;
        registry.queues.insert(number, Arc::downgrade(&queue));
        queues.insert(name, (number, Arc::clone(&queue)));
        Ok((number, queue))
    }

    /// The number of a queue that somebody registered.
    pub(super) fn resolve(&self, vm_id: &str, name: &[u8]) -> Done<u32> {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let group = registry.groups.get(vm_id).and_then(Weak::upgrade).ok_or(Status::NotFound)?;
        // A group is locked before the registry elsewhere, too.
        drop(registry);
        let queues = group.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(name).map(|(number, _)| *number).ok_or(Status::NotFound)
    }

    /// A queue by its number.
    pub(super) fn queue(&self, number: u32) -> Done<Arc<Queue>> {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        registry.queues.get(&number).and_then(Weak::upgrade).ok_or(Status::NotFound)
    }
}

// Takes room for so many bytes.
fn take(bytes: &AtomicUsize, count: usize) -> Done {
    let fits = |taken: usize| taken.checked_add(count).filter(|sum| *sum <= BYTES_MAX);
    bytes.fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(|_| Status::InternalFailure)
}

impl Queue {
    /// Adds an item to the end.
    pub(super) fn push(&self, item: Vec<u8>) -> Done {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() >= ITEMS_MAX {
            return Err(Status::InternalFailure);
        }
        take(&self.bytes, item.len())?;
        items.push_back(item);
        drop(items);
        self.ready.add_permits(1);
        Ok(())
    }

    /// Takes the first item.
    pub(super) fn pop(&self) -> Done<Vec<u8>> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let item = items.pop_front().ok_or(Status::Empty)?;
        self.bytes.fetch_sub(item.len(), Relaxed);
        Ok(item)
    }

    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_the_name_of_its_vm_and_its_own_until_its_vm_is_gone() {
        let queues = Queues::default();
        let (a, b) = (queues.group("a"), queues.group("b"));
        let (number, queue) = queues.register(&a, b"q".to_vec()).unwrap();
        assert_eq!(queues.register(&queues.group("a"), b"q".to_vec()).unwrap().0, number);
        assert_ne!(queues.register(&b, b"q".to_vec()).unwrap().0, number);
        assert_eq!(queues.resolve("a", b"q"), Ok(number));
        assert_eq!(
            (queues.resolve("a", b"r"), queues.resolve("c", b"q")),
            (Err(Status::NotFound), Err(Status::NotFound))
        );
        queue.push(b"1".to_vec()).unwrap();
        queues.queue(number).unwrap().push(b"2".to_vec()).unwrap();
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Ok(b"1".to_vec()), Ok(b"2".to_vec()), Err(Status::Empty)));
        assert!(queues.queue(0).is_err() && queues.queue(99).is_err());
        drop((a, queue));
        assert!(queues.queue(number).is_err() && queues.resolve("a", b"q").is_err());
        let anew = queues.group("a");
        assert_ne!(queues.register(&anew, b"q".to_vec()).unwrap().0, number, "a number is given once");
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_what_makes_room() {
        let queues = Queues::default();
        let (group, other) = (queues.group("a"), queues.group("b"));
        let (_, queue) = queues.register(&group, b"q".to_vec()).unwrap();
        queue.push(vec![0; BYTES_MAX - 1]).unwrap();
        assert_eq!(queue.push(vec![0]), Err(Status::InternalFailure));
        assert!(queues.register(&group, b"r".to_vec()).is_err(), "the name has no room, either");
        queues.register(&other, b"q".to_vec()).unwrap().1.push(vec![0; 9]).unwrap();
        queue.pop().unwrap();
        assert_eq!(queue.push(vec![0]), Ok(()));
        let registered = (0..2 * QUEUES_MAX).filter(|n| queues.register(&group, vec![*n as u8; 2]).is_ok()).count();
        assert_eq!(registered, QUEUES_MAX - 1);
    }
}
