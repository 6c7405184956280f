//! The reporter: writes what a gateway serves under a lease, after each attempt, and keeps the lease alive. Failing
//! costs nothing but the word itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};

use super::{Node, Settings};
use crate::{
    etcd::{Answer, Client, Error, Kind, Op, Range},
    reload::Board,
    telemetry::{Metrics, Timestamp},
};

/// What is said, and when there is something new to say.
pub struct Says {
    /// Says it.
    pub board: Arc<Board>,
    /// Counts what could not be said.
    pub metrics: Arc<Metrics>,
}

/// One gateway's word in etcd. Dropped, it is taken back, if [`Reporter::end`] waits for that.
pub struct Reporter {
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// However fast the configuration changes, so often at most.
const PAUSE: Duration = Duration::from_millis(200);

/// Between two tries, where etcd does not take it.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The same, where trying again seldom helps: user, token, permission, certificates.
const BACKOFF_REFUSED_MAX: Duration = Duration::from_secs(60);

impl Reporter {
    /// Starts it on the present runtime.
    pub fn start(settings: Settings, says: Says) -> Self {
        let (end, ended) = watch::channel(false);
        let client = Client::new(settings.etcd.clone());
        let key = format!("{}{}", settings.status_prefix, settings.node);
        let instance = format!("{}-{}", std::process::id(), Timestamp::now());
        let writer = Writer { settings, says, client, key, instance, lease: None, written: false, warned: false };
        Self { end, task: tokio::spawn(writer.run(ended)) }
    }

    /// Takes the word back, `deadline` at most.
    pub async fn end(self, deadline: Duration) {
        self.end.send_replace(true);
        if timeout(deadline, self.task).await.is_err() {
            tracing::debug!("what this gateway serves stands in etcd until its lease ends");
        }
    }
}

struct Writer {
    settings: Settings,
    says: Says,
    client: Client,
    key: String,
    instance: String,
    lease: Option<i64>,
    written: bool,
    /// Somebody else of our name was complained of.
    warned: bool,
}

impl Writer {
    async fn run(mut self, mut ended: watch::Receiver<bool>) {
        let mut changes = self.says.board.changes();
        let (mut failures, mut pause) = (0, Duration::ZERO);
        loop {
            changes.mark_unchanged();
            let began = Instant::now();
            match self.write().await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(key = self.key, "what this gateway serves is written to etcd again");
                    }
                    failures = 0;
                }
                Err(error) => {
                    self.failed(&error, &mut failures);
                    pause = backoff(failures, &error.kind);
                }
            }
            let wait = async {
                match failures {
                    0 => self.keep(&mut changes, began + PAUSE).await,
                    _ => sleep_until((Instant::now() + pause).into()).await,
                }
            };
            tokio::select! {
                () = wait => {}
                // An error says that nobody can end it any more: the gateway is gone.
                () = async { drop(ended.wait_for(|ended| *ended).await) } => break,
            }
        }
        if let Some(lease) = self.lease {
            drop(self.client.lease_revoke(lease).await);
        }
    }

    // Keeps the lease alive until there is something to write again: a new attempt, or a lease that is gone.
    async fn keep(&mut self, changes: &mut watch::Receiver<u64>, from: Instant) {
        let third = self.settings.lease / 3;
        let mut gone = Instant::now() + self.settings.lease;
        loop {
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_ok() {
                        return sleep_until(from.into()).await;
                    }
                    return std::future::pending().await;
                }
                () = sleep_until((Instant::now() + third).into()) => {}
            }
            let Some(lease) = self.lease else { return };
            match self.client.lease_keep_alive(lease).await {
                Ok(_) => gone = Instant::now() + self.settings.lease,
                Err(error) if error.kind == Kind::NotFound => {
                    self.lease = None;
                    return;
                }
                // The lease may outlive the trouble; else it is made anew.
                Err(error) if Instant::now() < gone => tracing::debug!(%error, "the lease could not be kept alive"),
                Err(_) => return,
            }
        }
    }

    async fn write(&mut self) -> Result<(), Error> {
        let lease = match self.lease {
            Some(lease) => lease,
            None => {
                let ttl_s = i64::try_from(self.settings.lease.as_secs().max(1)).unwrap_or(i64::MAX);
                self.client.lease_grant(ttl_s).await?.id
            }
        };
        self.lease = Some(lease);
        let names = (self.settings.node.as_str(), self.instance.as_str(), self.settings.follows.as_str());
        let value = Node::of(names, &self.says.board).value();
        let key = self.key.clone();
        let steps = vec![Op::Range(Range::key(key.clone())), Op::Put { key: key.into(), value: value.into(), lease }];
        match self.client.txn(Vec::new(), steps, Vec::new()).await {
            Ok(answer) => self.look(answer.answers.first()),
            Err(error) => {
                if error.kind == Kind::NotFound {
                    self.lease = None;
                }
                return Err(error);
            }
        }
        self.written = true;
        Ok(())
    }

    // After our first word, the one before ours is ours as well, unless another process goes by our name.
    fn look(&mut self, before: Option<&Answer>) {
        let Some(Answer::Range(page)) = before.filter(|_| self.written && !self.warned) else { return };
        let other = page.kvs.first().and_then(|kv| serde_json::from_slice::<Node>(&kv.value).ok());
        if other.is_some_and(|other| other.instance != self.instance) {
            self.warned = true;
            tracing::warn!(
                node = self.settings.node,
                "another gateway says what it serves under the same name; give each its own with --node-id"
            );
        }
    }

    fn failed(&self, error: &Error, failures: &mut u32) {
        self.says.metrics.fleet_status_failed();
        if *failures == 0 {
            tracing::warn!(key = self.key, %error, "what this gateway serves cannot be written to etcd; it serves on");
        }
        *failures += 1;
    }
}

// The fleet must not come back at one instant: each process at its own part of the time.
fn backoff(failures: u32, kind: &Kind) -> Duration {
    let max = match kind {
        Kind::Credentials | Kind::Permission | Kind::Tls => BACKOFF_REFUSED_MAX,
        _ => BACKOFF_MAX,
    };
    let full = (BACKOFF_MIN * 2_u32.saturating_pow(failures.min(8) - 1)).min(max);
    full / 2 + full / 2 * (std::process::id() % 100) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_grow_apart_up_to_a_limit() {
        for (kind, max) in [(Kind::Network, BACKOFF_MAX), (Kind::Permission, BACKOFF_REFUSED_MAX)] {
            assert!(backoff(1, &kind) >= BACKOFF_MIN / 2 && backoff(1, &kind) <= BACKOFF_MIN);
            for failures in 1..100 {
                let (this, next) = (backoff(failures, &kind), backoff(failures + 1, &kind));
                assert!(next >= this && next <= max, "{kind:?} {failures}");
            }
        }
    }
}
