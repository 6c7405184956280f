//! One stored response: which requests it is for, how old it is, and the answers that are made of it. And what is kept for
//! one URI: a few of these. Knows neither workers nor upstreams.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    control::elements,
    range::{Part, part},
    terms::{Terms, Times, date, initial_age},
};
use crate::exchange::{Body, Response};

/// A response, whole.
#[derive(Debug)]
pub(super) struct Stored {
    /// The route that it came by: another one may lead elsewhere.
    pub(super) route: Arc<str>,
    /// On which terms.
    pub(super) terms: Terms,
    status: StatusCode,
    headers: HeaderMap,
    vary: Vec<(HeaderName, String)>,
    initial_age: Duration,
    since: Instant,
    body: Bytes,
}

/// What is kept for one URI.
#[derive(Debug, Default)]
pub(super) struct Resource {
    // The newest last.
    variants: Vec<Arc<Stored>>,
    // Until then, nobody waits for another one's answer: those before were not stored.
    alone_until: Option<Instant>,
}

/// What there is for a request.
#[derive(Debug)]
pub(super) enum Found {
    /// A response, fresh or not.
    Stored(Arc<Stored>),
    /// None for these fields.
    Other,
}

/// Of one URI; the oldest makes room.
const VARIANTS_MAX: usize = 16;

impl Resource {
    /// The newest response for a request with these fields on this route, and whether nobody should wait for another.
    pub(super) fn find(&self, route: &str, headers: &HeaderMap, now: Instant) -> (Found, bool) {
        let found = self.variants.iter().rev().find(|stored| *stored.route == *route && stored.is_for(headers));
        let alone = self.alone_until.is_some_and(|until| now < until);
        (found.map_or(Found::Other, |stored| Found::Stored(Arc::clone(stored))), alone)
    }

    /// Takes one in, in the place of the one that it follows.
    pub(super) fn put(&mut self, stored: Arc<Stored>) {
        self.alone_until = None;
        self.variants.retain(|known| known.route != stored.route || known.vary != stored.vary);
        if self.variants.len() >= VARIANTS_MAX {
            self.variants.remove(0);
        }
        self.variants.push(stored);
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, stored: &Arc<Stored>) {
        self.variants.retain(|known| !Arc::ptr_eq(known, stored));
    }

    /// Nobody waits for another one's answer until then.
    pub(super) fn leave_alone(&mut self, until: Instant) {
        self.alone_until = Some(until);
    }

    /// The bytes that it takes; 0 where there is nothing to keep.
    pub(super) fn bytes(&self) -> usize {
        let alone = usize::from(self.alone_until.is_some());
        alone + self.variants.iter().map(|stored| stored.bytes()).sum::<usize>()
    }
}

impl Stored {
    /// Of the head of a response to a request with the fields `asked`; its body follows. `None` where no request can be
    /// known to be alike (`Vary: *`).
    pub(super) fn new(
        (route, asked): (Arc<str>, &HeaderMap),
        (status, headers): (StatusCode, &HeaderMap),
        terms: Terms,
        times: Times,
    ) -> Option<Self> {
        let vary = vary(headers, asked)?;
        let mut headers = copy(headers);
        if date(&headers, &header::DATE).is_none() {
            // RFC 9110 section 6.6.1.
            headers.insert(header::DATE, text(&httpdate::fmt_http_date(times.wall)));
        }
        let initial_age = initial_age(&headers, times);
        headers.remove(header::AGE);
        Some(Self { route, terms, status, headers, vary, initial_age, since: times.received, body: Bytes::new() })
    }

    /// With its body.
    pub(super) fn with(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// The head that it has after a 304 with these fields (RFC 9111 section 3.2).
    pub(super) fn updated(&self, by: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.clone();
        let kept = |name: &HeaderName| OF_THE_BODY.contains(name);
        for name in by.keys().filter(|name| !kept(name)) {
            headers.remove(name);
        }
        for (name, value) in by.iter().filter(|(name, _)| !kept(name)) {
            headers.append(name, value.clone());
        }
        headers
    }

    /// Its body, for the one that takes its place.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Its status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// How old it is.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.initial_age + now.saturating_duration_since(self.since)
    }

    /// For how many seconds it is fresh yet; less than 0 where it is stale.
    pub(super) fn seconds_left(&self, now: Instant) -> i64 {
        let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        whole(self.terms.lifetime) - whole(self.age(now))
    }

    /// Whether a 304 with these fields is about this response (RFC 9111 section 4.3.4).
    pub(super) fn is_meant_by(&self, headers: &HeaderMap) -> bool {
        match (headers.get(header::ETAG), self.headers.get(header::ETAG)) {
            (Some(said), Some(own)) => opaque(said) == opaque(own),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Whether it can be asked whether it is still so.
    pub(super) fn has_validators(&self) -> bool {
        self.headers.contains_key(header::ETAG) || self.headers.contains_key(header::LAST_MODIFIED)
    }

    /// Makes a request one that asks whether it is still so, in place of what the client asked on condition.
    pub(super) fn condition(&self, request: &mut HeaderMap) {
        let pairs = [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
        for (validator, condition) in pairs {
            match self.headers.get(&validator) {
                // A head of more than 24,000 fields is over every limit.
                Some(value) => drop(request.try_insert(condition, value.clone())),
                None => drop(request.remove(condition)),
            }
        }
    }

    /// The answer to a request with these fields: itself, or that the client has it already (RFC 9110 section 13.2.2).
    pub(super) fn answer(&self, asked: &HeaderMap, only_head: bool, now: Instant) -> Response {
        let mut response = if self.is_known_by(asked) {
            let mut response = Response::empty(StatusCode::NOT_MODIFIED);
            for name in &OF_A_304 {
                for value in self.headers.get_all(name) {
                    response.head.headers.append(name, value.clone());
                }
            }
            response
        } else {
            let mut response = Response::empty(self.status);
            response.head.headers.clone_from(&self.headers);
            match only_head {
                true => drop(response.head.headers.insert(header::CONTENT_LENGTH, self.body.len().into())),
                false => self.send(asked, &mut response),
            }
            response
        };
        response.head.headers.insert(header::AGE, self.age(now).as_secs().into());
        response
    }

    // The body, or the part of it that is asked for.
    fn send(&self, asked: &HeaderMap, response: &mut Response) {
        let length = self.body.len();
        let part = if self.status == StatusCode::OK { part(asked, &self.headers, length) } else { Part::Whole };
        let (status, range, body) = match part {
            Part::Whole => return response.body = Body::full(self.body.clone()),
            Part::Bytes(range) => {
                let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                (StatusCode::PARTIAL_CONTENT, text, self.body.slice(range))
            }
            Part::Nowhere => {
                // What tells of the whole tells nothing of this.
                OF_THE_BODY.iter().for_each(|name| drop(response.head.headers.remove(name)));
                (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{length}"), Bytes::new())
            }
        };
        response.head.status = status;
        response.head.headers.insert(header::CONTENT_RANGE, text(&range));
        response.body = Body::full(body);
    }

    fn is_known_by(&self, asked: &HeaderMap) -> bool {
        if self.status != StatusCode::OK {
            return false;
        }
        let mut tags = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).peekable();
        if tags.peek().is_some() {
            let own = self.headers.get(header::ETAG).map(opaque);
            let is_own = |tag: &str| tag == "*" || own.is_some_and(|own| weak(tag.as_bytes()) == own);
            return tags.flat_map(elements).any(is_own);
        }
        let changed = date(&self.headers, &header::LAST_MODIFIED).or_else(|| date(&self.headers, &header::DATE));
        let known = date(asked, &header::IF_MODIFIED_SINCE);
        changed.zip(known).is_some_and(|(changed, known): (SystemTime, SystemTime)| changed <= known)
    }

    fn is_for(&self, asked: &HeaderMap) -> bool {
        self.vary.iter().all(|(name, value)| *value == joined(asked, name))
    }

    fn bytes(&self) -> usize {
        let head = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
        let vary = self.vary.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
        self.body.len() + head.sum::<usize>() + vary.sum::<usize>() + STORED_BYTES
    }
}

// The values of the fields that `Vary` names, as the request has them.
fn vary(headers: &HeaderMap, asked: &HeaderMap) -> Option<Vec<(HeaderName, String)>> {
    let mut vary = Vec::new();
    for value in headers.get_all(header::VARY) {
        for name in elements(value.to_str().ok()?).filter(|name| !name.is_empty()) {
            // `*` is none that a name can be made of, among others.
            let name = HeaderName::try_from(name).ok().filter(|name| name != "*")?;
            let value = joined(asked, &name);
            vary.push((name, value));
        }
    }
    Some(vary)
}

// RFC 9111 section 4.1: alike but for white space and how they are divided among lines.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let mut joined = String::new();
    for value in headers.get_all(name) {
        for element in elements(&String::from_utf8_lossy(value.as_bytes())).filter(|element| !element.is_empty()) {
            joined.push_str(element);
            joined.push(',');
        }
    }
    joined
}

// Anew, as a field may hold the whole buffer that it was read into; without what is one connection's (RFC 9111 section 3.1).
fn copy(headers: &HeaderMap) -> HeaderMap {
    let mut copy = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !NOT_STORED.contains(name)) {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("the own bytes of a name");
        copy.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("the own bytes of a value"));
    }
    copy
}

fn opaque(tag: &HeaderValue) -> &[u8] {
    weak(tag.as_bytes())
}

// What is left where tags are compared weakly.
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a date is visible ASCII")
}

static NOT_STORED: [HeaderName; 4] = [
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("tidegate-generation"),
];
static OF_THE_BODY: [HeaderName; 3] = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE];
static OF_A_304: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::VARY,
];
// What a field and a response take beside their bytes, roughly.
const FIELD_BYTES: usize = 64;
const STORED_BYTES: usize = 320;
