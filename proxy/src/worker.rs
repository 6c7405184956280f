//! Workers: one OS thread each, with a current-thread runtime, its own sockets, connections and guests. Takes orders
//! from the control plane and answers when they are carried out. Must not know where a snapshot comes from.

use std::{
    collections::BTreeMap,
    io,
    net::{TcpListener, UdpSocket},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{self, LocalOptions},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    config::spec::Name,
    exchange::{Adoption, Worker},
    listen::{self, Transport},
    ring::Ring,
    server::{Door, Hall},
    snapshot::{Current, Graveyard, View},
    wasm::Wasm,
};

/// All workers of the process.
#[derive(Debug)]
pub struct Workers {
    crew: Vec<Hand>,
    rings: usize,
}

#[derive(Debug)]
struct Hand {
    orders: mpsc::UnboundedSender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What each worker has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Equipment {
    /// Called some time after much was freed; asks the allocator to give what nothing uses back to the system.
    pub give_back: Option<fn()>,
    /// Whether it has an io_uring, where the kernel permits one.
    pub ring: bool,
}

/// What changes about the doors of one worker with a swap.
#[derive(Debug, Default)]
pub struct DoorChanges {
    /// Sockets to accept on from now on.
    pub open: Vec<(Arc<Hall>, DoorId, OpenSocket)>,
    /// Listeners that are gone: accept what is queued, then close.
    pub close: Vec<DoorId>,
}

/// A listener, and what its connections come over.
pub type DoorId = (Name, Transport);

/// A socket to accept on.
#[derive(Debug)]
pub enum OpenSocket {
    /// For connections over TCP.
    Tcp(TcpListener),
    /// For connections over QUIC.
    Udp(UdpSocket),
}

enum Order {
    Adopt(Vec<Adoption>, oneshot::Sender<Result<(), String>>),
    Switch(Arc<Current>, DoorChanges, oneshot::Sender<()>),
    Sweep,
    Shut(oneshot::Sender<()>),
    End,
}

impl Workers {
    /// Starts `count` workers. They accept nothing before their first [`Workers::switch`].
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(count: usize, graveyard: &Graveyard, equipment: Equipment) -> io::Result<Self> {
        let mut workers = Self { crew: Vec::with_capacity(count), rings: 0 };
        let mut refused = None;
        for index in 0..count {
            let (hand, ring) = Hand::start(index, graveyard.clone(), equipment)?;
            workers.crew.push(hand);
            match ring {
                Ok(has_one) => workers.rings += usize::from(has_one),
                Err(error) => refused = Some(error),
            }
        }
        let (rings, without) = (workers.rings, count - workers.rings);
        match refused {
            Some(error) => tracing::warn!(%error, workers = without, "no io_uring: connections are served with epoll"),
            None if rings > 0 => tracing::info!(workers = rings, "connections without TLS are served with io_uring"),
            None => {}
        }
        Ok(workers)
    }

    /// How many have an io_uring.
    pub const fn rings(&self) -> usize {
        self.rings
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.crew.len()
    }

    /// Hands each worker the state that was prepared for it, one list a worker, and waits until all have taken it.
    ///
    /// # Errors
    /// When one refuses, or has not answered by `deadline`: the tree is refused then, and nothing has changed.
    pub async fn adopt(&self, prepared: Vec<Vec<Adoption>>, deadline: Duration) -> Result<(), String> {
        let mut answers = Vec::with_capacity(self.crew.len());
        for (hand, adoptions) in self.crew.iter().zip(prepared) {
            let (done, answer) = oneshot::channel();
            hand.order(Order::Adopt(adoptions, done));
            answers.push(answer);
        }
        for (index, answer) in answers.into_iter().enumerate() {
            match timeout(deadline, answer).await {
                Ok(Ok(outcome)) => outcome?,
                Ok(Err(_)) => return Err(format!("worker {index} has ended")),
                Err(_) => return Err(format!("worker {index} did not take its guests within {deadline:?}")),
            }
        }
        Ok(())
    }

    /// Makes every worker, idle ones too, look at `current` and change its doors; returns when all have.
    pub async fn switch(&self, current: &Arc<Current>, changes: Vec<DoorChanges>) {
        let mut answers = Vec::with_capacity(self.crew.len());
        for (hand, change) in self.crew.iter().zip(changes) {
            let (done, answer) = oneshot::channel();
            hand.order(Order::Switch(Arc::clone(current), change, done));
            answers.push(answer);
        }
        for answer in answers {
            // A worker that has ended holds nothing that could be old.
            drop(answer.await);
        }
    }

    /// Makes every worker drop what no snapshot refers to any more.
    pub fn sweep(&self) {
        for hand in &self.crew {
            hand.order(Order::Sweep);
        }
    }

    /// Closes every door: no new connection, idle ones end, busy ones end after their exchange. Returns when the
    /// doors are shut; the exchanges are for [`crate::drain::Drain`] to wait for.
    pub async fn shut(&self) {
        let mut answers = Vec::with_capacity(self.crew.len());
        for hand in &self.crew {
            let (done, answer) = oneshot::channel();
            hand.order(Order::Shut(done));
            answers.push(answer);
        }
        for answer in answers {
            drop(answer.await);
        }
    }

    /// Ends every worker at once, with whatever is under way there, and waits for its thread.
    pub fn end(&self) {
        for hand in &self.crew {
            hand.order(Order::End);
        }
        for hand in &self.crew {
            let thread = hand.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a worker panicked");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

// Of a worker's thread: what a plugin that is called at once may use of it, and as much again and more for us.
const STACK_BYTES: usize = 4 << 20;

// From the first word that much was freed until memory is given back: what is freed with it is given back, too.
const SETTLING: Duration = Duration::from_secs(1);

impl Hand {
    fn start(index: usize, graveyard: Graveyard, equipment: Equipment) -> io::Result<(Self, Rung)> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (begun, beginning) = std::sync::mpsc::sync_channel(1);
        let thread =
            thread::Builder::new().name(format!("worker-{index}")).stack_size(STACK_BYTES).spawn(move || {
                // A runtime of this thread alone: its tasks need not be sent to others, and waking one takes no lock.
                let runtime =
                    match runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                        Ok(runtime) => runtime,
                        Err(error) => return drop(begun.send(Err(error))),
                    };
                let post = Post { worker: Rc::new(Worker::new(index)), graveyard, view: None, doors: BTreeMap::new() };
                let worker = Rc::clone(&post.worker);
                runtime.block_on(async {
                    drop(begun.send(Ok(equipment.set_up(&worker))));
                    post.carry_out(inbox).await;
                    if let Some(ring) = worker.ring.get() {
                        ring.sent().await;
                    }
                });
                // Connections first, then what they used, both inside the runtime that they belong to.
                let handle = runtime.handle().clone();
                let _inside = handle.enter();
                drop(runtime);
                worker.locals.clear();
            })?;
        let ended = |_| Err(io::Error::other("a worker ended before it began"));
        let ring = beginning.recv().unwrap_or_else(ended)?;
        Ok((Self { orders, thread: Mutex::new(Some(thread)) }, ring))
    }

    fn order(&self, order: Order) {
        // A worker that has ended drops the order, and with it the sender of the answer: who waits is told.
        drop(self.orders.send(order));
    }
}

impl Equipment {
    fn set_up(self, worker: &Rc<Worker>) -> Rung {
        if let Some(give_back) = self.give_back {
            tokio::task::spawn_local(settle(Rc::clone(worker), give_back));
        }
        if self.ring {
            let ring = Ring::start()?;
            worker.ring.get_or_init(|| ring);
        }
        Ok(self.ring)
    }
}

// Whether a worker has an io_uring, or why it has not though it was to have one.
type Rung = io::Result<bool>;

// The allocator keeps freed pages until it is called again, and on an idle worker nothing calls it. Never more often than once
// in a `SETTLING`, because it looks at all its pages.
async fn settle(worker: Rc<Worker>, give_back: fn()) {
    loop {
        worker.freed.notified().await;
        sleep(SETTLING).await;
        give_back();
    }
}

struct Post {
    worker: Rc<Worker>,
    graveyard: Graveyard,
    view: Option<Rc<View>>,
    doors: BTreeMap<DoorId, Rc<Door>>,
}

impl Post {
    async fn carry_out(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Adopt(adoptions, done) => {
                    let outcome = adoptions.into_iter().try_for_each(|adopt| adopt(&self.worker));
                    drop(done.send(outcome));
                }
                Order::Switch(current, changes, done) => {
                    self.switch(&current, changes);
                    done.send(()).unwrap_or(());
                }
                Order::Sweep => {
                    Wasm::sweep(&self.worker);
                    self.worker.freed.notify_one();
                }
                Order::End => return,
                Order::Shut(done) => {
                    for door in std::mem::take(&mut self.doors).into_values() {
                        door.close();
                    }
                    done.send(()).unwrap_or(());
                }
            }
        }
    }

    fn switch(&mut self, current: &Arc<Current>, changes: DoorChanges) {
        let make = || Rc::new(View::new(Arc::clone(current), self.worker.index, self.graveyard.clone()));
        let view = Rc::clone(self.view.get_or_insert_with(make));
        view.refresh();
        self.doors.values().for_each(|door| door.look());
        for id in changes.close {
            if let Some(door) = self.doors.remove(&id) {
                door.close();
            }
        }
        for (hall, id, socket) in changes.open {
            let door = Door::new(Arc::clone(&id.0), Rc::clone(&view), Rc::clone(&self.worker), hall);
            match socket {
                OpenSocket::Tcp(socket) => match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => drop(tokio::task::spawn_local(listen::accept(socket, Rc::clone(&door)))),
                    Err(error) => tracing::error!(listener = %id.0, %error, "a bound socket cannot be polled"),
                },
                OpenSocket::Udp(socket) => {
                    drop(tokio::task::spawn_local(listen::accept_quic(socket, Rc::clone(&door))))
                }
            }
            self.doors.insert(id, door);
        }
    }
}
