//! A gateway in miniature, for a plugin's own tests: `cargo test` runs them on the machine that builds the plugin, without
//! Wasm, without a gateway, and without a feature to switch on. It is there on every target but `wasm32`.
//!
//! ```
//! use std::time::Duration;
//! use tidegate_guest::{LocalResponse, Phases, Plugin, Problems, Request, Result, Verdict, kv};
//!
//! /// Lets ten requests a second pass.
//! struct Ten;
//!
//! impl Plugin for Ten {
//!     type Settings = serde_json::Value;
//!
//!     fn new(_: serde_json::Value) -> Result<Self, Problems> {
//!         Ok(Self)
//!     }
//!
//!     fn phases(&self) -> Phases {
//!         Phases::none().request()
//!     }
//!
//!     fn on_request(&self, _: Request) -> Result<Verdict> {
//!         let requests = kv::add("requests", 1, Some(Duration::from_secs(1)))?;
//!         Ok(if requests > 10 { Verdict::Respond(LocalResponse::new(429)) } else { Verdict::Proceed })
//!     }
//! }
//!
//! use tidegate_guest::testing::{ClientRequest, Host, json};
//!
//! let host = Host::new();
//! let ten = host.load::<Ten>(json!({})).unwrap();
//! let statuses = || (0..12).map(|_| ten.send(ClientRequest::get("/")).status()).collect::<Vec<_>>();
//! assert_eq!(statuses(), [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 429, 429]);
//! host.advance(Duration::from_secs(1));
//! assert_eq!(statuses()[9..], [200, 429, 429]);
//! ```
//!
//! What stands in for what:
//!
//! | of the gateway | here |
//! |---|---|
//! | a client and the upstream behind the route | [`Loaded::send`], [`Loaded::exchange`] |
//! | upstreams that the operator grants | [`Host::upstream`], [`Host::called`] |
//! | the clocks | stand still but for [`Host::advance`], [`Host::set_wall`] and [`crate::clock::sleep`] |
//! | random bytes | of [`Host::seed`], the same in every run |
//! | the key-value space | one for each name ([`Host::named`]), shared by all plugins that were loaded under it |
//! | log and metrics | [`Host::logged`], [`Host::counter`], [`Host::gauge`], [`Host::observed`] |
//! | the operator's limits | [`Host::limit`] |
//! | `on-failure: open` | [`Loaded::fail_open`] |
//!
//! Changes are refused, bodies are bounded and phases are left out as in the gateway. Deadlines, memory and concurrency
//! are not here: a plugin that needs to be tested against those is tested through a gateway.

mod exchange;
mod heads;
pub(crate) mod imports;
mod messages;
mod passing;
mod run;
mod scope;
mod space;
mod state;

use std::{rc::Rc, time::Duration};

pub use self::{
    exchange::{Exchange, Loaded},
    messages::{ClientRequest, Forwarded, Message, Received, UpstreamResponse},
    state::{Called, Limits, Logged},
};
pub use serde_json::{Value, json};

use self::{
    exchange::Visit,
    imports::http,
    scope::Scope,
    state::{MetricKind, State},
};
use crate::{LocalResponse, Plugin, Problem, Request, Response, result, upstream};

/// What a plugin runs in. Clones are the same host.
///
/// ```
/// use tidegate_guest::{kv, testing::Host};
///
/// let host = Host::new();
/// host.run(|| kv::set("seen", b"1", None)).unwrap();
/// assert!(host.run(|| kv::get("seen")).is_some());
/// assert!(Host::new().run(|| kv::get("seen")).is_none(), "another host, another gateway");
/// ```
#[derive(Clone, Debug)]
pub struct Host {
    state: Rc<State>,
    name: Rc<str>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A fresh one, whose middleware is called `plugin`. Its wall clock stands at 2026-01-01T00:00:00Z.
    ///
    /// ```
    /// # use tidegate_guest::testing::Host;
    /// let host = Host::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { state: Rc::default(), name: Rc::from("plugin") }
    }

    /// The same host, for a middleware of this name: attributes and key-value space are its own.
    ///
    /// ```
    /// # use tidegate_guest::{kv, testing::Host};
    /// let host = Host::new();
    /// host.named("auth").run(|| kv::set("seen", b"1", None)).unwrap();
    /// assert_eq!(host.named("limit").run(|| kv::get("seen")), None);
    /// ```
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { state: Rc::clone(&self.state), name: Rc::from(name) }
    }

    /// Makes a plugin of settings, as the gateway does when a configuration is loaded. Loaded again, it is another guest,
    /// or a newer configuration, over the same key-value space.
    ///
    /// # Errors
    /// What the plugin says is wrong with the settings.
    ///
    /// ```
    /// # use tidegate_guest::{Phases, Plugin, Problems, Result, testing::{Host, json}};
    /// # struct Named;
    /// # #[derive(serde::Deserialize)]
    /// # struct Settings { #[allow(dead_code)] name: String }
    /// # impl Plugin for Named {
    /// #     type Settings = Settings;
    /// #     fn new(_: Settings) -> Result<Self, Problems> { Ok(Self) }
    /// #     fn phases(&self) -> Phases { Phases::none() }
    /// # }
    /// let host = Host::new();
    /// assert!(host.load::<Named>(json!({ "name": "x" })).is_ok());
    /// assert_eq!(host.load::<Named>(json!({ "name": 5 })).unwrap_err()[0].pointer, "/name");
    /// ```
    pub fn load<P: Plugin>(&self, settings: Value) -> Result<Loaded<P>, Vec<Problem>> {
        let text = if settings.is_null() { "{}".to_owned() } else { settings.to_string() };
        let make = || result::settings(&text).and_then(P::new);
        let made = scope::enter(self.scope(None), make);
        match made {
            Ok(plugin) => Ok(Loaded::new(self.clone(), plugin)),
            Err(problems) => Err(problems.into_iter().collect()),
        }
    }

    /// Runs `code` as if a phase of an exchange did: everything that a plugin may call may be called.
    ///
    /// ```
    /// # use tidegate_guest::{random, testing::Host};
    /// assert_eq!(Host::new().run(|| random::bytes(4)).len(), 4);
    /// ```
    pub fn run<T>(&self, code: impl FnOnce() -> T) -> T {
        self.with_request(ClientRequest::get("/"), |_| code())
    }

    /// Runs `code` as `on_request` of an exchange that begins with this request.
    ///
    /// ```
    /// # use tidegate_guest::testing::{ClientRequest, Host};
    /// Host::new().with_request(ClientRequest::get("/a"), |request| assert_eq!(request.path(), "/a"));
    /// ```
    pub fn with_request<T>(&self, request: ClientRequest, code: impl FnOnce(Request<'_>) -> T) -> T {
        let visit = Rc::new(Visit::new(&request));
        scope::enter(self.scope(Some(visit)), || code(Request(&http::Request)))
    }

    /// Runs `code` with a request and a response at hand, which no phase of a gateway does: for trying a helper.
    ///
    /// ```
    /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
    /// let heads = (ClientRequest::get("/a"), UpstreamResponse::new(204));
    /// Host::new().with_heads(heads, |request, response| {
    ///     assert_eq!((request.path().as_str(), response.status()), ("/a", 204));
    /// });
    /// ```
    pub fn with_heads<T>(
        &self,
        (request, response): (ClientRequest, UpstreamResponse),
        code: impl FnOnce(Request<'_>, Response<'_>) -> T,
    ) -> T {
        let visit = Rc::new(Visit::new(&request));
        visit.receive(&response);
        scope::enter(self.scope(Some(visit)), || code(Request(&http::Request), Response(&http::Response)))
    }

    /// Moves both clocks forward.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidegate_guest::{clock, testing::Host};
    /// let host = Host::new();
    /// let before = host.run(clock::wall);
    /// host.advance(Duration::from_secs(60));
    /// assert_eq!(host.run(clock::wall) - before, Duration::from_secs(60));
    /// ```
    pub fn advance(&self, time: Duration) {
        self.state.advance(time);
    }

    /// Sets the wall clock, backwards too, as an operator or a time server would; the monotonic one stays.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidegate_guest::{clock, testing::Host};
    /// let host = Host::new();
    /// host.set_wall(Duration::from_secs(5));
    /// assert_eq!(host.run(clock::wall).as_secs(), 5);
    /// ```
    pub fn set_wall(&self, since_epoch: Duration) {
        self.state.wall.set(since_epoch);
    }

    /// Begins another sequence of random bytes.
    ///
    /// ```
    /// # use tidegate_guest::{random, testing::Host};
    /// let host = Host::new();
    /// host.seed(7);
    /// let first = host.run(random::number);
    /// host.seed(7);
    /// assert_eq!(host.run(random::number), first);
    /// ```
    pub fn seed(&self, seed: u64) {
        self.state.random.set(seed);
    }

    /// Sets limits as an operator would, for what happens from now on.
    ///
    /// ```
    /// # use tidegate_guest::{Refused, exchange, testing::{Host, Limits}};
    /// let host = Host::new();
    /// host.limit(Limits { state_bytes_max: 4, ..Limits::default() });
    /// assert_eq!(host.run(|| exchange::keep(b"12345")), Err(Refused::TooLarge));
    /// ```
    pub fn limit(&self, limits: Limits) {
        self.state.limits.set(limits);
    }

    /// Grants an upstream and says how it answers from now on.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// let host = Host::new();
    /// host.upstream("directory", |called| match called.target.as_str() {
    ///     "/up" => Ok(LocalResponse::new(200).text("jane")),
    ///     _ => Err(upstream::Error::Failed("upstream_timeout".into())),
    /// });
    /// assert_eq!(host.run(|| Call::get("/up").send("directory")).unwrap().body, b"jane");
    /// assert!(host.run(|| Call::get("/down").send("directory")).is_err());
    /// ```
    pub fn upstream(
        &self,
        name: &str,
        script: impl FnMut(&Called) -> Result<LocalResponse, upstream::Error> + 'static,
    ) {
        self.state.grant(name, Box::new(script));
    }

    /// The calls that reached upstreams so far.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::Call};
    /// let host = Host::new();
    /// host.upstream("directory", |_| Ok(LocalResponse::new(200)));
    /// host.run(|| Call::get("/users/7").field("accept", "*/*").send("directory")).unwrap();
    /// assert_eq!((host.called()[0].target.as_str(), host.called()[0].header("accept")), ("/users/7", Some("*/*")));
    /// ```
    #[must_use]
    pub fn called(&self) -> Vec<Called> {
        self.state.called.borrow().clone()
    }

    /// What was logged so far.
    ///
    /// ```
    /// # use tidegate_guest::{log, testing::Host};
    /// let host = Host::new();
    /// host.run(|| log::info("two keys were fetched"));
    /// assert_eq!(host.logged()[0].message, "two keys were fetched");
    /// ```
    #[must_use]
    pub fn logged(&self) -> Vec<Logged> {
        self.state.logged.borrow().clone()
    }

    /// A counter's sum; 0 where there is none of this name.
    ///
    /// ```
    /// # use tidegate_guest::testing::Host;
    /// assert_eq!(Host::new().counter("refused"), 0);
    /// ```
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let values = self.state.values(&self.name, MetricKind::Counter, name);
        values.iter().map(|value| value.unsigned_abs()).sum()
    }

    /// What a gauge was set to last.
    ///
    /// ```
    /// # use tidegate_guest::testing::Host;
    /// assert_eq!(Host::new().gauge("keys"), None);
    /// ```
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<i64> {
        self.state.values(&self.name, MetricKind::Gauge, name).last().copied()
    }

    /// The values that a histogram recorded, in order.
    ///
    /// ```
    /// # use tidegate_guest::testing::Host;
    /// assert!(Host::new().observed("token_bytes").is_empty());
    /// ```
    #[must_use]
    pub fn observed(&self, name: &str) -> Vec<u64> {
        let values = self.state.values(&self.name, MetricKind::Histogram, name);
        values.iter().map(|value| value.unsigned_abs()).collect()
    }

    fn scope(&self, visit: Option<Rc<Visit>>) -> Scope {
        Scope { state: Rc::clone(&self.state), name: Rc::clone(&self.name), visit }
    }

    fn limits(&self) -> Limits {
        self.state.limits.get()
    }
}

/// Checks, for [`crate::export!`], that a type is a plugin.
#[doc(hidden)]
pub const fn is_plugin<P: Plugin>() {}
