//! What all sockets of a ring share: who wants something of the kernel, and the task that passes it on and wakes who is answered.
//! It is woken by the first that wants something and stands behind all that can run in the queue of its worker, so what they
//! ask for goes to the kernel with one call.

use std::{
    cell::{Cell, RefCell},
    io,
    net::TcpStream,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::io::unix::AsyncFd;

use super::{
    kernel::Kernel,
    line::{Heard, Line, State},
};

/// What is shared.
pub(super) struct Core {
    /// The kernel's side.
    pub(super) kernel: RefCell<Kernel>,
    lines: RefCell<Lines>,
    due: RefCell<Vec<Rc<Line>>>,
    spare: RefCell<Vec<Vec<u8>>>,
    driver: RefCell<Option<Waker>>,
    called: Cell<bool>,
    // Lines that nobody holds any more and that still send.
    leaving: Cell<usize>,
    // The kernel took nothing when it was asked last.
    refused: Cell<bool>,
}

#[derive(Default)]
struct Lines {
    by_key: Vec<Option<Rc<Line>>>,
    free: Vec<usize>,
}

impl Core {
    /// # Errors
    /// Those of [`Kernel::new`].
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            kernel: RefCell::new(Kernel::new()?),
            lines: RefCell::default(),
            due: RefCell::default(),
            spare: RefCell::default(),
            driver: RefCell::default(),
            called: Cell::new(false),
            leaving: Cell::new(0),
            refused: Cell::new(false),
        })
    }

    /// A line for `socket`.
    pub(super) fn line(&self, socket: TcpStream) -> Rc<Line> {
        let mut lines = self.lines.borrow_mut();
        let key = lines.free.pop().unwrap_or_else(|| {
            lines.by_key.push(None);
            lines.by_key.len() - 1
        });
        let line = Rc::new(Line::new(key, socket));
        lines.by_key[key] = Some(Rc::clone(&line));
        line
    }

    /// `line`, which has this `state`, wants to be attended to.
    pub(super) fn list(&self, line: &Rc<Line>, state: &mut State) {
        if !std::mem::replace(&mut state.listed, true) {
            self.due.borrow_mut().push(Rc::clone(line));
        }
        if !self.called.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// Nobody holds `line` any more, which has this `state`. Answers whether what it has to send may go on: not when too many
    /// do so already.
    pub(super) fn leave(&self, line: &Rc<Line>, state: &mut State) -> bool {
        state.left = true;
        self.list(line, state);
        if !state.is_sending() || state.broken {
            return true;
        }
        state.counted = self.leaving.get() < LEAVING_MAX;
        self.leaving.update(|leaving| leaving + usize::from(state.counted));
        state.counted
    }

    /// Whether anything that was written is on its way.
    pub(super) fn is_sending(&self) -> bool {
        self.lines.borrow().by_key.iter().flatten().any(|line| line.state.borrow().is_sending())
    }

    /// Memory to write to.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes in what the kernel has said already: no call.
    pub(super) fn hear(&self) {
        let mut woken = Vec::new();
        loop {
            let mut kernel = self.kernel.borrow_mut();
            let Some(event) = kernel.next() else { break };
            let line = self.lines.borrow().by_key.get(event.key).and_then(Clone::clone);
            // A line stays until all that it asked for is answered.
            let Some(line) = line else { continue };
            let wants = match line.hear(event.what, &mut kernel, &mut woken) {
                None => false,
                Some(Heard::Wants) => true,
                Some(Heard::Sent { bytes, wants }) => {
                    self.keep(bytes);
                    wants
                }
            };
            if wants {
                self.list(&line, &mut line.state.borrow_mut());
            }
        }
        // Nothing is borrowed any more, whatever waking does.
        woken.into_iter().for_each(Waker::wake);
    }

    // Passes on what is wanted, with one call, and takes in what was said. Answers whether to look again when those have run
    // that were woken; when there is nothing any more, the kernel says when there is.
    fn turn(&self) -> bool {
        self.called.set(false);
        let due = std::mem::take(&mut *self.due.borrow_mut());
        let mut kernel = self.kernel.borrow_mut();
        let idle = due.is_empty() && !kernel.is_due();
        kernel.wake(idle);
        if idle {
            return kernel.is_due();
        }
        let (mut over, mut woken) = (Vec::new(), Vec::new());
        for line in due {
            if line.attend(&mut kernel, &mut woken) {
                over.push(line);
            }
        }
        let entered = kernel.enter();
        drop(kernel);
        let refused_before = self.refused.replace(entered.is_err());
        if let Err(error) = entered
            && !refused_before
        {
            tracing::warn!(%error, "the kernel takes nothing from an io_uring; it is asked again and again");
        }
        woken.into_iter().for_each(Waker::wake);
        over.into_iter().for_each(|line| self.close(&line));
        self.hear();
        true
    }

    fn close(&self, line: &Line) {
        let mut lines = self.lines.borrow_mut();
        if let Some(there) = lines.by_key.get_mut(line.key)
            && there.take().is_some()
        {
            lines.free.push(line.key);
        }
        if line.state.borrow().counted {
            self.leaving.update(|leaving| leaving - 1);
        }
    }

    fn keep(&self, mut bytes: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            spare.push(bytes);
        }
    }
}

/// What was written last goes out, as far as the kernel has room for it: it ends whatever is left when it goes.
impl Drop for Core {
    fn drop(&mut self) {
        let kernel = self.kernel.get_mut();
        let mut woken = Vec::new();
        for line in self.due.take() {
            line.attend(kernel, &mut woken);
        }
        if let Err(error) = kernel.enter() {
            tracing::debug!(%error, "what was written last was not sent");
        }
    }
}

/// The task that passes on and wakes; it never ends by itself.
pub(super) struct Driver {
    watch: AsyncFd<OwnedFd>,
    core: Rc<Core>,
}

impl Driver {
    /// # Errors
    /// When the ring cannot be watched.
    pub(super) fn new(core: &Rc<Core>) -> io::Result<Self> {
        Ok(Self { watch: core.kernel.borrow().watch()?, core: Rc::clone(core) })
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let known = self.core.driver.borrow().as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        if !known {
            *self.core.driver.borrow_mut() = Some(cx.waker().clone());
        }
        while let Poll::Ready(ready) = self.watch.poll_read_ready(cx) {
            match ready {
                // What comes from now on says so anew.
                Ok(mut ready) => ready.clear_ready(),
                Err(_the_runtime_ends) => return Poll::Ready(()),
            }
        }
        if self.core.turn() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

// What is kept to write to.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 16 * 1024;
// Lines that send to who takes little or nothing, each with its descriptor and what is to be sent.
const LEAVING_MAX: usize = if cfg!(test) { 4 } else { 1024 };
