//! A worker's own part of every Proxy-Wasm plugin: its root context, its breaker, its ticks and the queues that it
//! watches.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{
    home::{At, Home},
    program::Shared,
    queues::Queue,
};
use crate::{
    error::Error,
    exchange::Worker,
    wasm::{breaker::Breaker, budget::LogBudget, call::Fail, plugin::Plugin, policy::Subject, pool::InUse},
};

/// See the module.
pub(super) struct Local {
    pub(super) plugin: Arc<Plugin>,
    /// The plugin's name, counted on this worker only.
    pub(super) name: Arc<str>,
    pub(super) home: Rc<Home>,
    /// The number of its root context in the present VM.
    pub(super) root: Cell<u32>,
    pub(super) breaker: Breaker,
    /// Of what it logs itself.
    pub(super) log: LogBudget,
    failures: LogBudget,
    pub(super) in_use: Weak<InUse>,
    /// Streams whose exchange is over and whose context is not.
    pub(super) lingering: Cell<usize>,
    tasks: RefCell<Tasks>,
}

// Ended with the plugin, and with each VM.
#[derive(Default)]
struct Tasks {
    ticks: Option<Task>,
    watches: Vec<Task>,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All of a worker, by plugin.
#[derive(Default)]
pub(in crate::wasm) struct Residents(RefCell<HashMap<u64, Rc<Local>, foldhash::fast::RandomState>>);

/// Queues that one plugin watches.
const WATCHES_MAX: usize = 64;

impl Residents {
    /// The worker's part of a plugin.
    pub(super) fn local(&self, plugin: u64) -> Option<Rc<Local>> {
        self.0.borrow().get(&plugin).cloned()
    }

    /// Makes the worker's part of a plugin; the VM that waits for the worker moves in, with all plugins in it.
    pub(super) fn adopt(
        &self,
        worker: &Rc<Worker>,
        plugin: &Arc<Plugin>,
        shared: &Arc<Shared>,
        in_use: &Weak<InUse>,
    ) -> Rc<Local> {
        if let Some(local) = self.local(plugin.id) {
            return local;
        }
        let mut vm = shared.take(worker.index);
        let asked = vm.as_mut().map(|vm| vm.take_asked()).unwrap_or_default();
        let mut residents = Vec::new();
        if let Some(vm) = &mut vm {
            vm.settle(worker.index, &plugin.series);
            let roots = vm.store.data().roots.iter();
            residents.extend(roots.map(|(root, made)| (*root, Arc::clone(&made.plugin), Weak::clone(&made.in_use))));
        }
        if !residents.iter().any(|(_, own, _)| own.id == plugin.id) {
            // It was not there in time: it is made here.
            residents.push((0, Arc::clone(plugin), Weak::clone(in_use)));
            vm = None;
        }
        let home = Home::new(shared, worker, vm);
        for (root, plugin, in_use) in residents {
            let local = Rc::new(Local::new(&home, plugin, root, in_use));
            home.locals.borrow_mut().push(Rc::downgrade(&local));
            self.0.borrow_mut().insert(local.plugin.id, local);
        }
        home.serve(asked);
        home.start_if_empty();
        self.local(plugin.id).expect("all plugins of the VM were put in, and this is one of them")
    }

    /// Lets go of plugins that no snapshot uses and no exchange is in.
    pub(in crate::wasm) fn retire(&self) {
        let unused = |local: &Rc<Local>| local.in_use.strong_count() == 0 && Rc::strong_count(local) == 1;
        let gone: Vec<_> = self.0.borrow_mut().extract_if(|_, local| unused(local)).collect();
        for (_, local) in gone {
            local.leave();
        }
    }
}

impl Local {
    fn new(home: &Rc<Home>, plugin: Arc<Plugin>, root: u32, in_use: Weak<InUse>) -> Self {
        Self {
            name: Arc::from(&*plugin.name),
            breaker: Breaker::of(&plugin),
            plugin,
            home: Rc::clone(home),
            root: Cell::new(root),
            log: LogBudget::default(),
            failures: LogBudget::default(),
            in_use,
            lingering: Cell::new(0),
            tasks: RefCell::default(),
        }
    }

    /// Now, in the present VM.
    pub(super) fn now(&self) -> At {
        At { life: self.home.life(), limit: self.plugin.limits.call_timeout }
    }

    /// Logs and counts a failure; answers with what it is for an exchange.
    pub(super) fn report(&self, fail: &Fail, generation: Option<u64>) -> Error {
        let (breaker, failures) = (&self.breaker, &self.failures);
        Subject { plugin: &self.plugin, worker: self.home.worker.index, breaker, failures, generation }.report(fail)
    }

    /// Calls `proxy_on_tick` every `period`; no more, if that is nothing.
    pub(super) fn tick(self: &Rc<Self>, root: u32, period: Duration) {
        let (weak, at) = (Rc::downgrade(self), self.now());
        let ticks = async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(local) = weak.upgrade().filter(|local| local.home.life() == at.life) else { return };
                let called = local.home.call(at, root, |exports| exports.on_tick.clone(), |_| (root,)).await;
                match called {
                    Ok(Some(())) => {}
                    Ok(None) => return,
                    // So is its VM over, and its ticks with it.
                    Err(fail) => return drop(local.report(&fail, None)),
                }
            }
        };
        let task = (!period.is_zero()).then(|| Task(tokio::task::spawn_local(ticks).abort_handle()));
        drop(std::mem::replace(&mut self.tasks.borrow_mut().ticks, task));
    }

    /// Calls `proxy_on_queue_ready` for items that come into a queue.
    pub(super) fn watch(self: &Rc<Self>, root: u32, number: u32, queue: Arc<Queue>) {
        let (weak, at) = (Rc::downgrade(self), self.now());
        let watch = async move {
            // The registry never closes it.
            while let Ok(permit) = queue.ready.acquire().await {
                permit.forget();
                if queue.is_empty() {
                    continue;
                }
                let Some(local) = weak.upgrade().filter(|local| local.home.life() == at.life) else {
                    // Somebody else shall be told.
                    return queue.ready.add_permits(1);
                };
                let params = |_: &mut _| (root, number);
                match local.home.call(at, root, |exports| exports.on_queue_ready.clone(), params).await {
                    Ok(Some(())) => {}
                    Ok(None) => return queue.ready.add_permits(1),
                    Err(fail) => return drop(local.report(&fail, None)),
                }
            }
        };
        let mut tasks = self.tasks.borrow_mut();
        tasks.watches.retain(|task| !task.0.is_finished());
        if tasks.watches.len() < WATCHES_MAX {
            tasks.watches.push(Task(tokio::task::spawn_local(watch).abort_handle()));
        }
    }

    // Tells the module that the plugin is over: other plugins may live on in the same VM.
    fn leave(self: Rc<Self>) {
        self.tasks.take();
        let root = self.root.get();
        self.home.calls.borrow_mut().retain(|_, call| call.root() != root);
        tokio::task::spawn_local(async move {
            let (at, root) = (self.now(), self.root.get());
            let done = self.home.call(at, root, |exports| exports.on_done.clone(), |_| (root,)).await;
            let deleted = match done {
                Ok(_) => self.home.call(at, root, |exports| exports.on_delete.clone(), |_| (root,)).await,
                Err(fail) => Err(fail),
            };
            if let Err(fail) = deleted {
                self.report(&fail, None);
            }
            self.home.forget(root).await;
        });
    }
}
