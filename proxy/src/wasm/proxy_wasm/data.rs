//! What the store of a VM holds: its root contexts and what they ask for between callbacks. Nothing of any exchange:
//! those are on the worker, where `Home` keeps them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, request};
use tokio::sync::mpsc;
use wasmtime::{Caller, Memory, TypedFunc};

use super::{
    host,
    outbox::{Held, Outbox},
    program::Settings,
    queues::Queue,
    redis,
};
use crate::{
    exchange::{Authority, Call},
    telemetry::metrics::GuestMetric,
    wasm::{guest::Limits, journal::Level, memory::Holds, plugin::Plugin, pool::InUse, preview1::Wasi},
};

/// See the module.
pub(in crate::wasm) struct Data {
    pub(super) limits: Limits,
    pub(super) settings: Arc<Settings>,
    pub(super) memory: Option<Memory>,
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    /// By context number.
    pub(super) roots: HashMap<u32, Root>,
    last_root: u32,
    pub(super) last_token: u32,
    /// The context that host functions act on.
    pub(super) effective: u32,
    /// What `VM_CONFIGURATION` and `PLUGIN_CONFIGURATION` are at present.
    pub(super) configuration: Configuration,
    pub(super) metrics: Vec<Arc<GuestMetric>>,
    /// The answer to a call, while the guest is told of it.
    pub(super) received: Option<Received>,
    /// What came of a call or stream of gRPC, while the guest is told of it.
    pub(super) heard: Option<Heard>,
    /// What Redis answered, while the guest is told of it.
    pub(super) reply: Option<Bytes>,
    /// Calls and streams of gRPC that are under way, by token.
    pub(super) conversations: HashMap<u32, Conversation>,
    /// What its calls hold.
    pub(super) outbox: Outbox,
    /// What the last callbacks asked for that is done when they have returned.
    pub(super) asked: Vec<Asked>,
}

/// A root context: a plugin in a VM.
pub(super) struct Root {
    pub(super) plugin: Arc<Plugin>,
    pub(super) in_use: Weak<InUse>,
    /// The last that it logged while it was configured, in case it refuses to be.
    pub(super) said: Vec<String>,
    /// Properties that it declared, and whether they are set once only.
    pub(super) declared: HashMap<String, bool>,
    /// Upstreams that speak Redis, by the module's names for them.
    pub(super) redis: HashMap<Arc<str>, Arc<redis::Settings>>,
}

/// Which configurations can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Configuration {
    #[default]
    None,
    Vm,
    Plugin,
}

/// Something that the worker does after a callback.
pub(super) enum Asked {
    /// Call back every so often; a period of nothing ends it.
    Ticks { root: u32, period: Duration },
    /// Tell the root context when something is in the queue.
    Watch { root: u32, number: u32, queue: Arc<Queue> },
    /// Send a request.
    Call(Box<Outgoing>),
    /// Send a command of Redis.
    Redis(Box<redis::Command>),
    /// Open a call or a stream of gRPC.
    Open(Box<Opening>),
    /// Give one up.
    Cancel { token: u32 },
    /// Take leave of a context: its guest asked for time when its stream was over, and needs no more.
    Finish { context: u32 },
}

/// A request to an upstream.
pub(super) struct Outgoing {
    pub(super) token: u32,
    pub(super) root: u32,
    /// The stream context that it belongs to, if one.
    pub(super) stream: Option<u32>,
    pub(super) upstream: Arc<dyn Call>,
    pub(super) head: request::Parts,
    pub(super) authority: Authority,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) timeout: Duration,
    pub(super) bytes_max: usize,
    /// Until it is answered.
    pub(super) held: Held,
}

/// A call or a stream of gRPC to an upstream.
pub(super) struct Opening {
    pub(super) token: u32,
    pub(super) root: u32,
    /// The stream context that it belongs to, if one.
    pub(super) stream: Option<u32>,
    pub(super) upstream: Arc<dyn Call>,
    pub(super) head: request::Parts,
    pub(super) authority: Authority,
    pub(super) messages: Messages,
    /// Until it is over.
    pub(super) held: Held,
    /// None of a stream.
    pub(super) timeout: Option<Duration>,
    /// Of one message that comes.
    pub(super) bytes_max: usize,
}

/// What is sent.
pub(super) enum Messages {
    /// With a call.
    One(Bytes),
    /// On a stream, as the guest gives them.
    Many(mpsc::Receiver<(Bytes, Held)>),
}

/// A call or a stream of gRPC, as a guest acts on it.
pub(super) enum Conversation {
    Call,
    /// And where its messages go, until it is closed.
    Stream(Option<mpsc::Sender<(Bytes, Held)>>),
}

/// What came of one.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Initial(HeaderMap),
    Message(Bytes),
    Trailing(HeaderMap),
    Closed(u32, String),
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) headers: HeaderMap,
    /// None where no head came, or what followed it broke off.
    pub(super) status: Option<http::StatusCode>,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
    /// Why nothing came.
    pub(super) failed: Option<&'static str>,
}

impl Data {
    /// Of a VM that holds nothing yet.
    pub(super) fn new(settings: &Arc<Settings>, memory_bytes_max: usize) -> Self {
        Self {
            limits: Limits::new(memory_bytes_max),
            settings: Arc::clone(settings),
            memory: None,
            allocate: None,
            roots: HashMap::new(),
            last_root: 0,
            last_token: 0,
            effective: 0,
            configuration: Configuration::None,
            metrics: Vec::new(),
            received: None,
            heard: None,
            reply: None,
            conversations: HashMap::new(),
            outbox: Outbox::default(),
            asked: Vec::new(),
        }
    }

    /// Lets go of what the guest was told in a callback that is over.
    pub(super) fn forget_news(&mut self) {
        (self.received, self.heard, self.reply) = (None, None, None);
    }

    /// A number for a root context.
    pub(super) const fn next_root(&mut self) -> u32 {
        self.last_root += 1;
        self.last_root
    }
}

impl Holds for Data {
    fn memory(&mut self) -> &mut Option<Memory> {
        &mut self.memory
    }
}

impl Wasi for Data {
    const SLEEPS: bool = false;

    fn environment(&self) -> &[(String, String)] {
        &self.settings.environment
    }

    fn line_bytes_max(guest: &mut Caller<'_, Self>) -> usize {
        host::plugin(guest).map_or(0, |plugin| plugin.limits.log_bytes_max)
    }

    fn print(guest: &mut Caller<'_, Self>, level: Level, line: &str) {
        host::say(guest, level, line);
    }
}
