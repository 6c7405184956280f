//! The thread that writes the access log: takes lines from every worker's ring, groups them by target, writes. Never
//! gives up: what a full disk or a closed pipe does not take is lost and counted, and the next batch is tried again.
//! Knows lines as bytes.

use std::{
    collections::HashMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::ring::{Pushed, Ring};
use crate::{config::spec::LogTarget, telemetry::metrics::Metrics};

/// How often the thread looks while lines come.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How many looks without a line until it sleeps until woken.
const LOOKS_UNTIL_ASLEEP: u32 = 100;
/// How long it sleeps at most: a worker that saw it awake just before it fell asleep did not wake it.
const SLEEP: Duration = Duration::from_secs(1);
/// Between two attempts to open a file that could not be opened, and between two complaints about it.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Bytes taken from one ring before the next one has its turn.
const BATCH_BYTES: usize = 256 * 1024;

/// Where lines go, numbered.
pub(super) struct Target {
    pub(super) id: u32,
    to: LogTarget,
    // The file as it was opened for the check, until the thread takes it.
    opened: Mutex<Option<File>>,
}

/// What workers, sinks and the thread share.
pub(super) struct Hub {
    rings: Box<[OnceLock<Ring>]>,
    targets: Mutex<HashMap<u32, Arc<Target>>>,
    next_id: AtomicU32,
    asleep: AtomicBool,
    reopen: AtomicBool,
    end: AtomicBool,
    thread: OnceLock<Thread>,
    metrics: Arc<Metrics>,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Writer(Mutex<mpsc::Receiver<()>>);

impl Hub {
    pub(super) fn new(workers: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            rings: (0..workers).map(|_| OnceLock::new()).collect(),
            targets: Mutex::default(),
            next_id: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            end: AtomicBool::new(false),
            thread: OnceLock::new(),
            metrics,
        })
    }

    pub(super) fn workers(&self) -> usize {
        self.rings.len()
    }

    /// The target of `to`: the one there is, or a new one, its file opened.
    pub(super) fn target(&self, to: &LogTarget) -> Result<Arc<Target>, String> {
        let mut targets = self.targets();
        if let Some(found) = targets.values().find(|target| target.to == *to) {
            return Ok(Arc::clone(found));
        }
        let opened = match to {
            LogTarget::Stdout => None,
            LogTarget::File(path) => {
                Some(open(path).map_err(|error| format!("cannot open the access log `{path}`: {error}"))?)
            }
        };
        let id = self.next_id.fetch_add(1, Relaxed);
        let target = Arc::new(Target { id, to: to.clone(), opened: Mutex::new(opened) });
        targets.insert(id, Arc::clone(&target));
        Ok(target)
    }

    /// Queues a line, on the thread of `worker`; `false` if there is no room.
    pub(super) fn push(&self, worker: usize, target: u32, line: &[u8], lines_max: u64) -> bool {
        let Some(ring) = self.rings.get(worker) else { return false };
        let pushed = ring.get_or_init(Ring::new).push(target, line, lines_max);
        if pushed == Pushed::HalfFull || self.asleep.load(Relaxed) {
            self.wake();
        }
        pushed != Pushed::Refused
    }

    pub(super) fn dropped(&self, worker: usize) {
        self.metrics.access_dropped(worker);
    }

    pub(super) fn ask_to_reopen(&self) {
        self.reopen.store(true, Relaxed);
        self.wake();
    }

    pub(super) fn ask_to_end(&self) {
        self.end.store(true, Relaxed);
        self.wake();
    }

    #[cold]
    fn wake(&self) {
        self.asleep.store(false, Relaxed);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn targets(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Arc<Target>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(super) fn start(hub: Arc<Hub>) -> io::Result<Self> {
        let (ended, end) = mpsc::channel();
        let thread = thread::Builder::new().name("access-log".into()).spawn({
            let hub = Arc::clone(&hub);
            move || {
                run(&hub);
                drop(ended);
            }
        })?;
        hub.thread.get_or_init(|| thread.thread().clone());
        Ok(Self(Mutex::new(end)))
    }

    /// Waits for the end; answers whether it came.
    pub(super) fn wait(&self, deadline: Duration) -> bool {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

fn run(hub: &Hub) {
    let mut outputs: HashMap<u32, Output> = HashMap::new();
    let mut quiet = 0;
    loop {
        // Read before the rings are: what was queued before the end was asked for is still written.
        let ending = hub.end.load(Relaxed);
        if hub.reopen.swap(false, Relaxed) {
            outputs.values_mut().for_each(Output::reopen);
        }
        // A target that nothing writes to any more may go, once what it was sent is written.
        let idle: Vec<u32> = hub.targets().values().filter(|kept| Arc::strong_count(kept) == 1).map(|t| t.id).collect();
        let (any, emptied) = drain(hub, &mut outputs);
        outputs.values_mut().for_each(|output| output.flush(&hub.metrics));
        if emptied {
            retire(hub, &idle, &mut outputs);
        }
        quiet = if any { 0 } else { quiet + 1 };
        if ending && !any {
            return;
        }
        rest(hub, quiet);
    }
}

fn rest(hub: &Hub, quiet: u32) {
    if hub.end.load(Relaxed) {
        return;
    }
    if quiet < LOOKS_UNTIL_ASLEEP {
        return thread::park_timeout(LOOK_EVERY);
    }
    hub.asleep.store(true, Relaxed);
    thread::park_timeout(SLEEP);
    hub.asleep.store(false, Relaxed);
}

// Takes what is queued, a batch of each worker; answers whether there was anything, and whether it was everything.
fn drain(hub: &Hub, outputs: &mut HashMap<u32, Output>) -> (bool, bool) {
    let mut line = Vec::new();
    let (mut any, mut emptied) = (false, true);
    for ring in hub.rings.iter().filter_map(OnceLock::get) {
        let mut taken = 0;
        while taken < BATCH_BYTES {
            line.clear();
            let Some(id) = ring.pop(&mut line) else { break };
            any = true;
            taken += line.len();
            let output = outputs.entry(id).or_insert_with(|| Output::of(hub.targets().get(&id)));
            output.pending.extend_from_slice(&line);
            output.lines += 1;
        }
        emptied &= taken < BATCH_BYTES;
    }
    (any, emptied)
}

fn retire(hub: &Hub, idle: &[u32], outputs: &mut HashMap<u32, Output>) {
    let mut targets = hub.targets();
    for id in idle {
        if targets.get(id).is_some_and(|target| Arc::strong_count(target) == 1) {
            targets.remove(id);
            outputs.remove(id);
        }
    }
}

/// One target as the thread has it.
struct Output {
    to: Option<LogTarget>,
    file: Option<File>,
    pending: Vec<u8>,
    lines: u64,
    // The last write ended within a line: the next one begins with a line end.
    torn: bool,
    retry_at: Option<Instant>,
    complain_at: Option<Instant>,
}

impl Output {
    fn of(target: Option<&Arc<Target>>) -> Self {
        let file = target.and_then(|target| target.opened.lock().unwrap_or_else(PoisonError::into_inner).take());
        let to = target.map(|target| target.to.clone());
        Self { to, file, pending: Vec::new(), lines: 0, torn: false, retry_at: None, complain_at: None }
    }

    fn reopen(&mut self) {
        let Some(LogTarget::File(path)) = &self.to else { return };
        match open(path) {
            Ok(file) => (self.file, self.torn, self.retry_at) = (Some(file), false, None),
            Err(error) => tracing::warn!(path, %error, "cannot reopen the access log; writing on to the old file"),
        }
    }

    fn flush(&mut self, metrics: &Metrics) {
        if self.pending.is_empty() {
            return;
        }
        if let Err(error) = self.write() {
            metrics.access_write_failed(self.lines);
            let now = Instant::now();
            if self.complain_at.is_none_or(|at| at <= now) {
                self.complain_at = Some(now + RETRY_EVERY);
                let to = &self.to;
                tracing::warn!(?to, %error, "cannot write the access log; lines are lost until it can be written");
            }
        }
        self.pending.clear();
        self.pending.shrink_to(BATCH_BYTES);
        self.lines = 0;
    }

    fn write(&mut self) -> io::Result<()> {
        if self.torn {
            self.pending.insert(0, b'\n');
        }
        let mut rest = self.pending.as_slice();
        let mut stdout = io::stdout();
        let out: &mut dyn Write = match &self.to {
            Some(LogTarget::File(path)) => file(&mut self.file, path, &mut self.retry_at)?,
            _ => &mut stdout,
        };
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        out.flush()
    }
}

// The open file; opened now if it is not, and not tried too often.
fn file<'f>(file: &'f mut Option<File>, path: &str, retry_at: &mut Option<Instant>) -> io::Result<&'f mut File> {
    if file.is_none() {
        let now = Instant::now();
        if retry_at.is_some_and(|at| now < at) {
            return Err(io::Error::other("the file could not be opened"));
        }
        *retry_at = Some(now + RETRY_EVERY);
        *file = Some(open(path)?);
    }
    file.as_mut().ok_or_else(|| io::Error::other("the file is not open"))
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({} workers)", self.rings.len())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.id, self.to)
    }
}
