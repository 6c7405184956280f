//! Cross-origin resource sharing: answers preflights itself and says on every response which pages may read it, to the
//! letter of the Fetch standard (section "HTTP extensions for CORS") and of the Gateway API's `HTTPCORSFilter`. What an
//! upstream says of it is replaced. Refuses nobody: who asks from elsewhere gets an answer that its browser keeps from
//! the page.

use std::{cell::RefCell, collections::HashSet, ops::ControlFlow, rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Filter, Visit, Wait, lists, own::PerWorker};
use crate::{
    config::spec::{self, AllOr, OriginPattern},
    exchange::{Exchange, Request, Response},
};

/// The step.
pub(super) struct Cors {
    rules: PerWorker<Arc<Rules>, Box<dyn Fn() -> Arc<Rules> + Send + Sync>>,
    does: String,
}

impl Cors {
    /// A step that shares so.
    pub(super) fn new(spec: &spec::Cors) -> Self {
        let origins: Vec<_> = spec.origins.iter().map(ToString::to_string).collect();
        let own = spec.clone();
        let credentials = if spec.credentials { ", with credentials" } else { "" };
        Self {
            does: format!("share with {}{credentials}", origins.join(", ")),
            rules: PerWorker::new(Box::new(move || Arc::new(Rules::new(&own)))),
        }
    }
}

impl Filter for Cors {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        Rc::new(Sharing { rules: Arc::clone(self.rules.of(exchange)), origin: RefCell::default() })
    }

    fn takes_told(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

/// Of one exchange.
struct Sharing {
    rules: Arc<Rules>,
    origin: RefCell<Option<HeaderValue>>,
}

impl Visit for Sharing {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
        let origin = single(&request.head.headers, &header::ORIGIN).cloned();
        let preflight = request.head.method == Method::OPTIONS
            && origin.is_some()
            && request.head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Wait::Ready(Ok(if preflight {
            ControlFlow::Break(Box::new(self.rules.preflight(origin.as_ref(), &request.head.headers)))
        } else {
            *self.origin.borrow_mut() = origin;
            ControlFlow::Continue(request)
        }))
    }

    fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
        let headers = &mut response.head.headers;
        for name in &ANSWERS {
            headers.remove(name);
        }
        self.rules.share(self.origin.borrow().as_ref(), headers);
        Wait::Ready(Ok(response))
    }
}

/// What is shared with whom.
struct Rules {
    any: bool,
    exact: HashSet<String>,
    wildcards: Vec<(String, String)>,
    methods: Words,
    headers: Words,
    expose: Words,
    credentials: bool,
    max_age: HeaderValue,
}

/// A list as it is sent; `None` where it is empty.
struct Words {
    all: bool,
    text: Option<HeaderValue>,
}

impl Words {
    fn new<T: AsRef<str>>(list: &AllOr<T>) -> Self {
        let text = list.texts().collect::<Vec<_>>().join(", ");
        let text = HeaderValue::try_from(text).ok().filter(|text| !text.is_empty());
        Self { all: list.all, text }
    }
}

impl Rules {
    fn new(spec: &spec::Cors) -> Self {
        let mut rules = Self {
            any: false,
            exact: HashSet::new(),
            wildcards: Vec::new(),
            methods: Words::new(&spec.methods),
            headers: Words::new(&spec.headers),
            expose: Words::new(&spec.expose),
            credentials: spec.credentials,
            max_age: HeaderValue::from(spec.max_age.as_secs()),
        };
        for origin in &spec.origins {
            match origin {
                OriginPattern::Any => rules.any = true,
                OriginPattern::Exact(origin) => drop(rules.exact.insert(origin.clone())),
                OriginPattern::Wildcard(before, after) => rules.wildcards.push((before.clone(), after.clone())),
            }
        }
        rules
    }

    // The same for every origin and for none, so that caches need not tell them apart (Fetch, "CORS protocol and HTTP
    // caches").
    const fn is_for_all(&self) -> bool {
        self.any && !self.credentials
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let wildcard = |(before, after): &(String, String)| {
            let host = origin.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
            host.is_some_and(is_host)
        };
        self.any || self.exact.contains(origin) || self.wildcards.iter().any(wildcard)
    }

    fn preflight(&self, origin: Option<&HeaderValue>, asked: &HeaderMap) -> Response {
        let mut response = Response::empty(StatusCode::OK);
        let headers = &mut response.head.headers;
        if self.allow(origin, headers) {
            let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD);
            self.list(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods, wanted);
            let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
            self.list(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers, wanted);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
            // Of no use to a browser here; the conformance tests of the Gateway API look for it.
            if let Some(exposed) = self.expose.text.as_ref().filter(|_| !(self.expose.all && self.credentials)) {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
        }
        headers.insert(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY));
        response
    }

    // Where credentials are allowed, `*` is a name like any other (Fetch), and what is asked for stands in its place.
    fn list(&self, headers: &mut HeaderMap, name: HeaderName, words: &Words, wanted: Option<&HeaderValue>) {
        let value = if words.all && self.credentials { wanted } else { words.text.as_ref() };
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }

    fn share(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if !self.is_for_all() {
            lists::vary_on(headers, "Origin");
        }
        if !self.allow(origin, headers) {
            return;
        }
        let exposed = if self.expose.all && self.credentials { names(headers) } else { self.expose.text.clone() };
        if let Some(exposed) = exposed {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    // Names the origin, if it is allowed.
    fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
        if self.is_for_all() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return true;
        }
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return false };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }
}

// What stands for `*` in an origin: one or more characters of a host.
fn is_host(text: &str) -> bool {
    let bracketed = text.starts_with('[') && text.ends_with(']');
    !text.is_empty() && !text.contains(['/', '@']) && (bracketed || !text.contains(':'))
}

// The value of a field that stands there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

// The fields of a response, but for those of this protocol.
fn names(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = headers.keys().filter(|name| !ANSWERS.contains(name)).map(HeaderName::as_str);
    HeaderValue::try_from(named.collect::<Vec<_>>().join(", ")).ok()
}

static ANSWERS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

#[cfg(test)]
mod tests;
