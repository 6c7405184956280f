//! A client of etcd (version 3): keys, watches, leases, members. It connects when it is first asked, goes on to another
//! endpoint when one does not answer, and renews its token when etcd does not take it any more. What to do about an
//! error it leaves to whoever asked. Knows neither trees nor configuration.

mod cluster;
mod error;
mod kv;
mod lease;
mod link;
mod options;
mod token;
mod watch;
mod wire;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use tokio::time::timeout;
use tonic::{Request, Response, Status, transport::Channel};

pub use self::{
    cluster::{Member, MemberStatus},
    error::{Error, Kind},
    kv::{Answer, Committed, Compare, Event, Header, KeyValue, Op, Page, Range, Relation},
    lease::{Lease, TimeToLive},
    options::{KeepAlive, Options, Password, Tls, User},
    watch::{Batch, Watch},
};
use self::{
    link::{Link, Links},
    token::{Token, Tokens},
    wire::kv_client::KvClient,
};

/// How often a request is sent that may be sent again.
const ATTEMPTS_MAX: usize = 3;

/// Keys in the first page of a reading, and in any. In between a page is as large as the last one's values allow.
const PAGE_KEYS_FIRST: i64 = 200;
const PAGE_KEYS_MAX: i64 = 10_000;
const PAGE_BYTES: i64 = 4 << 20;

/// A client. Clones share one connection and one token.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: Arc<Options>,
    links: Links,
    tokens: Tokens,
    synced: Mutex<Option<Instant>>,
    syncing: AtomicBool,
}

/// What a client has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections made.
    pub connections: u64,
    /// Tokens asked for.
    pub authentications: u64,
}

/// Whether a request that may have arrived can be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing, or the same twice.
    Safe,
    /// Only where it was not taken.
    Never,
}

impl Client {
    /// A client that has not connected yet. Its calls must run on a tokio runtime with timers and sockets.
    pub fn new(options: Options) -> Self {
        let options = Arc::new(options);
        let links = Links::new(Arc::clone(&options));
        let tokens = Tokens::new(Arc::clone(&options));
        Self(Arc::new(Inner { options, links, tokens, synced: Mutex::default(), syncing: AtomicBool::new(false) }))
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// What it has counted.
    pub fn counts(&self) -> Counts {
        Counts { connections: self.0.links.dialed(), authentications: self.0.tokens.asked() }
    }

    /// Reads keys, at most [`Range::limit`] of them, as one answer. Linearised: never older than what any client has
    /// been told before.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn range(&self, range: &Range) -> Result<Page, Error> {
        let bytes_max = self.0.options.answer_bytes_max;
        let send = |channel, request| async move { kv(channel, bytes_max).range(request).await };
        self.call(range.wire(), Repeat::Safe, send).await.map(Page::from)
    }

    /// Reads every key of a range, page by page, all as of one revision: the range's, or else the present one. The
    /// header of the answer carries that revision.
    ///
    /// # Errors
    /// See [`Kind`]; [`Kind::Compacted`] also where the revision goes while it is read: begin again.
    pub async fn read(&self, range: &Range) -> Result<Page, Error> {
        let mut whole = Page::default();
        let mut next = range.clone().limit(PAGE_KEYS_FIRST);
        loop {
            let page = match self.range(&next).await {
                Err(error) if error.kind == Kind::TooLarge && next.limit > 1 => {
                    next.limit = (next.limit / 8).max(1);
                    continue;
                }
                answer => answer?,
            };
            if next.revision == 0 {
                next.revision = page.header.revision;
            }
            let last = page.kvs.last().map(|kv| kv.key.clone());
            let bytes: usize = page.kvs.iter().map(|kv| kv.value.len() + kv.key.len() + 32).sum();
            let mean = i64::try_from(bytes / page.kvs.len().max(1)).unwrap_or(i64::MAX).max(1);
            next.limit = (PAGE_BYTES / mean).clamp(1, PAGE_KEYS_MAX);
            (whole.header, whole.count) = (page.header, page.count.max(whole.count));
            whole.kvs.extend(page.kvs);
            let Some(last) = last.filter(|_| page.more) else { break };
            // The first key behind it.
            next.key = last.iter().copied().chain([0]).collect();
        }
        whole.header.revision = next.revision;
        Ok(whole)
    }

    /// Writes one key; answers the revision.
    ///
    /// # Errors
    /// See [`Kind`]. After [`Kind::Network`] and [`Kind::Timeout`] it may have been written all the same.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<i64, Error> {
        self.put_with_lease(key, value, 0).await
    }

    /// [`Client::put`] of a key that goes with a lease; 0 is none.
    ///
    /// # Errors
    /// As [`Client::put`]; [`Kind::NotFound`] where there is no such lease.
    pub async fn put_with_lease(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        lease: i64,
    ) -> Result<i64, Error> {
        let put = wire::PutRequest { key: key.into(), value: value.into(), lease };
        let send = |channel, request| async move { KvClient::new(channel).put(request).await };
        let answer = self.call(put, Repeat::Never, send).await?;
        Ok(Header::from(answer.header).revision)
    }

    /// Deletes keys; answers how many.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub async fn delete(&self, range: &Range) -> Result<i64, Error> {
        let send = |channel, request| async move { KvClient::new(channel).delete_range(request).await };
        self.call(range.wire_delete(), Repeat::Never, send).await.map(|answer| answer.deleted)
    }

    /// Carries out `then` where every comparison holds, else `otherwise`; either as one revision. etcd takes 128 steps
    /// unless its `--max-txn-ops` says otherwise.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub async fn txn(&self, compares: Vec<Compare>, then: Vec<Op>, otherwise: Vec<Op>) -> Result<Committed, Error> {
        let request = kv::transaction(compares, then, otherwise);
        let bytes_max = self.0.options.answer_bytes_max;
        let send = |channel, request| async move { kv(channel, bytes_max).txn(request).await };
        self.call(request, Repeat::Never, send).await.map(Committed::from)
    }

    /// Sends a request until it is answered, or until sending it again would not help or not be safe.
    async fn call<A: Clone, B, F>(
        &self,
        message: A,
        repeat: Repeat,
        send: impl Fn(Channel, Request<A>) -> F,
    ) -> Result<B, Error>
    where
        F: Future<Output = Result<Response<B>, Status>>,
    {
        let mut attempt = 1;
        let mut renewed = false;
        loop {
            let (link, token) = self.ready().await?;
            let mut request = Request::new(message.clone());
            token.sign(&mut request);
            let error = match timeout(self.0.options.request_timeout, send(link.channel.clone(), request)).await {
                Ok(Ok(answer)) => {
                    self.sync_soon();
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => Error::of_status(&link.endpoint, &status),
                Err(_) => self.late(&link),
            };
            if error.is_passing() {
                self.0.links.lost(&link);
            }
            let again = match error.kind {
                Kind::Token => !std::mem::replace(&mut renewed, true) && self.0.tokens.refused(&token),
                _ => error.is_passing() && repeat == Repeat::Safe && attempt < ATTEMPTS_MAX,
            };
            if !again {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// A connection, and the token for it.
    async fn ready(&self) -> Result<(Link, Token), Error> {
        let link = self.0.links.link().await?;
        let token = self.0.tokens.token(&link).await;
        if token.as_ref().is_err_and(Error::is_passing) {
            self.0.links.lost(&link);
        }
        Ok((link, token?))
    }

    fn late(&self, link: &Link) -> Error {
        let detail = format!("no answer within {:?}", self.0.options.request_timeout);
        Error::new(Kind::Timeout, &link.endpoint, detail)
    }

    /// Reads the list of members, if it is time to, beside whatever else is under way.
    fn sync_soon(&self) {
        let interval = self.0.options.sync_interval;
        let due = || {
            let synced = *self.0.synced.lock().unwrap_or_else(PoisonError::into_inner);
            synced.is_none_or(|at| at.elapsed() >= interval)
        };
        if interval.is_zero() || !due() || self.0.syncing.swap(true, Relaxed) {
            return;
        }
        *self.0.synced.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let client = self.clone();
        tokio::spawn(async move {
            if let Err(error) = client.sync().await {
                tracing::debug!(%error, "the list of etcd's members cannot be read");
            }
            client.0.syncing.store(false, Relaxed);
        });
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.0.options.endpoints.join(", "))
    }
}

fn kv(channel: Channel, bytes_max: usize) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(bytes_max)
}
