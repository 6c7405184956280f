//! Redis for plugins, as Higress added it to Proxy-Wasm: a command to an upstream in Redis's own words, and a callback
//! with the answer in them. Each plugin has connections of its own, one a worker and an upstream. Knows commands only by
//! where they end.

mod line;
mod reply;

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;

use self::line::Line;
use super::{
    calls::{CALLS_MAX, UnderWay, background},
    home::Home,
    local::Local,
    outbox::Held,
};
use crate::{
    exchange::{Authority, Body, Call, Request},
    wasm::call::Fail,
};

/// What a plugin said of an upstream, and how it introduces itself there.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) upstream: Arc<dyn Call>,
    /// Commands that come first.
    pub(super) hello: Vec<Bytes>,
    /// Of one command, its connection included.
    pub(super) timeout: Duration,
    /// Of one answer.
    pub(super) bytes_max: usize,
}

/// A command that is to be sent.
pub(super) struct Command {
    pub(super) token: u32,
    pub(super) root: u32,
    /// The stream context that it belongs to, if one.
    pub(super) stream: Option<u32>,
    /// The upstream by the module's name for it.
    pub(super) name: Arc<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) query: Bytes,
    /// Until it is answered.
    pub(super) held: Held,
}

/// The connections of one worker: by root context and upstream.
pub(super) type Lines = HashMap<(u32, Arc<str>), Rc<Line>>;

/// Whether these bytes are one command, whole: what is not one would put every later answer in a wrong place.
pub(super) fn is_command(query: &[u8]) -> bool {
    query.first() == Some(&b'*') && reply::length(query) == Ok(Some(query.len()))
}

/// A command in Redis's own words (RESP2: an array of texts).
pub(super) fn command(words: &[&[u8]]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.put_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.put_slice(word);
        bytes.put_slice(b"\r\n");
    }
    bytes.freeze()
}

/// Sends a command; the guest is told what came of it.
pub(super) fn send(home: &Rc<Home>, command: Command) {
    let Some(local) = home.local(command.root) else { return };
    let (life, root, token) = (home.life(), command.root, command.token);
    let full = home.calls.borrow().len() >= CALLS_MAX;
    let owner = Rc::clone(home);
    let task = tokio::task::spawn_local(async move {
        let answer = if full { None } else { ask(&owner, command).await };
        if let Some(call) = owner.calls.borrow_mut().remove(&token) {
            call.done();
        }
        tell(&local, life, (root, token), answer).await;
    });
    home.calls.borrow_mut().insert(token, UnderWay::new(root, &task));
}

async fn ask(home: &Rc<Home>, Command { root, stream, name, settings, query, held, .. }: Command) -> Option<Bytes> {
    let until = std::time::Instant::now() + settings.timeout;
    let key = (root, name);
    let kept = home.redis.borrow().get(&key).filter(|line| line.is_open()).cloned();
    let line = kept.unwrap_or_else(|| {
        let line = Rc::new(Line::open(request(home, stream), &settings));
        home.redis.borrow_mut().insert(key.clone(), Rc::clone(&line));
        line
    });
    let answer = home.timers().within(until, line.ask(query, held)).await;
    if answer.is_err() {
        // It may never answer again: who asks next gets another one, and who waits goes on waiting.
        let mut lines = home.redis.borrow_mut();
        if lines.get(&key).is_some_and(|present| Rc::ptr_eq(present, &line)) {
            lines.remove(&key);
        }
    }
    answer.ok().flatten()
}

// What the choice of an endpoint looks at.
fn request(home: &Rc<Home>, stream: Option<u32>) -> Box<Request> {
    let stream = stream.and_then(|stream| home.streams.borrow().get(&stream).cloned());
    let exchange = stream.map_or_else(|| background(&home.worker), |stream| Rc::clone(&stream.exchange));
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::GET;
    let authority = Authority::from_static("upstream");
    Box::new(Request { head, authority, body: Body::empty(), upgrade: None, exchange })
}

async fn tell(local: &Rc<Local>, life: u64, (root, token): (u32, u32), answer: Option<Bytes>) {
    let status = u32::from(answer.is_none());
    let answer = answer.unwrap_or_default();
    let params = (root, token, status, u32::try_from(answer.len()).unwrap_or(u32::MAX));
    let mut at = local.now();
    at.life = life;
    let show = |vm: &mut super::vm::Vm| {
        vm.store.data_mut().reply = Some(answer);
        params
    };
    let told = local.home.call(at, root, |exports| exports.on_redis_call_response.as_ref(), show).await;
    if let Err(fail) = told
        && !matches!(fail, Fail::Lost)
    {
        local.report(&fail, None);
    }
}
