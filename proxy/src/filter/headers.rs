//! Sets, adds and removes header fields of requests and responses. Fields that frame a message or belong to one
//! connection are not a step's to change ([`is_framing`]), and `host` set on a request is the request's authority.

use std::{borrow::Cow, rc::Rc};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Edit, Flow, own::PerWorker};
use crate::{
    config::spec::HeaderEdits,
    error::{Error, Kind},
    exchange::{Authority, Exchange, Request, Response, is_framing},
};

/// The step.
pub(super) struct Headers {
    request: Side,
    response: Side,
    takes_told: bool,
    does: String,
}

type Make<T> = Box<dyn Fn() -> T + Send + Sync>;

// One direction.
struct Side {
    remove: Vec<HeaderName>,
    fields: PerWorker<Fields, Make<Fields>>,
}

struct Fields {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    host: Option<Authority>,
}

impl Headers {
    /// A step that makes these changes.
    pub(super) fn new(request: &HeaderEdits, response: &HeaderEdits) -> Self {
        let sides = [("request", request), ("response", response)];
        let does =
            sides.iter().filter_map(|(side, edits)| describe(edits).map(|does| format!("{side} headers: {does}")));
        let does = does.collect::<Vec<_>>().join("; ");
        let (takes_told, request) = (!edits_fields(request), Side::new(request));
        Self { request, response: Side::new(response), takes_told, does }
    }
}

impl Edit for Headers {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        let fields = self.request.fields.of(&request.exchange);
        if let Some(host) = &fields.host {
            request.authority = host.clone();
        }
        match self.request.apply(fields, &mut request.head.headers) {
            Ok(()) => Ok(Flow::Continue),
            Err(full) => Err(Error::because(Kind::HeadTooLarge, "adding header fields to the request", full)),
        }
    }

    fn response(&self, exchange: &Rc<Exchange>, response: &mut Response) {
        let fields = self.response.fields.of(exchange);
        // A head of more than 24,000 fields is over every limit; what does not fit is left out.
        let _full = self.response.apply(fields, &mut response.head.headers).is_err();
    }

    fn takes_told(&self) -> bool {
        self.takes_told
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

impl Side {
    fn new(edits: &HeaderEdits) -> Self {
        let edits = edits.clone();
        let remove = edits.remove.iter().filter(|name| !is_framing(name)).cloned().collect();
        Self { remove, fields: PerWorker::new(Box::new(move || Fields::copied(&edits))) }
    }

    fn apply(&self, fields: &Fields, headers: &mut HeaderMap) -> Result<(), header::MaxSizeReached> {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &fields.set {
            headers.try_insert(name, value.clone())?;
        }
        for (name, value) in &fields.add {
            headers.try_append(name, value.clone())?;
        }
        Ok(())
    }
}

impl Fields {
    fn copied(edits: &HeaderEdits) -> Self {
        let host = edits.set.iter().find(|(name, _)| name == header::HOST);
        let own = |fields: &[(HeaderName, HeaderValue)]| {
            let usable = fields.iter().filter(|(name, _)| !is_framing(name) && name != header::HOST);
            usable.map(|(name, value)| copied(name, value)).collect()
        };
        Self {
            set: own(&edits.set),
            add: own(&edits.add),
            host: host.and_then(|(_, value)| Authority::try_from(value.as_bytes()).ok()),
        }
    }
}

// Whether any but `host`, which is none of a request's fields here.
fn edits_fields(edits: &HeaderEdits) -> bool {
    let given = edits.set.iter().chain(&edits.add).map(|(name, _)| name);
    given.chain(&edits.remove).any(|name| !is_framing(name) && name != header::HOST)
}

/// A field that shares no buffer with `name` and `value`.
pub(super) fn copied(name: &HeaderName, value: &HeaderValue) -> (HeaderName, HeaderValue) {
    let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("a name's own text is a name");
    let mut own = HeaderValue::from_bytes(value.as_bytes()).expect("a value's own bytes are a value");
    own.set_sensitive(value.is_sensitive());
    (name, own)
}

fn describe(edits: &HeaderEdits) -> Option<String> {
    let listed = |verb: &str, names: Vec<&HeaderName>| {
        let names: Vec<_> = names.into_iter().map(HeaderName::as_str).collect();
        (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
    };
    let names =
        |fields: &'_ [(HeaderName, HeaderValue)]| fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let (set, add) = (names(&edits.set), names(&edits.add));
    let parts = [
        listed("remove", edits.remove.iter().collect()),
        listed("set", set.iter().collect()),
        listed("add", add.iter().collect()),
    ];
    let all: Vec<Cow<'_, str>> = parts.into_iter().flatten().map(Cow::Owned).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::exchange::testing;

    fn fields(text: &str) -> Vec<(HeaderName, HeaderValue)> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn edits(remove: &str, set: &str, add: &str) -> HeaderEdits {
        let remove = remove.split_whitespace().map(|name| name.parse().unwrap()).collect();
        HeaderEdits { remove, set: fields(set), add: fields(add) }
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let cases = [
            ("a=1 b=2", edits("a", "", ""), "b=2"),
            ("a=1 a=2", edits("", "a=3", ""), "a=3"),
            ("a=1", edits("", "", "a=2 a=3"), "a=1 a=2 a=3"),
            ("a=1", edits("a", "a=2", "a=3"), "a=2 a=3"),
            ("a=1", edits("A", "B=2", ""), "b=2"),
            ("a=1", edits("b", "", ""), "a=1"),
            ("content-length=1", edits("content-length", "transfer-encoding=chunked", "te=x"), "content-length=1"),
        ];
        for (given, edits, expected) in cases {
            let step = Headers::new(&edits, &edits);
            let mut request = testing::request(Method::GET, "http://old.test/");
            let mut response = Response::empty(StatusCode::OK);
            for (name, value) in fields(given) {
                request.head.headers.append(&name, value.clone());
                response.head.headers.append(name, value);
            }
            assert!(matches!(step.request(&mut request), Ok(Flow::Continue)));
            step.response(&request.exchange, &mut response);
            let expected: HeaderMap = fields(expected).into_iter().fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            });
            assert_eq!(request.head.headers, expected);
            assert_eq!(response.head.headers, expected);
            assert_eq!(request.authority, "old.test");
        }
    }

    #[test]
    fn host_set_on_a_request_is_its_authority() {
        let step = Headers::new(&edits("", "host=new.test:81", ""), &HeaderEdits::default());
        let mut request = testing::request(Method::GET, "http://old.test/");
        assert!(step.request(&mut request).is_ok());
        assert_eq!(request.authority, "new.test:81");
        assert!(request.head.headers.is_empty());
    }

    #[test]
    fn it_says_what_it_does() {
        let step = Headers::new(&edits("a", "b=1 c=2", ""), &edits("", "", "d=1"));
        assert_eq!(step.describe(), "request headers: remove a, set b, c; response headers: add d");
    }
}
