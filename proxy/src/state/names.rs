//! What DNS names lead to, by question, kept current for as long as somebody holds it. Whoever asks the name servers is
//! behind a trait. Knows no protocol.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle};

use crate::identity::Identity;

/// The state key of a name: what is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// What is asked.
    pub question: Question,
    /// The identity of the settings by which it is.
    pub settings: Identity,
}

/// A question to DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The addresses of `host:port`.
    Addresses(Arc<str>),
    /// The targets of a service (RFC 2782), and their addresses.
    Service(Arc<str>),
}

/// One address that a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// It.
    pub address: SocketAddr,
    /// `host:port` of the name that has it.
    pub name: Arc<str>,
    /// Weight and priority, where an SRV record says them.
    pub record: Option<(u16, u16)>,
}

/// A good answer, and for how long it holds.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Never empty.
    pub found: Vec<Found>,
    /// Already within its bounds.
    pub ttl: Duration,
}

/// Whoever asks name servers.
pub trait Resolver: Send + Sync + fmt::Debug {
    /// Asks once. `known` is what was known before, for the parts that do not resolve now.
    ///
    /// The error says why there is no answer, an empty one included.
    fn ask<'a>(&'a self, question: &'a Question, known: &'a [Found]) -> BoxFuture<'a, Result<Answer, String>>;
}

/// What one name leads to.
#[derive(Debug)]
pub struct NameState {
    key: NameKey,
    known: Mutex<Known>,
    watchers: Mutex<Vec<Weak<Notify>>>,
    task: Mutex<Option<AbortHandle>>,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The last good answer; nothing where there was none yet.
    pub found: Arc<[Found]>,
    /// Why the last question has no answer.
    pub failure: Option<Arc<str>>,
    /// Whether it was asked at all.
    pub asked: bool,
}

impl NameState {
    /// A name that nothing is known of.
    pub fn new(key: NameKey) -> Self {
        Self { key, known: Mutex::default(), watchers: Mutex::default(), task: Mutex::default() }
    }

    /// What is known now.
    pub fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has `watcher` woken, as long as it stands, when something else is known.
    pub fn watch(&self, watcher: &Arc<Notify>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(watcher)));
        watchers.push(Arc::downgrade(watcher));
    }

    /// Keeps it current with `resolver`, unless that is done already.
    pub fn keep(self: &Arc<Self>, resolver: Arc<dyn Resolver>, control: &Handle) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.get_or_insert_with(|| control.spawn(follow(Arc::downgrade(self), resolver)).abort_handle());
    }

    fn learn(&self, answer: Result<Vec<Found>, String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !std::mem::replace(&mut known.asked, true);
        let changed = match answer {
            Ok(found) => {
                known.failure = None;
                let changed = *known.found != *found;
                known.found = found.into();
                changed
            }
            Err(why) => {
                tracing::warn!(name = ?self.key.question, error = why, "cannot resolve the name of endpoints");
                known.failure = Some(why.into());
                false
            }
        };
        drop(known);
        if changed || first {
            let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
            watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.notify_one());
        }
    }
}

async fn follow(name: Weak<NameState>, resolver: Arc<dyn Resolver>) {
    let mut failures = 0;
    loop {
        let Some((question, known)) = name.upgrade().map(|name| (name.key.question.clone(), name.known().found)) else {
            return;
        };
        let answer = resolver.ask(&question, &known).await;
        failures = if answer.is_ok() { 0 } else { failures + 1 };
        let wait =
            answer.as_ref().map_or_else(|_| AGAIN * 2_u32.pow(failures.min(AGAIN_DOUBLINGS_MAX)), |good| good.ttl);
        let Some(name) = name.upgrade() else { return };
        name.learn(answer.map(|answer| answer.found));
        drop(name);
        tokio::time::sleep(wait).await;
    }
}

// After a failure it is asked again a second later, then after two, up to sixteen.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_DOUBLINGS_MAX: u32 = 5;

impl Drop for NameState {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}
