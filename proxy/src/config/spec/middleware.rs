//! Middleware: the steps that ship and plugins, configured. Knows nothing of what they do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::{
    BasicAuth, Cache, Compress, Concurrency, Cors, Decompress, ForwardAuth, IpAccess, Maintenance, ModuleTerms, Name,
    RequestId, fields, status, strings,
};
use crate::{config::diagnostic::Place, identity::Identity};

/// A named, configured step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Middleware {
    /// A Wasm module with a configuration.
    Plugin(Box<Plugin>),
    /// Edits header fields.
    Headers {
        /// Of requests.
        request: HeaderEdits,
        /// Of responses.
        response: HeaderEdits,
    },
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Changes host or path of the request.
    Rewrite(Rewrite),
    /// Answers with something fixed.
    Respond(Respond),
    /// Sends a copy of the request elsewhere and ignores the answer.
    Mirror(Mirror),
    /// Cross-origin resource sharing.
    Cors(Cors),
    /// Lets clients pass, or not, by their address.
    IpAccess(IpAccess),
    /// Gives every exchange an id.
    RequestId(RequestId),
    /// HTTP basic authentication.
    BasicAuth(BasicAuth),
    /// Asks an upstream whether a request may pass.
    ForwardAuth(ForwardAuth),
    /// Shows a page in place of everything.
    Maintenance(Maintenance),
    /// Compresses responses.
    Compress(Compress),
    /// Decompresses requests.
    Decompress(Decompress),
    /// Bounds how many exchanges are under way at a time.
    Concurrency(Concurrency),
    /// Keeps responses and answers with them.
    Cache(Cache),
    /// Translates grpc-web to gRPC, and the answers back.
    GrpcWeb,
    /// Other middleware, in this order: a named chain.
    Chain(Vec<Name>),
}

impl Middleware {
    /// Whether it is sure or likely to answer by itself, so that a route with it needs no upstream; `None` for a chain,
    /// which depends on its steps.
    pub(crate) fn answers(&self) -> Option<bool> {
        match self {
            Self::Chain(_) => None,
            Self::Respond(_) | Self::Redirect(_) | Self::Plugin(_) => Some(true),
            Self::Maintenance(page) => Some(page.enabled && page.allow.is_empty()),
            _ => Some(false),
        }
    }
}

/// Changes to header fields, applied in the order remove, set, add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderEdits {
    /// Fields to remove.
    #[serde(serialize_with = "strings")]
    pub remove: Vec<HeaderName>,
    /// Fields to overwrite.
    #[serde(serialize_with = "fields")]
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields to add a value to.
    #[serde(serialize_with = "fields")]
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// A redirect (Gateway API `HTTPRequestRedirectFilter`): what is not given stays as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Without port.
    pub host: Option<String>,
    /// Where not given: the well-known port of the scheme if a scheme is given, else the listener's.
    pub port: Option<u16>,
    /// The new path.
    pub path: Option<PathEdit>,
    /// 301, 302, 303, 307 or 308.
    #[serde(serialize_with = "status")]
    pub status: StatusCode,
}

/// A rewrite (Gateway API `HTTPURLRewriteFilter`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// The new `Host`.
    pub host: Option<String>,
    /// The new path.
    pub path: Option<PathEdit>,
}

/// A change of path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathEdit {
    /// The whole path.
    Full(String),
    /// The prefix that the route matched.
    Prefix(String),
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Respond {
    /// Its status.
    #[serde(serialize_with = "status")]
    pub status: StatusCode,
    /// Its fields.
    #[serde(serialize_with = "fields")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body.
    pub body: String,
}

/// A copy of requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mirror {
    /// Where the copy goes.
    pub upstream: Name,
    /// Share of the exchanges that are copied, 0 to 100.
    pub percent: f64,
    /// Request bodies up to this size are copied; larger ones are not mirrored.
    pub body_bytes_max: usize,
}

/// A plugin: a module with a configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plugin {
    /// Path of the module in the tree, from the source's root; where it is fetched, its address with its hash.
    pub module: Arc<str>,
    /// How it comes to be there. What it has to be is in its name.
    #[serde(skip)]
    pub module_terms: ModuleTerms,
    /// Where `module` stands. Not content.
    #[serde(skip)]
    pub module_place: Option<Place>,
    /// What the plugin is configured with, as JSON.
    pub config: serde_json::Value,
    /// Where `config` stands, and each value in it, by JSON pointer (RFC 6901; `""` is the whole). Not content.
    #[serde(skip)]
    pub config_places: Arc<BTreeMap<String, Place>>,
    /// What it may do.
    pub grants: Grants,
    /// What it may use.
    pub limits: PluginLimits,
    /// What happens when it fails.
    pub on_failure: FailurePolicy,
    /// Whether the last version that worked takes its place where it is left alone for failing.
    pub fall_back: bool,
    /// Whether each exchange gets a fresh guest.
    pub isolation: Isolation,
    /// What only Proxy-Wasm modules are told.
    pub proxy_wasm: ProxyWasm,
    /// Environment variables of modules with WASI, by name.
    pub environment: Vec<(String, String)>,
}

/// Settings of a Proxy-Wasm plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProxyWasm {
    /// Which of a module's root contexts it is.
    pub root_id: String,
    /// What its VM is called; the middleware's name, if nothing.
    pub vm_id: Option<String>,
    /// What its VM is configured with, as JSON.
    pub vm_config: serde_json::Value,
    /// Environment variables, by name.
    pub environment: Vec<(String, String)>,
    /// Upstreams by the names that the module has for them, where those are others.
    pub clusters: Vec<(String, Name)>,
    /// Whether a head that pauses is held back alone, while its body is shown.
    pub allow_on_headers_stop_iteration: bool,
    /// Whether the route stays, whatever it changes of a request's head.
    pub keep_route: bool,
}

impl Plugin {
    /// What is the same for the same module with the same configuration under the same name.
    pub fn version(&self, name: &str, module: Identity) -> Identity {
        Identity::of_all([Identity::of_bytes(name.as_bytes()), module, Identity::of(&self.config)])
    }
}

/// Capabilities of a plugin; none unless granted. Clock, random bytes, log, metrics and its own key-value space are
/// always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Upstreams that it may call.
    pub upstreams: Vec<Name>,
    /// Upstreams made of authorities elsewhere, called `HOST:PORT` or `https://HOST:PORT`.
    pub hosts: Vec<Name>,
}

impl Grants {
    /// Every upstream that it may call.
    pub fn called(&self) -> impl Iterator<Item = &Name> {
        self.upstreams.iter().chain(&self.hosts)
    }
}

/// Bounds of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginLimits {
    /// Linear memory of one guest; by its interface, where nothing is said.
    pub memory_bytes_max: Option<usize>,
    /// Of one call into the guest, waiting included.
    pub call_timeout: Duration,
    /// Of all calls of one exchange, waiting included.
    pub exchange_timeout: Duration,
    /// Guests that may be busy or suspended at a time, in the whole process. Over it: the failure policy.
    pub guests_max: usize,
    /// A body that it wants buffered. Over it: 413 for requests, the failure policy for responses.
    pub buffer_bytes_max: usize,
    /// What it may keep from request to response.
    pub state_bytes_max: usize,
    /// Its key-value space: keys and values together.
    pub kv_bytes_max: usize,
    /// Bytes of one log message.
    pub log_bytes_max: usize,
    /// Calls to upstreams in one exchange.
    pub calls_max: u32,
    /// A response to such a call, head and body.
    pub call_bytes_max: usize,
    /// Failures in a row on a worker until it is left alone there.
    pub failures_max: u32,
    /// For how long.
    pub cool_down: Duration,
    /// Calls into one guest.
    pub guest_calls_max: Option<u64>,
    /// Linear memory over which a guest is not used again.
    pub guest_bytes_max: Option<usize>,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: None,
            call_timeout: Duration::from_millis(500),
            exchange_timeout: Duration::from_secs(5),
            guests_max: 1024,
            buffer_bytes_max: 1 << 20,
            state_bytes_max: 64 << 10,
            kv_bytes_max: 16 << 20,
            log_bytes_max: 8 << 10,
            calls_max: 16,
            call_bytes_max: 4 << 20,
            failures_max: 20,
            cool_down: Duration::from_secs(1),
            guest_calls_max: None,
            guest_bytes_max: None,
        }
    }
}

/// What happens to an exchange whose plugin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FailurePolicy {
    /// 503.
    Closed,
    /// The plugin is skipped.
    Open,
}

/// How guests are shared between exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Isolation {
    /// A guest serves one exchange after another.
    Reused,
    /// Each exchange gets a fresh one.
    PerRequest,
}
