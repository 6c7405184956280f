//! A plugin that serves, one exchange through it, and what is kept of that. Which phase comes when is in `run`.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use super::{
    Host,
    heads::{Ahead, BodyWish, RequestHead, ResponseHead, unchecked},
    messages::{ClientRequest, Forwarded, Received, UpstreamResponse},
    passing::Passing,
    run::Run,
};
use crate::{Outcome, Plugin};

/// A plugin that was made of settings, ready to serve.
///
/// ```
/// # use tidegate_guest::{Phases, Plugin, Problems, Result};
/// # struct Nothing;
/// # impl Plugin for Nothing {
/// #     type Settings = serde_json::Value;
/// #     fn new(_: serde_json::Value) -> Result<Self, Problems> { Ok(Self) }
/// #     fn phases(&self) -> Phases { Phases::none() }
/// # }
/// use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse, json};
///
/// let plugin = Host::new().load::<Nothing>(json!({})).unwrap();
/// let exchange = plugin.exchange(ClientRequest::get("/a"), |forwarded| {
///     assert_eq!(forwarded.path, "/a");
///     UpstreamResponse::new(200).body("hello")
/// });
/// assert_eq!((exchange.status(), exchange.text().as_str()), (200, "hello"));
/// ```
pub struct Loaded<P> {
    pub(super) host: Host,
    pub(super) plugin: P,
    pub(super) open: bool,
}

/// What became of an exchange.
///
/// ```
/// # use tidegate_guest::testing::Exchange;
/// fn turned_away(exchange: &Exchange) -> bool {
///     exchange.forwarded.is_none() && exchange.failure.is_none() && exchange.status() == 401
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What the upstream got; `None` where the plugin answered in its place, or failed.
    pub forwarded: Option<Forwarded>,
    /// What the client got.
    pub response: Received,
    /// What the plugin failed with. The client gets 503, unless [`Loaded::fail_open`] was asked for.
    pub failure: Option<String>,
    /// Attributes by full name.
    pub attributes: Vec<(String, String)>,
    /// What [`Plugin::on_end`] was told, if it was declared.
    pub outcome: Outcome,
}

impl Exchange {
    /// The status that the client got.
    ///
    /// ```
    /// # use tidegate_guest::testing::Exchange;
    /// fn is_limited(exchange: &Exchange) -> bool {
    ///     exchange.status() == 429
    /// }
    /// ```
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.response.status
    }

    /// The first value of a field of the response, if it is UTF-8.
    ///
    /// ```
    /// # use tidegate_guest::testing::Exchange;
    /// fn when(exchange: &Exchange) -> Option<&str> {
    ///     exchange.header("retry-after")
    /// }
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// The response's body as text.
    ///
    /// ```
    /// # use tidegate_guest::testing::Exchange;
    /// fn is_told_why(exchange: &Exchange) -> bool {
    ///     exchange.text().contains("expired")
    /// }
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        self.response.text()
    }

    /// An attribute by its full name.
    ///
    /// ```
    /// # use tidegate_guest::testing::Exchange;
    /// fn consumer(exchange: &Exchange) -> Option<&str> {
    ///     exchange.attribute("key-auth.consumer")
    /// }
    /// ```
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

// Not derived: a plugin need not implement it, and `unwrap_err` on what loading yields wants it.
impl<P> fmt::Debug for Loaded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("host", &self.host).field("open", &self.open).finish_non_exhaustive()
    }
}

/// Facts of an exchange.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) client: String,
    pub(super) secure: bool,
    pub(super) protocol: String,
    pub(super) listener: String,
    pub(super) route: Option<String>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            client: "192.0.2.1".to_owned(),
            secure: false,
            protocol: "HTTP/1.1".to_owned(),
            listener: "web".to_owned(),
            route: Some("test".to_owned()),
        }
    }
}

/// A plugin's part in one exchange.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) facts: Facts,
    pub(super) attributes: RefCell<Vec<(String, String)>>,
    pub(super) kept: RefCell<Option<Vec<u8>>>,
    pub(super) calls: Cell<u32>,
    pub(super) request: RefCell<RequestHead>,
    pub(super) request_body: Cell<BodyWish>,
    pub(super) ahead: RefCell<Ahead>,
    pub(super) response: RefCell<ResponseHead>,
    pub(super) response_body: Cell<BodyWish>,
    /// The body that is shown in chunks, while one is.
    pub(super) passing: RefCell<Option<Passing>>,
}

impl Visit {
    /// The beginning of an exchange.
    ///
    /// # Panics
    /// Where the test's own request is not valid HTTP.
    pub(super) fn new(request: &ClientRequest) -> Self {
        let head = RequestHead {
            method: request.method.parse().expect("the test's method is valid"),
            authority: request.authority.parse().expect("the test's host is valid"),
            target: request.target.parse().expect("the test's target is valid"),
            fields: unchecked(&request.fields),
        };
        Self {
            facts: request.facts.clone(),
            attributes: RefCell::new(request.attributes.clone()),
            kept: RefCell::default(),
            calls: Cell::default(),
            request: RefCell::new(head),
            request_body: Cell::default(),
            ahead: RefCell::default(),
            response: RefCell::default(),
            response_body: Cell::default(),
            passing: RefCell::default(),
        }
    }

    /// The head of a response is there.
    pub(super) fn receive(&self, response: &UpstreamResponse) {
        self.response.replace(ResponseHead { status: response.status, fields: unchecked(&response.fields) });
    }
}

impl<P: Plugin> Loaded<P> {
    pub(super) const fn new(host: Host, plugin: P) -> Self {
        Self { host, plugin, open: false }
    }

    /// The same where the operator has written `on-failure: open`: the exchange goes on without a plugin that failed.
    ///
    /// ```
    /// # use tidegate_guest::{Error, Phases, Plugin, Problems, Request, Result, Verdict};
    /// # use tidegate_guest::testing::{ClientRequest, Host, json};
    /// # struct Failing;
    /// # impl Plugin for Failing {
    /// #     type Settings = serde_json::Value;
    /// #     fn new(_: serde_json::Value) -> Result<Self, Problems> { Ok(Self) }
    /// #     fn phases(&self) -> Phases { Phases::none().request() }
    /// #     fn on_request(&self, _: Request) -> Result<Verdict> { Err(Error::new("it fails")) }
    /// # }
    /// let failing = Host::new().load::<Failing>(json!({})).unwrap();
    /// assert_eq!(failing.send(ClientRequest::get("/")).status(), 503);
    /// assert_eq!(failing.fail_open().send(ClientRequest::get("/")).status(), 200);
    /// ```
    #[must_use]
    pub fn fail_open(self) -> Self {
        Self { open: true, ..self }
    }

    /// The plugin itself, to call a function of its own; within [`Host::run`] where that asks the gateway for something.
    ///
    /// ```
    /// # use tidegate_guest::{Phases, Plugin, Problems, Result, testing::{Host, json}};
    /// # struct Counting(u32);
    /// # impl Plugin for Counting {
    /// #     type Settings = u32;
    /// #     fn new(from: u32) -> Result<Self, Problems> { Ok(Self(from)) }
    /// #     fn phases(&self) -> Phases { Phases::none() }
    /// # }
    /// assert_eq!(Host::new().load::<Counting>(json!(5)).unwrap().plugin().0, 5);
    /// ```
    pub const fn plugin(&self) -> &P {
        &self.plugin
    }

    /// Sends a request through the plugin to an upstream that answers 200 with nothing.
    ///
    /// ```
    /// # use tidegate_guest::{Plugin, testing::{ClientRequest, Loaded}};
    /// fn lets_pass<P: Plugin>(plugin: &Loaded<P>) -> bool {
    ///     plugin.send(ClientRequest::get("/")).status() == 200
    /// }
    /// ```
    pub fn send(&self, request: ClientRequest) -> Exchange {
        self.exchange(request, |_| UpstreamResponse::new(200))
    }

    /// Sends a request through the plugin, its answer back, and ends the exchange. `upstream` is not called where the
    /// plugin answers in its place.
    ///
    /// ```
    /// # use tidegate_guest::{Plugin, testing::{ClientRequest, Loaded, UpstreamResponse}};
    /// fn hides_errors<P: Plugin>(plugin: &Loaded<P>) -> bool {
    ///     let exchange = plugin.exchange(ClientRequest::get("/"), |_| UpstreamResponse::new(500).body("at line 7"));
    ///     !exchange.text().contains("line")
    /// }
    /// ```
    pub fn exchange(&self, request: ClientRequest, upstream: impl FnOnce(&Forwarded) -> UpstreamResponse) -> Exchange {
        let began = self.host.state.monotonic.get();
        let request_bytes = request.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut run = Run::new(self, Visit::new(&request));
        let response = run.run(request.chunks, upstream).unwrap_or_else(|ended| ended);
        let outcome = Outcome {
            status: response.status,
            request_bytes,
            response_bytes: response.chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            duration: self.host.state.monotonic.get() - began,
            error: run.error.clone(),
        };
        if self.plugin.phases().end && !run.skipped {
            // It changes nothing any more, but that it failed is to be seen.
            drop(run.attempt(|plugin| plugin.on_end(&outcome)));
        }
        let attributes = run.visit.attributes.borrow().clone();
        Exchange { forwarded: run.forwarded, response, failure: run.failure, attributes, outcome }
    }
}
