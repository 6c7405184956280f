//! Requests that a plugin sends to upstreams, beside the exchange that it sent them in, and the callback with what came
//! back.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::task::{AbortHandle, JoinHandle};

use super::{
    data::{Outgoing, Received},
    home::Home,
    local::Local,
    outbox::Held,
};
use crate::{
    drain::Drain,
    error::{Error, Kind},
    exchange::{
        Body, Connection, Exchange, Request, Response, Worker,
        trace::{Ids, TRACEPARENT},
    },
};

/// Requests of one VM that are under way; further ones fail at once. Over ten thousand exchanges may wait for one each.
pub(super) const CALLS_MAX: usize = 16 * 1024;

/// Something that a plugin waits for; given up when it is dropped.
pub(super) struct UnderWay {
    root: u32,
    task: Option<AbortHandle>,
}

impl UnderWay {
    /// A task of the plugin of a root context.
    pub(super) fn new(root: u32, task: &JoinHandle<()>) -> Self {
        Self { root, task: Some(task.abort_handle()) }
    }

    /// It is done, and ends by itself.
    pub(super) fn done(mut self) {
        self.task = None;
    }

    /// Whose it is.
    pub(super) const fn root(&self) -> u32 {
        self.root
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Sends a request; the guest is told what came of it.
pub(super) fn send(home: &Rc<Home>, outgoing: Outgoing) {
    let Some(local) = home.local(outgoing.root) else { return };
    let stream = outgoing.stream.and_then(|stream| home.streams.borrow().get(&stream).cloned());
    let exchange = stream.map_or_else(|| background(&home.worker), |stream| Rc::clone(&stream.exchange));
    let (life, root, token) = (home.life(), outgoing.root, outgoing.token);
    let full = home.calls.borrow().len() >= CALLS_MAX;
    let owner = Rc::clone(home);
    let task = tokio::task::spawn_local(async move {
        let until = Instant::now() + outgoing.timeout;
        let received = if full {
            stand_in(Kind::Overloaded)
        } else {
            let performed = owner.timers().within(until, perform(outgoing, exchange)).await;
            performed.unwrap_or_else(|_| stand_in(Kind::UpstreamTimeout))
        };
        if let Some(call) = owner.calls.borrow_mut().remove(&token) {
            call.done();
        }
        tell(&local, life, (root, token), received).await;
    });
    home.calls.borrow_mut().insert(token, UnderWay::new(root, &task));
}

async fn tell(local: &Rc<Local>, life: u64, (root, token): (u32, u32), received: Received) {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let headers = received.status.map_or(0, |_| count(received.headers.len() + 1));
    let params = (root, token, headers, count(received.body.len()), count(received.trailers.len()));
    let mut at = local.now();
    at.life = life;
    let show = |vm: &mut super::vm::Vm| {
        vm.store.data_mut().received = Some(received);
        params
    };
    let told = local.home.call(at, root, |exports| exports.on_http_call_response.as_ref(), show).await;
    if let Err(fail) = told
        && !matches!(fail, crate::wasm::call::Fail::Lost)
    {
        local.report(&fail, None);
    }
}

/// What a plugin is told in the place of an answer that did not come: what Envoy makes of it, since plugins look at the
/// status and not at whether there is a head.
fn stand_in(kind: Kind) -> Received {
    let (status, text) = if kind.status() == StatusCode::GATEWAY_TIMEOUT {
        (StatusCode::GATEWAY_TIMEOUT, "upstream request timeout".to_owned())
    } else {
        let text = "upstream connect error or disconnect/reset before headers. reset reason: ";
        (StatusCode::SERVICE_UNAVAILABLE, format!("{text}{}", kind.name()))
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, text.len().into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Received { headers, status: Some(status), body: text.into(), ..Received::default() }
}

async fn perform(outgoing: Outgoing, exchange: Rc<Exchange>) -> Received {
    let (upstream, bytes_max) = (Arc::clone(&outgoing.upstream), outgoing.bytes_max);
    let (request, _held) = request(outgoing, exchange);
    match upstream.call(request).await {
        Ok(response) => {
            let broken = |error: Error| Received { failed: Some(error.kind().name()), ..Received::default() };
            received(response, bytes_max).await.unwrap_or_else(broken)
        }
        Err(error) => stand_in(error.kind()),
    }
}

fn request(outgoing: Outgoing, exchange: Rc<Exchange>) -> (Box<Request>, Held) {
    let Outgoing { mut head, authority, body, trailers, held, .. } = outgoing;
    // It is part of the same trace, unless the plugin says otherwise.
    if !head.headers.contains_key(&TRACEPARENT) {
        let parent = exchange.trace.traceparent(exchange.trace.span_id);
        // Among more fields than a head can have, it is not there.
        drop(head.headers.try_insert(&TRACEPARENT, parent));
    }
    let body = match trailers {
        None => Body::full(body),
        Some(trailers) => {
            let frames = [Frame::data(body), Frame::trailers(trailers)].map(Ok);
            Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
        }
    };
    (Box::new(Request { head, authority, body, upgrade: None, exchange }), held)
}

async fn received(mut response: Response, mut bytes_max: usize) -> Result<Received, Error> {
    let too_large = || Error::new(Kind::UpstreamMalformed, "the answer to a plugin's call is over `call-bytes-max`");
    let head: usize = response.head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    bytes_max = bytes_max.checked_sub(head).ok_or_else(too_large)?;
    let mut received =
        Received { status: Some(response.head.status), headers: response.head.headers, ..Received::default() };
    let mut whole = BytesMut::new();
    while let Some(frame) = response.body.frame().await {
        match frame?.into_data() {
            Ok(data) if whole.len() + data.len() > bytes_max => return Err(too_large()),
            Ok(data) => whole.extend_from_slice(&data),
            Err(frame) => received.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    received.body = whole.freeze();
    Ok(received)
}

/// What a request belongs to that no client asked for. It holds no generation.
pub(super) fn background(worker: &Rc<Worker>) -> Rc<Exchange> {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let connection =
        Connection { listener: "none".into(), peer: nowhere, local: nowhere, proxy: None, secure: false, tls: None };
    let trace = worker.locals.of::<Ids>().continue_from(&HeaderMap::new());
    let pin = Drain::default().open(0, worker.index + 1, None).hold(worker.index).pin();
    let client = (Version::HTTP_11, IpAddr::V4(Ipv4Addr::UNSPECIFIED), false);
    Rc::new(Exchange::new(Rc::clone(worker), Rc::new(connection), client, trace, pin))
}
