//! A checked configuration: every name resolved to something that exists, every default filled in, every pattern
//! valid. What `compile` builds from. Holds no YAML and nothing that runs.

use std::{collections::BTreeMap, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{diagnostic::Place, render::Origins};
use crate::identity::Identity;

/// A checked part with its identity (over `value` alone) and the place that defines it.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// Equal content, equal identity, whatever file or line it stands in.
    pub identity: Identity,
    /// Where it is defined.
    pub place: Place,
    /// The checked value.
    pub value: T,
}

impl<T: Serialize> Part<T> {
    /// A part with its identity computed.
    pub fn new(place: Place, value: T) -> Self {
        Self { identity: Identity::of(&value), place, value }
    }
}

impl<T> Deref for Part<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Names of listeners, upstreams, middleware, routes.
pub type Name = Arc<str>;

/// A whole checked configuration.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Settings of the process and gateway-wide ones.
    pub gateway: Gateway,
    /// By name.
    pub listeners: BTreeMap<Name, Arc<Part<Listener>>>,
    /// By name; those that routes name in place (`target:`) are called after their address.
    pub upstreams: BTreeMap<Name, Arc<Part<Upstream>>>,
    /// By name; inline definitions are called `<route id>/<position>`, from 1.
    pub middleware: BTreeMap<Name, Arc<Part<Middleware>>>,
    /// In order of precedence where nothing else decides: layer, then document path, then position.
    pub routes: Vec<Arc<Part<Route>>>,
    /// Where all of it was written, for [`super::render::yaml`].
    pub origins: Origins,
}

/// Gateway-wide settings. Those of the process need a restart; the rest is applied by a reload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gateway {
    /// Steps around every exchange, outermost.
    pub middleware: Vec<Name>,
    /// How long an old generation may be held before its exchanges are ended; `None` is for ever.
    pub generation_age_max: Option<Duration>,
    /// How long shutdown waits for exchanges and tunnels.
    pub shutdown_deadline: Duration,
    /// The access log.
    pub access_log: AccessLog,
    /// Settings of the process.
    pub process: Process,
}

/// Settings that only a restart changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Process {
    /// `None`: one a core.
    pub workers: Option<usize>,
    /// The admin address.
    pub admin: Option<SocketAddr>,
    /// The admin Unix socket.
    pub admin_socket: Option<String>,
    /// Whether verbs that change something are allowed from loopback without a token.
    pub admin_trust_loopback: Option<bool>,
    /// The bearer token of the admin endpoint; already resolved. Never serialised.
    #[serde(skip)]
    pub admin_token: Option<Secret>,
    /// How many guests the process has slots for.
    pub guest_slots: Option<u32>,
}

/// A secret: printed as `***`, wherever it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where and how exchanges are logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// `None` is off.
    pub to: Option<LogTarget>,
    /// Field names in order; all of them where empty. See `docs/configuration.md`.
    pub format: LogFormat,
    /// How many lines may wait for the writer before further ones are dropped and counted.
    pub queue_lines_max: usize,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; opened anew on `USR1`.
    File(String),
}

/// The form of an access-log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogFormat {
    /// One JSON object a line with every field.
    Json,
    /// One JSON object a line with these fields.
    JsonFields(Vec<String>),
    /// A template, `%{field}` replaced.
    Text(String),
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            middleware: Vec::new(),
            generation_age_max: None,
            shutdown_deadline: Duration::from_secs(30),
            access_log: AccessLog { to: None, format: LogFormat::Json, queue_lines_max: 8192 },
            process: Process::default(),
        }
    }
}

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Steps around every exchange of this listener, inside the gateway's.
    pub middleware: Vec<Name>,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether responses carry `tidegate-generation`.
    pub generation_header: bool,
    /// How paths are normalised.
    pub path: PathPolicy,
    /// Limits and timeouts.
    pub limits: Limits,
}

/// How a request path is normalised before it is routed; what is routed is what is forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathPolicy {
    /// `.` and `..` segments, plain or percent-encoded.
    pub dot_segments: Treatment,
    /// Empty segments (`//`).
    pub empty_segments: Treatment,
    /// `%2f` and `%5c`, and a bare backslash.
    pub encoded_slashes: Treatment,
    /// `%00` and other encoded control characters.
    pub encoded_controls: Treatment,
}

/// What to do with a suspicious piece of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Treatment {
    /// Resolve, merge or decode it, route and forward the result.
    Normalize,
    /// Answer 400.
    Reject,
    /// Leave it as it is.
    Keep,
}

/// Limits and timeouts of a listener; every one of them holds for each connection or exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Open connections of this listener, in the whole process.
    pub connections_max: usize,
    /// Request line and header fields. Over it: 431.
    pub head_bytes_max: usize,
    /// Fields in a request. Over it: 431.
    pub headers_max: usize,
    /// The request target. Over it: 414.
    pub uri_bytes_max: usize,
    /// Request body; `None` is unlimited. Over it: 413.
    pub body_bytes_max: Option<u64>,
    /// From the first byte of a head to its last; over it: 408.
    pub head_timeout: Duration,
    /// Between two reads of a request body; over it: 408.
    pub body_idle_timeout: Duration,
    /// Between two writes that the client takes; over it the connection is closed.
    pub write_idle_timeout: Duration,
    /// Between two requests on a connection.
    pub keep_alive_timeout: Duration,
    /// Requests on one connection before it is closed after a response; `None` is unlimited.
    pub requests_per_connection_max: Option<u64>,
    /// Without a byte in either direction of a tunnel.
    pub tunnel_idle_timeout: Duration,
    /// HTTP/2 streams open at a time on one connection.
    pub streams_max: u32,
    /// HTTP/2 streams that a client may reset in a row of 30 s, beyond those that ended, before the connection is
    /// closed (rapid reset).
    pub resets_max: u32,
    /// HTTP/2 control frames (PING, SETTINGS, PRIORITY, empty DATA, CONTINUATION) in 10 s before the connection is
    /// closed.
    pub control_frames_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            head_bytes_max: 64 * 1024,
            headers_max: 100,
            uri_bytes_max: 16 * 1024,
            body_bytes_max: None,
            head_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(60),
            write_idle_timeout: Duration::from_secs(60),
            keep_alive_timeout: Duration::from_secs(75),
            requests_per_connection_max: None,
            tunnel_idle_timeout: Duration::from_secs(3600),
            streams_max: 128,
            resets_max: 200,
            control_frames_max: 1000,
        }
    }
}

impl Default for PathPolicy {
    fn default() -> Self {
        Self {
            dot_segments: Treatment::Normalize,
            empty_segments: Treatment::Normalize,
            encoded_slashes: Treatment::Reject,
            encoded_controls: Treatment::Reject,
        }
    }
}

/// A set of endpoints that serve the same thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upstream {
    /// In the order written.
    pub endpoints: Vec<Endpoint>,
    /// How one is chosen.
    pub balance: Balance,
    /// Active health checks.
    pub health_check: Option<HealthCheck>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// From the request sent to the response head.
    pub response_timeout: Duration,
    /// Between two reads of a response body.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept to each endpoint, in the whole process.
    pub pool_idle_max: usize,
    /// Open connections to each endpoint, in the whole process. Over it: 503.
    pub connections_max: usize,
    /// Response head. Over it: 502.
    pub response_head_bytes_max: usize,
    /// Whether the client's `Host` is passed on (otherwise the endpoint's address is sent).
    pub preserve_host: bool,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// `host:port`, the host an address or a DNS name.
    pub address: String,
    /// 0 takes none.
    pub weight: u32,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Balance {
    /// Each in turn, by weight.
    RoundRobin,
    /// The less busy of two at random.
    LeastRequest,
}

/// An active health check over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthCheck {
    /// What is asked for with GET.
    pub path: String,
    /// Between two checks.
    pub interval: Duration,
    /// Until an answer.
    pub timeout: Duration,
    /// Failures in a row until it is unhealthy.
    pub unhealthy_after: u32,
    /// Successes in a row until it is healthy again.
    pub healthy_after: u32,
}

/// A named, configured step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Middleware {
    /// A Wasm module with a configuration.
    Plugin(Plugin),
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
    /// Other middleware, in this order: a named chain.
    Chain(Vec<Name>),
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
    /// Path of the module in the tree, from the source's root.
    pub module: Arc<str>,
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
    /// Whether each exchange gets a fresh guest.
    pub isolation: Isolation,
}

/// Capabilities of a plugin; none unless granted. Clock, random bytes, log, metrics and its own key-value space are
/// always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Upstreams that it may call.
    pub upstreams: Vec<Name>,
}

/// Bounds of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginLimits {
    /// Linear memory of one guest.
    pub memory_bytes_max: usize,
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
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 32 << 20,
            call_timeout: Duration::from_millis(500),
            exchange_timeout: Duration::from_secs(5),
            guests_max: 1024,
            buffer_bytes_max: 1 << 20,
            state_bytes_max: 64 << 10,
            kv_bytes_max: 16 << 20,
            log_bytes_max: 8 << 10,
            calls_max: 16,
            call_bytes_max: 4 << 20,
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

/// A route: what it matches, what happens on the way, where it leads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// Unique in the configuration.
    pub id: Name,
    /// Listeners that serve it; all of them where empty.
    pub listeners: Vec<Name>,
    /// Hosts; any where empty.
    pub hosts: Vec<HostPattern>,
    /// Any of these; never empty.
    pub matches: Vec<Match>,
    /// Its steps, inside the listener's.
    pub middleware: Vec<Name>,
    /// Where it leads, by weight. Empty only where a step always answers.
    pub targets: Vec<Target>,
    /// Of the whole exchange, to the response's last byte; `None` is unlimited.
    pub timeout: Option<Duration>,
    /// Of the request body, instead of the listener's limit.
    pub body_bytes_max: Option<u64>,
}

/// A host pattern (Gateway API `Hostname`), lower-case, without port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum HostPattern {
    /// `api.example.com`.
    Exact(String),
    /// `*.example.com`: this suffix (`example.com`) and at least one label before it.
    Wildcard(String),
}

/// One way to match: all of its conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Match {
    /// The path.
    pub path: PathPattern,
    /// The method; any where `None`.
    #[serde(serialize_with = "method")]
    pub method: Option<Method>,
    /// Header fields, all of them; names are unique.
    pub headers: Vec<FieldMatch>,
    /// Query parameters, all of them; names are unique.
    pub query: Vec<FieldMatch>,
}

/// What one regular expression may take once it is compiled (`regex::RegexBuilder::size_limit`), as
/// `^(?:` pattern `)$`.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// A path pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// This path and what is below it, by whole segments; without trailing slash but for `/`.
    Prefix(String),
    /// Segments, `{name}` standing for any one.
    Template(String),
    /// A regular expression over the whole path; valid, and within the size limit.
    Regex(String),
}

/// A condition on a header field or query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct FieldMatch {
    /// Header names are lower-case; query names are compared as they are.
    pub name: String,
    /// What its value must be.
    pub value: ValuePattern,
}

/// A pattern for a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ValuePattern {
    /// This value.
    Exact(String),
    /// A regular expression over the whole value; valid, and within the size limit.
    Regex(String),
}

/// One of a route's targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// An upstream of [`Spec::upstreams`].
    pub upstream: Name,
    /// Its share; 0 takes none. All 0: 500, as the Gateway API has it.
    pub weight: u32,
}

fn strings<S: Serializer>(names: &[HeaderName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(HeaderName::as_str))
}

fn fields<S: Serializer>(fields: &[(HeaderName, HeaderValue)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

fn status<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

fn method<S: Serializer>(method: &Option<Method>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(method.as_ref().map_or("*", Method::as_str))
}
