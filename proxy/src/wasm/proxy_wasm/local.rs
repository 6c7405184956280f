//! A worker's own part of every Proxy-Wasm plugin: its root context, its breaker, its ticks and the queues that it
//! watches.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::{Duration, Instant},
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
    pub(super) breaker: Rc<Breaker>,
    /// Of what it logs itself.
    pub(super) log: Rc<LogBudget>,
    failures: Rc<LogBudget>,
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

/// All of a worker.
#[derive(Default)]
pub(in crate::wasm) struct Residents {
    /// By plugin.
    present: RefCell<HashMap<u64, Rc<Local>, foldhash::fast::RandomState>>,
    /// How many are in VMs that are worn: they end with the exchanges that they are in.
    former: Cell<usize>,
}

/// Plugins of a worker in worn VMs that still have exchanges. With as many, a VM that is worn goes on.
const FORMER_MAX: usize = 16;
/// How often it is looked whether they still do.
const LOOK: Duration = Duration::from_millis(250);

/// Queues that one plugin watches.
const WATCHES_MAX: usize = 64;

impl Residents {
    /// The worker's part of a plugin.
    pub(super) fn local(&self, plugin: u64) -> Option<Rc<Local>> {
        self.present.borrow().get(&plugin).cloned()
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
            self.present.borrow_mut().insert(local.plugin.id, local);
        }
        home.serve(asked);
        home.start_if_empty();
        self.local(plugin.id).expect("all plugins of the VM were put in, and this is one of them")
    }

    /// Lets go of plugins that no snapshot uses and no exchange is in.
    pub(in crate::wasm) fn retire(&self) {
        let unused = |local: &Rc<Local>| local.in_use.strong_count() == 0 && Rc::strong_count(local) == 1;
        let gone: Vec<_> = self.present.borrow_mut().extract_if(|_, local| unused(local)).collect();
        for (_, local) in gone {
            local.leave();
        }
    }

    /// Puts a fresh VM in the place of one that is worn, when it is there. Until then, and for the exchanges that are in
    /// it, the worn one goes on.
    pub(super) fn renew(self: &Rc<Self>, worn: &Rc<Home>) {
        if self.former.get() >= FORMER_MAX || worn.renewing.replace(true) {
            return;
        }
        let (residents, worn) = (Rc::clone(self), Rc::clone(worn));
        tokio::task::spawn_local(async move {
            let fresh = Home::new(&worn.shared, &worn.worker, None);
            let before: Vec<_> = worn.locals.borrow().iter().filter_map(std::rc::Weak::upgrade).collect();
            let made: Vec<_> = before.iter().map(|local| Rc::new(local.renewed(&fresh))).collect();
            fresh.locals.borrow_mut().extend(made.iter().map(Rc::downgrade));
            if fresh.begin().await {
                before.into_iter().zip(made).for_each(|(before, made)| residents.replace(before, made));
            }
            // Where it failed, and where some plugin stayed: the next exchange tries again.
            worn.renewing.set(false);
        });
    }

    fn replace(self: &Rc<Self>, before: Rc<Local>, made: Rc<Local>) {
        let mut present = self.present.borrow_mut();
        match present.get_mut(&before.plugin.id) {
            Some(local) if Rc::ptr_eq(local, &before) => {
                *local = made;
                tokio::task::spawn_local(Rc::clone(self).see_off(before));
            }
            // It was let go of meanwhile.
            _ => made.leave(),
        }
    }

    // Lets one in a worn VM go when it has no exchange any more.
    async fn see_off(self: Rc<Self>, local: Rc<Local>) {
        self.former.set(self.former.get() + 1);
        loop {
            tokio::time::sleep(LOOK).await;
            if local.home.streams.borrow().is_empty() {
                local.tasks.take();
                if Rc::strong_count(&local) == 1 {
                    break;
                }
            }
        }
        self.former.set(self.former.get() - 1);
        local.leave();
    }
}

impl Local {
    fn new(home: &Rc<Home>, plugin: Arc<Plugin>, root: u32, in_use: Weak<InUse>) -> Self {
        Self {
            name: Arc::from(&*plugin.name),
            breaker: Rc::new(Breaker::of(&plugin)),
            plugin,
            home: Rc::clone(home),
            root: Cell::new(root),
            log: Rc::default(),
            failures: Rc::default(),
            in_use,
            lingering: Cell::new(0),
            tasks: RefCell::default(),
        }
    }

    // The same plugin in another VM: what is known of how it does stays known.
    fn renewed(&self, home: &Rc<Home>) -> Self {
        let (breaker, log, failures) = (Rc::clone(&self.breaker), Rc::clone(&self.log), Rc::clone(&self.failures));
        let made = Self::new(home, Arc::clone(&self.plugin), 0, Weak::clone(&self.in_use));
        Self { breaker, log, failures, ..made }
    }

    /// Now, in the present VM.
    pub(super) fn now(&self) -> At {
        At { life: self.home.life(), limit: self.plugin.limits.call_timeout, since: Instant::now() }
    }

    /// Logs and counts a failure; answers with what it is for an exchange.
    pub(super) fn report(&self, fail: &Fail, generation: Option<u64>) -> Error {
        let (breaker, failures) = (&self.breaker, &self.failures);
        Subject { plugin: &self.plugin, worker: self.home.worker.index, breaker, failures, generation }.report(fail)
    }

    /// Calls `proxy_on_tick` every `period`; no more, if that is nothing.
    pub(super) fn tick(self: &Rc<Self>, root: u32, period: Duration) {
        let (weak, life) = (Rc::downgrade(self), self.home.life());
        let ticks = async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(local) = weak.upgrade().filter(|local| local.home.life() == life) else { return };
                let called = local.home.call(local.now(), root, |exports| exports.on_tick.as_ref(), |_| (root,)).await;
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
        let (weak, life) = (Rc::downgrade(self), self.home.life());
        let watch = async move {
            // The registry never closes it.
            while let Ok(permit) = queue.ready.acquire().await {
                permit.forget();
                if queue.is_empty() {
                    continue;
                }
                let Some(local) = weak.upgrade().filter(|local| local.home.life() == life) else {
                    // Somebody else shall be told.
                    return queue.ready.add_permits(1);
                };
                let params = |_: &mut _| (root, number);
                match local.home.call(local.now(), root, |exports| exports.on_queue_ready.as_ref(), params).await {
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
        self.home.redis.borrow_mut().retain(|(of, _), _| *of != root);
        tokio::task::spawn_local(async move {
            let root = self.root.get();
            let done = self.home.call(self.now(), root, |exports| exports.on_done.as_ref(), |_| (root,)).await;
            let deleted = match done {
                Ok(_) => self.home.call(self.now(), root, |exports| exports.on_delete.as_ref(), |_| (root,)).await,
                Err(fail) => Err(fail),
            };
            if let Err(fail) = deleted {
                self.report(&fail, None);
            }
            self.home.forget(root).await;
        });
    }
}
