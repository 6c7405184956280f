//! Watching keys: one stream of changes from one revision on. It does not resume by itself: when it ends, the error
//! says why, and whoever watches knows from where to go on.

use std::sync::Arc;

use tokio::{sync::mpsc, time::timeout};
use tonic::{Request, Status, Streaming};

use super::{
    Client, Error, Event, Header, Kind, Link, Range, error,
    wire::{self, watch_client::WatchClient, watch_request::RequestUnion},
};

/// Requests on their way to etcd; a question for progress that finds the queue full is not asked.
const REQUESTS_WAITING_MAX: usize = 4;

/// Changes held back until the last fragment of an answer is there. Above, the watch ends: it is opened again later.
const FRAGMENT_EVENTS_MAX: usize = 2_000_000;

/// An open watch. Dropping it ends it.
pub struct Watch {
    client: Client,
    link: Link,
    requests: mpsc::Sender<wire::WatchRequest>,
    answers: Streaming<wire::WatchResponse>,
    held: Vec<Event>,
    /// Who answered when it was opened; its revision may be older than the first change asked for.
    pub opened: Header,
}

/// What a watch says.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Whole revisions, each with all its changes, in order.
    Changes(Vec<Event>),
    /// Nothing has changed up to this revision.
    Unchanged(i64),
    /// The answer to [`Watch::ask`]: the stream is alive. Says nothing about revisions, because some versions of etcd
    /// let it overtake changes.
    Alive,
}

impl Client {
    /// Watches the keys of a range, from the changes of revision `from` on. Returns when etcd has taken the watch.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn watch(&self, range: &Range, from: i64) -> Result<Watch, Error> {
        let mut renewed = false;
        loop {
            let (link, token) = self.ready().await?;
            let opened = timeout(self.0.options.request_timeout, self.open(&link, &token, range, from)).await;
            let error = match opened.unwrap_or_else(|_| Err(self.late(&link))) {
                Ok(watch) => return Ok(watch),
                Err(error) => error,
            };
            if error.is_passing() {
                self.0.links.lost(&link);
            }
            // Before 3.5 a token that is not taken, too, is answered with `permission denied` here.
            let by_token = matches!(error.kind, Kind::Token | Kind::Permission);
            if !by_token || std::mem::replace(&mut renewed, true) || !self.0.tokens.refused(&token) {
                return Err(error);
            }
        }
    }

    async fn open(&self, link: &Link, token: &super::token::Token, range: &Range, from: i64) -> Result<Watch, Error> {
        let said = |status: Status| Error::of_status(&link.endpoint, &status);
        let (requests, mut outgoing) = mpsc::channel(REQUESTS_WAITING_MAX);
        let create = wire::WatchCreateRequest {
            key: range.key.clone().into(),
            range_end: range.end.clone().into(),
            start_revision: from,
            progress_notify: true,
            fragment: true,
        };
        let create = wire::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.try_send(create).expect("a new queue has room");
        let outgoing = futures_util::stream::poll_fn(move |context| outgoing.poll_recv(context));
        let mut request = Request::new(outgoing);
        token.sign(&mut request);
        // So that a member that loses its cluster says so, instead of falling silent.
        request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
        let client = WatchClient::new(link.channel.clone());
        let mut client = client.max_decoding_message_size(self.0.options.answer_bytes_max);
        let mut answers = client.watch(request).await.map_err(said)?.into_inner();
        let closed = || Error::new(Kind::Closed, &link.endpoint, "the stream ended before the watch began");
        let first = answers.message().await.map_err(said)?.ok_or_else(closed)?;
        if first.canceled {
            return Err(cancelled(&link.endpoint, &first));
        }
        let opened = first.header.into();
        Ok(Watch { client: self.clone(), link: link.clone(), requests, answers, held: Vec::new(), opened })
    }
}

impl Watch {
    /// The next thing it says. May be dropped at any await and called again.
    ///
    /// # Errors
    /// Why it ended. Not to be called after that.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            let answer = self.answers.message().await.map_err(|status| self.over(&status))?;
            let Some(answer) = answer else {
                return Err(Error::new(Kind::Closed, &self.link.endpoint, "the stream ended"));
            };
            if answer.canceled {
                return Err(cancelled(&self.link.endpoint, &answer));
            }
            let header = Header::from(answer.header);
            let fragment = answer.fragment;
            self.held.extend(answer.events.into_iter().filter_map(Event::of));
            if self.held.len() > FRAGMENT_EVENTS_MAX {
                let detail = format!("more than {FRAGMENT_EVENTS_MAX} changes in one answer");
                return Err(Error::new(Kind::TooLarge, &self.link.endpoint, detail));
            }
            if fragment {
                continue;
            }
            if !self.held.is_empty() {
                return Ok(Batch::Changes(std::mem::take(&mut self.held)));
            }
            if !answer.created {
                // Without a number of a watch it is the answer to a question.
                return Ok(if answer.watch_id < 0 { Batch::Alive } else { Batch::Unchanged(header.revision) });
            }
        }
    }

    /// Asks for a sign of life: [`Batch::Alive`] answers it (etcd 3.4 and later).
    pub fn ask(&self) {
        let ask = RequestUnion::ProgressRequest(wire::WatchProgressRequest {});
        // A full queue has a question in it that is not answered yet.
        drop(self.requests.try_send(wire::WatchRequest { request_union: Some(ask) }));
    }

    /// Where it is open.
    pub fn endpoint(&self) -> &str {
        &self.link.endpoint
    }

    /// Gives the connection up, because nothing comes over it any more.
    pub fn abandon(self) {
        self.client.0.links.lost(&self.link);
    }

    fn over(&self, status: &Status) -> Error {
        let error = Error::of_status(&self.link.endpoint, status);
        if error.is_passing() {
            self.client.0.links.lost(&self.link);
        }
        error
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({})", self.link.endpoint)
    }
}

fn cancelled(endpoint: &Arc<str>, answer: &wire::WatchResponse) -> Error {
    if answer.compact_revision > 0 {
        let revision = answer.compact_revision;
        let detail = format!("the changes before revision {revision} are compacted away");
        return Error::new(Kind::Compacted { revision }, endpoint, detail);
    }
    let reason = answer.cancel_reason.as_str();
    let kind = error::reason(reason).unwrap_or(Kind::Cancelled);
    Error::new(kind, endpoint, if reason.is_empty() { "the watch was cancelled" } else { reason })
}
