//! Where a VM lives on a worker: it takes one callback at a time, in the order of asking; ends with its first failure,
//! and all contexts in it; and is made anew. Knows neither heads nor bodies.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    calls::UnderWay,
    data::Asked,
    exports::{Export, Params, Returned},
    local::Local,
    program::{Program, Shared},
    redis,
    sight::Sight,
    stream::Stream,
    turn::{Place, Turn},
    vm::{Vm, failure},
};
use crate::{
    exchange::{Timers, Worker},
    wasm::{call::Fail, deadline::Deadline, guest::CreateError, slice},
};

/// See the module.
pub(super) struct Home {
    pub(super) shared: Arc<Shared>,
    pub(super) worker: Rc<Worker>,
    /// Nothing while a callback has it, or when it could not be made anew.
    slot: Rc<Place<Box<Vm>>>,
    /// Counts the VMs that were here: what belongs to one before is over.
    life: Cell<u64>,
    again: Cell<Option<Instant>>,
    /// Its VM is, and takes no further exchange once there is another.
    pub(super) worn: Cell<bool>,
    /// Another one is being made to take its place.
    pub(super) renewing: Cell<bool>,
    contexts: Cell<u32>,
    pub(super) locals: RefCell<Vec<Weak<Local>>>,
    /// By context number.
    pub(super) streams: RefCell<HashMap<u32, Rc<Stream>, foldhash::fast::RandomState>>,
    /// Requests that are under way, by token.
    pub(super) calls: RefCell<HashMap<u32, UnderWay>>,
    pub(super) redis: RefCell<redis::Lines>,
}

/// A turn at the place of the VM.
type Slot = Turn<Box<Vm>>;

/// When a callback is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// In which VM: [`Home::life`].
    pub(super) life: u64,
    /// How long it may take, its wait for its turn included.
    pub(super) limit: Duration,
    /// Since when.
    pub(super) since: Instant,
}

/// How long a VM may take to start and configure its plugins.
const CREATE_DEADLINE: Duration = Duration::from_secs(5);
/// How long it is left alone when it could not.
const COOL_DOWN: Duration = Duration::from_secs(1);
// Numbers of root contexts are lower: a VM gives those.
const CONTEXTS_FIRST: u32 = 1 << 24;

impl Home {
    /// A home for `vm`, or for one that is made at once.
    pub(super) fn new(shared: &Arc<Shared>, worker: &Rc<Worker>, vm: Option<Box<Vm>>) -> Rc<Self> {
        Rc::new(Self {
            shared: Arc::clone(shared),
            worker: Rc::clone(worker),
            slot: Place::new(vm),
            life: Cell::new(0),
            again: Cell::new(None),
            worn: Cell::new(false),
            renewing: Cell::new(false),
            contexts: Cell::new(CONTEXTS_FIRST),
            locals: RefCell::default(),
            streams: RefCell::default(),
            calls: RefCell::default(),
            redis: RefCell::default(),
        })
    }

    /// The module.
    pub(super) fn program(&self) -> &Program {
        self.shared.module.program()
    }

    /// The number of the present VM.
    pub(super) const fn life(&self) -> u64 {
        self.life.get()
    }

    /// Makes a callback; `None` where the module does not export it. `params` sees the VM first.
    ///
    /// The callback ends by itself, whatever becomes of who asked for it: it has the VM, which others need.
    pub(super) async fn call<P, R>(
        self: &Rc<Self>,
        at: At,
        context: u32,
        export: Export<P, R>,
        params: impl FnOnce(&mut Vm) -> P,
    ) -> Result<Option<R>, Fail>
    where
        P: Params,
        R: Returned,
    {
        let deadline = at.since + at.limit;
        let mut slot = self.turn(deadline).await?;
        if slot.is_none() && self.may_start() {
            self.start(slot);
            slot = self.turn(deadline).await?;
        }
        if self.life.get() != at.life {
            return Err(Fail::Lost);
        }
        let Some(vm) = slot.as_mut() else {
            return Err(Fail::Trap("its VM could not be started again".into()));
        };
        if export(&vm.exports).is_none() {
            return Ok(None);
        }
        let params = params(vm);
        vm.store.data_mut().effective = context;
        let mut run = Box::pin(run(Rc::clone(self), slot, export, params, at));
        if let Poll::Ready(outcome) = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx))).await {
            return outcome.map(Some);
        }
        // It computes for longer than a tick: it goes on beside whoever asked, who may go away.
        let rest = tokio::task::spawn_local(run).await;
        rest.unwrap_or_else(|_| Err(Fail::Overloaded("the worker ends".into()))).map(Some)
    }

    /// A number that no context here has.
    pub(super) fn next_context(&self) -> u32 {
        let streams = self.streams.borrow();
        loop {
            let context = self.contexts.get();
            self.contexts.set(context.checked_add(1).unwrap_or(CONTEXTS_FIRST));
            if !streams.contains_key(&context) {
                return context;
            }
        }
    }

    /// Does what callbacks asked for.
    pub(super) fn serve(self: &Rc<Self>, asked: Vec<Asked>) {
        for one in asked {
            match one {
                Asked::Ticks { root, period } => {
                    self.local(root).inspect(|local| local.tick(root, period));
                }
                Asked::Watch { root, number, queue } => {
                    self.local(root).inspect(|local| local.watch(root, number, queue));
                }
                Asked::Call(outgoing) => super::calls::send(self, *outgoing),
                Asked::Redis(command) => redis::send(self, *command),
                Asked::Open(opening) => super::grpc::open(self, *opening),
                Asked::Cancel { token } => drop(self.calls.borrow_mut().remove(&token)),
                Asked::Finish { context } => {
                    let stream = self.streams.borrow().get(&context).cloned();
                    stream.inspect(|stream| stream.finish());
                }
            }
        }
    }

    /// Starts a VM and waits for it; answers whether there is one.
    pub(super) async fn begin(self: &Rc<Self>) -> bool {
        let slot = self.slot.take().await;
        self.start(slot);
        self.slot.take().await.is_some()
    }

    /// Starts a VM where none moved in.
    pub(super) fn start_if_empty(self: &Rc<Self>) {
        if let Some(slot) = self.slot.try_take()
            && slot.is_none()
        {
            self.start(slot);
        }
    }

    /// Drops a root context.
    pub(super) async fn forget(&self, root: u32) {
        if let Some(vm) = &mut *self.slot.take().await {
            vm.forget(root);
        }
    }

    /// The plugin of a root context.
    pub(super) fn local(&self, root: u32) -> Option<Rc<Local>> {
        self.locals.borrow().iter().filter_map(Weak::upgrade).find(|local| local.root.get() == root)
    }

    pub(super) fn timers(&self) -> Rc<Timers> {
        self.worker.locals.of::<Timers>()
    }

    async fn turn(&self, deadline: Instant) -> Result<Slot, Fail> {
        match self.slot.try_take() {
            Some(slot) => Ok(slot),
            None => {
                let busy = |_| Fail::Overloaded("its VM is busy with other exchanges".into());
                // Boxed, because few have to wait and every callback has room for it.
                Box::pin(Deadline::within(deadline, self.slot.take())).await.map_err(busy)
            }
        }
    }

    fn may_start(&self) -> bool {
        self.again.get().is_none_or(|again| again <= Instant::now())
    }

    // Makes a VM for the empty place. Whoever wants one waits for its turn until it is there.
    fn start(self: &Rc<Self>, mut slot: Slot) {
        let home = Rc::clone(self);
        tokio::task::spawn_local(async move {
            match tokio::time::timeout(CREATE_DEADLINE, home.make()).await {
                Ok(Ok(mut vm)) => {
                    let asked = vm.take_asked();
                    *slot = Some(vm);
                    drop(slot);
                    home.again.set(None);
                    home.worn.set(false);
                    home.serve(asked);
                }
                Ok(Err(error)) => home.give_up(&error.to_string()),
                Err(_) => home.give_up("it took too long"),
            }
        });
    }

    fn give_up(&self, why: &str) {
        let vm = &self.shared.settings.vm_id;
        tracing::warn!(vm, "a VM could not be started again, and is left alone for a second: {why}");
        self.again.set(Some(Instant::now() + COOL_DOWN));
    }

    async fn make(&self) -> Result<Box<Vm>, CreateError> {
        let _running = self.shared.filters.ticker.run_beside();
        let mut vm = Vm::new(&self.shared).await.map_err(CreateError::Failed)?;
        let locals: Vec<_> = self.locals.borrow().iter().filter_map(Weak::upgrade).collect();
        for local in locals {
            local.root.set(vm.add(&local.plugin, &local.in_use).await?);
            if !vm.is_settled() {
                vm.settle(self.worker.index, &local.plugin.series);
            }
        }
        Ok(vm)
    }

    // The VM is gone: so is all that was in it.
    fn end(self: &Rc<Self>, slot: Slot) {
        self.life.set(self.life.get() + 1);
        let streams = std::mem::take(&mut *self.streams.borrow_mut());
        drop((self.calls.take(), self.redis.take()));
        for stream in streams.into_values() {
            stream.lose();
        }
        if self.locals.borrow().iter().any(|local| local.strong_count() > 0) {
            self.start(slot);
        }
    }
}

async fn run<P: Params, R: Returned>(
    home: Rc<Home>,
    mut slot: Slot,
    export: Export<P, R>,
    params: P,
    at: At,
) -> Result<R, Fail> {
    let Some(mut vm) = slot.take() else { return Err(Fail::Lost) };
    vm.store.set_epoch_deadline(slice::FIRST);
    let outcome = {
        let _running = home.shared.filters.ticker.run(home.worker.index);
        let Vm { store, exports, .. } = &mut *vm;
        let func = export(exports).expect("looked for before it was asked for");
        let mut call = pin!(func.call_async(store, params));
        let mut deadline = Deadline::at(at.since + at.limit);
        poll_fn(|cx| {
            let sight = Sight::open(&home);
            if let Poll::Ready(outcome) = call.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            drop(sight);
            deadline.poll(cx).map(|()| None)
        })
        .await
    };
    let fail = match outcome {
        Some(Ok(answer)) => {
            let asked = vm.take_asked();
            vm.store.data_mut().forget_news();
            if vm.returned(home.shared.wear) {
                home.worn.set(true);
            }
            *slot = Some(vm);
            drop(slot);
            home.serve(asked);
            return Ok(answer);
        }
        Some(Err(error)) => Fail::Trap(failure(&vm.store, &error)),
        None => Fail::Timeout(at.limit),
    };
    drop(vm);
    home.end(slot);
    Err(fail)
}
