//! What a host keeps: clocks, random numbers, limits, logs, metrics, key-value spaces, upstreams. Knows no exchange.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::Rc,
    time::Duration,
};

use super::space::Space;
use crate::{LocalResponse, log::Level, upstream};

/// A message in the log.
///
/// ```
/// # use tidegate_guest::{log::{self, Level}, testing::{Host, Logged}};
/// # let host = Host::new();
/// # host.run(|| log::warn("no key has this id"));
/// assert_eq!(host.logged(), [Logged { level: Level::Warn, message: "no key has this id".into() }]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// How grave it is.
    pub level: Level,
    /// What it says, cut at the limit.
    pub message: String,
}

/// A call that reached an upstream.
///
/// ```
/// # use tidegate_guest::{LocalResponse, testing::Host, upstream::Call};
/// # let host = Host::new();
/// # host.upstream("directory", |_| Ok(LocalResponse::new(200)));
/// # host.run(|| Call::new("POST", "/introspect").body("token=abc").send("directory")).unwrap();
/// let call = &host.called()[0];
/// assert_eq!((call.upstream.as_str(), call.method.as_str(), call.body.as_slice()), ("directory", "POST", &b"token=abc"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The upstream's name.
    pub upstream: String,
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The host that the request is for; the upstream's name where the plugin gave none.
    pub authority: String,
    /// Its fields, names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Called {
    /// The first value of a field, if it is UTF-8.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::Call};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200)));
    /// # host.run(|| Call::get("/").field("Accept", "*/*").send("directory")).unwrap();
    /// assert_eq!(host.called()[0].header("accept"), Some("*/*"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// The operator's limits, with the gateway's defaults.
///
/// ```
/// # use tidegate_guest::testing::Limits;
/// assert_eq!(Limits::default().state_bytes_max, 64 << 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a body to be buffered: 413 for requests, a failure for responses.
    pub buffer_bytes_max: usize,
    /// Of what is kept in an exchange: refused.
    pub state_bytes_max: usize,
    /// Of the key-value space: refused.
    pub kv_bytes_max: usize,
    /// Of a message in the log: cut.
    pub log_bytes_max: usize,
    /// Calls to upstreams in one exchange: refused.
    pub calls_max: u32,
    /// Of an upstream's answer: refused.
    pub call_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer_bytes_max: 1 << 20,
            state_bytes_max: 64 << 10,
            kv_bytes_max: 16 << 20,
            log_bytes_max: 8 << 10,
            calls_max: 16,
            call_bytes_max: 4 << 20,
        }
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

struct Metric {
    owner: Rc<str>,
    name: String,
    kind: MetricKind,
    values: Vec<i64>,
}

type Script = Box<dyn FnMut(&Called) -> Result<LocalResponse, upstream::Error>>;

/// A host's state.
pub(super) struct State {
    pub(super) monotonic: Cell<Duration>,
    pub(super) wall: Cell<Duration>,
    pub(super) random: Cell<u64>,
    pub(super) limits: Cell<Limits>,
    pub(super) logged: RefCell<Vec<Logged>>,
    pub(super) called: RefCell<Vec<Called>>,
    metrics: RefCell<Vec<Metric>>,
    spaces: RefCell<HashMap<Rc<str>, Space>>,
    upstreams: RefCell<HashMap<String, Rc<RefCell<Script>>>>,
}

const METRIC_NAME_BYTES_MAX: usize = 128;
// 2026-01-01T00:00:00Z.
const WALL_AT_FIRST: Duration = Duration::from_secs(1_767_225_600);

impl Default for State {
    fn default() -> Self {
        Self {
            monotonic: Cell::new(Duration::from_secs(3600)),
            wall: Cell::new(WALL_AT_FIRST),
            random: Cell::new(1),
            limits: Cell::default(),
            logged: RefCell::default(),
            called: RefCell::default(),
            metrics: RefCell::default(),
            spaces: RefCell::default(),
            upstreams: RefCell::default(),
        }
    }
}

impl State {
    pub(super) fn advance(&self, time: Duration) {
        self.monotonic.set(self.monotonic.get() + time);
        self.wall.set(self.wall.get() + time);
    }

    /// The next random number (SplitMix64).
    pub(super) fn number(&self) -> u64 {
        let seed = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn log(&self, level: Level, message: &str) {
        let mut end = message.len().min(self.limits.get().log_bytes_max);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        self.logged.borrow_mut().push(Logged { level, message: message[..end].to_owned() });
    }

    /// The handle of a metric.
    pub(super) fn define(&self, owner: &Rc<str>, kind: MetricKind, name: &str) -> Option<u32> {
        if name.is_empty() || name.len() > METRIC_NAME_BYTES_MAX {
            return None;
        }
        let mut metrics = self.metrics.borrow_mut();
        let found = metrics.iter().position(|metric| metric.owner == *owner && metric.name == name);
        let position = match found {
            Some(position) if metrics[position].kind == kind => position,
            Some(_) => return None,
            None => {
                metrics.push(Metric { owner: Rc::clone(owner), name: name.to_owned(), kind, values: Vec::new() });
                metrics.len() - 1
            }
        };
        u32::try_from(position).ok()
    }

    pub(super) fn update(&self, handle: u32, value: i64) {
        if let Some(metric) = self.metrics.borrow_mut().get_mut(handle as usize)
            && (value >= 0 || metric.kind == MetricKind::Gauge)
        {
            metric.values.push(value);
        }
    }

    /// What a metric was updated with, in order.
    pub(super) fn values(&self, owner: &str, kind: MetricKind, name: &str) -> Vec<i64> {
        let metrics = self.metrics.borrow();
        let found = metrics.iter().find(|known| &*known.owner == owner && known.name == name && known.kind == kind);
        found.map(|metric| metric.values.clone()).unwrap_or_default()
    }

    /// Runs `f` on the key-value space of a middleware.
    pub(super) fn space<R>(&self, name: &Rc<str>, f: impl FnOnce(&mut Space, Duration) -> R) -> R {
        let mut spaces = self.spaces.borrow_mut();
        let space = spaces.entry(Rc::clone(name)).or_default();
        space.bytes_max = self.limits.get().kv_bytes_max;
        f(space, self.monotonic.get())
    }

    pub(super) fn grant(&self, name: &str, script: Script) {
        self.upstreams.borrow_mut().insert(name.to_owned(), Rc::new(RefCell::new(script)));
    }

    /// Whether an upstream was granted.
    pub(super) fn grants(&self, name: &str) -> bool {
        self.upstreams.borrow().contains_key(name)
    }

    /// What a granted upstream answers.
    pub(super) fn call(&self, called: Called) -> Result<LocalResponse, upstream::Error> {
        let script = self.upstreams.borrow().get(&called.upstream).map(Rc::clone).ok_or(upstream::Error::NotGranted)?;
        self.called.borrow_mut().push(called.clone());
        // The script may use the host: nothing of it is borrowed meanwhile.
        let mut script = script.borrow_mut();
        script(&called)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("monotonic", &self.monotonic).field("wall", &self.wall).finish_non_exhaustive()
    }
}
