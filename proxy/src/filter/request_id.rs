//! Gives every exchange an id: one of its own, or the client's where that is accepted. Every such step of a chain uses
//! the id that the first one chose. It is the attribute `request.id` of the exchange, which logs and plugins see.

use std::{
    cell::Cell,
    fmt::Write as _,
    hash::{BuildHasher, RandomState},
    rc::Rc,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Edit, Flow};
use crate::{
    config::spec,
    error::{Error, Kind},
    exchange::{Exchange, Request, Response},
};

/// The step.
pub(super) struct RequestId {
    header: HeaderName,
    accept: bool,
    respond: bool,
}

impl RequestId {
    /// A step that carries the id so.
    pub(super) fn new(spec: &spec::RequestId) -> Self {
        Self { header: spec.header.clone(), accept: spec.accept, respond: spec.respond }
    }

    fn sent<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut values = headers.get_all(&self.header).iter();
        let only = values.next().filter(|_| self.accept && values.next().is_none())?;
        only.to_str().ok().filter(|text| is_id(text))
    }
}

impl Edit for RequestId {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        let chosen = known(&request.exchange);
        let id = chosen.clone().or_else(|| self.sent(&request.head.headers).map(str::to_owned));
        let id = id.unwrap_or_else(|| request.exchange.worker.locals.of::<Ids>().next());
        let value = HeaderValue::from_str(&id).expect("an id is made of visible ASCII");
        let full = request.head.headers.try_insert(&self.header, value);
        full.map_err(|full| Error::because(Kind::HeadTooLarge, "adding the request's id", full))?;
        if chosen.is_none() {
            request.exchange.attributes.borrow_mut().push((ATTRIBUTE.into(), id));
        }
        Ok(Flow::Continue)
    }

    fn response(&self, exchange: &Rc<Exchange>, response: &mut Response) {
        let id = known(exchange).filter(|_| self.respond).and_then(|id| HeaderValue::try_from(id).ok());
        if let Some(id) = id {
            // A head of more than 24,000 fields is over every limit; what does not fit is left out.
            let _full = response.head.headers.try_insert(&self.header, id).is_err();
        }
    }

    fn describe(&self) -> String {
        let accept = if self.accept { ", the client's where it sends one" } else { "" };
        format!("an id in {}{accept}", self.header)
    }
}

const ATTRIBUTE: &str = "request.id";
const ID_BYTES_MAX: usize = 128;

fn known(exchange: &Exchange) -> Option<String> {
    let attributes = exchange.attributes.borrow();
    attributes.iter().find(|(name, _)| name == ATTRIBUTE).map(|(_, id)| id.clone())
}

// What other people's ids are made of (UUID, ULID, base64, ARNs), and nothing that a log or a shell reads otherwise.
fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(&byte);
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// Where one worker's ids come from: unique, not secret.
struct Ids([Cell<u64>; 2]);

impl Default for Ids {
    fn default() -> Self {
        let seed = RandomState::new();
        Self([Cell::new(seed.hash_one(0)), Cell::new(seed.hash_one(1))])
    }
}

impl Ids {
    // A UUID of version 4 (RFC 9562 section 5.4).
    fn next(&self) -> String {
        let [high, low] = [self.half(0), self.half(1)];
        let high = high & !0xf000 | 0x4000;
        let low = low & !(0b11 << 62) | 0b10 << 62;
        let mut id = String::with_capacity(36);
        write!(
            id,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
        .expect("a String takes every write");
        id
    }

    // SplitMix64 (Steele, Lea and Flood 2014).
    fn half(&self, index: usize) -> u64 {
        let state = &self.0[index];
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut mixed = state.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{Method, StatusCode};

    use super::*;
    use crate::exchange::testing;

    fn step(accept: bool, respond: bool) -> RequestId {
        RequestId::new(&spec::RequestId { header: HeaderName::from_static("x-request-id"), accept, respond })
    }

    #[test]
    fn an_id_of_the_client_is_kept_only_where_it_is_accepted_and_fit() {
        let long = "x".repeat(129);
        let cases = [
            (true, vec!["abc-123"], true),
            (true, vec!["Root=1-67891233-abcdef012345678912345678"], true),
            (true, vec![&long[1..]], true),
            (true, vec![&long[..]], false),
            (true, vec![""], false),
            (true, vec!["two words"], false),
            (true, vec!["a;b"], false),
            (true, vec!["one", "two"], false),
            (false, vec!["abc-123"], false),
        ];
        for (accept, sent, kept) in cases {
            let mut request = testing::request(Method::GET, "/");
            for value in &sent {
                request.head.headers.append("x-request-id", value.parse().unwrap());
            }
            assert!(step(accept, true).request(&mut request).is_ok());
            let ids: Vec<_> = request.head.headers.get_all("x-request-id").iter().collect();
            assert_eq!((ids.len(), ids[0] == sent[0]), (1, kept), "{sent:?}");
        }
    }

    #[test]
    fn every_step_of_an_exchange_uses_one_id() {
        let mut request = testing::request(Method::GET, "/");
        let other = RequestId { header: HeaderName::from_static("x-other"), accept: true, respond: false };
        for step in [&step(false, true), &other] {
            assert!(step.request(&mut request).is_ok());
        }
        let headers = &request.head.headers;
        assert_eq!(headers["x-request-id"], headers["x-other"]);
        let logged = request.exchange.attributes.borrow().clone();
        assert_eq!(logged, [("request.id".to_owned(), headers["x-other"].to_str().unwrap().to_owned())]);
        let mut response = Response::empty(StatusCode::OK);
        other.response(&request.exchange, &mut response);
        assert!(response.head.headers.is_empty(), "only those that are asked to respond do");
        step(false, true).response(&request.exchange, &mut response);
        assert_eq!(response.head.headers["x-request-id"], headers["x-other"]);
    }

    #[test]
    fn ids_are_uuids_of_version_4_and_never_the_same() {
        let (ids, mut seen) = (Ids::default(), HashSet::new());
        for _ in 0..1000 {
            let id = ids.next();
            let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
            assert_eq!((id.len(), &dashes[..], &id[14..15]), (36, &[8, 13, 18, 23][..], "4"), "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
            assert!(seen.insert(id));
        }
    }
}
