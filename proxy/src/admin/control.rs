//! What the admin endpoints need of a gateway: the seam behind which the reload loop stands. Holds the question and
//! the answer of `explain`. Knows no HTTP server.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Uri};
use serde::Serialize;

use crate::{
    config::diagnostic::{Diagnostic, Place},
    reload::status::{Attempt, Status, Trigger},
    source::Tree,
    telemetry::UpstreamSample,
};

/// A running gateway, as its operator handles it.
pub trait Control: Send + Sync + 'static {
    /// The state that serves, and the last attempt to change it.
    fn status(&self) -> Status;

    /// Loads what the sources hold, and answers when every worker serves it, or when it is refused. A dry run stops
    /// before the swap.
    fn reload(&self, trigger: Trigger, dry_run: bool) -> BoxFuture<'_, Attempt>;

    /// Whether `tree` would be taken: everything that is wrong with it, modules included. Changes nothing.
    fn check(&self, tree: Tree) -> BoxFuture<'_, Vec<Diagnostic>>;

    /// The configuration that serves, as YAML, secrets as `***`; with `explain`, each part says where it is defined.
    fn config(&self, explain: bool) -> String;

    /// What would happen to a request.
    ///
    /// # Errors
    /// In words, where the question names no listener that there is, or is not a request.
    fn explain<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Explanation, String>>;

    /// Whether requests may be sent here; if not, why not. Answers with what is not as it should be all the same.
    ///
    /// # Errors
    /// The reason, for a person.
    fn ready(&self) -> Result<Vec<String>, String>;

    /// The upstreams that stand, with how their endpoints are now.
    fn upstreams(&self) -> Vec<UpstreamSample>;

    /// Prometheus text.
    fn metrics(&self) -> String;
}

/// A request that is not sent but asked about.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its method.
    pub method: Method,
    /// Path and query; scheme and host where they are known.
    pub url: Uri,
    /// Its fields, without `Host` unless asked with one.
    pub headers: HeaderMap,
    /// The listener that it arrives at; the one on the URL's port where `None`, or else the first.
    pub listener: Option<String>,
}

/// What would happen to a request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explanation {
    /// The generation that was asked.
    pub generation: u64,
    /// The listener.
    pub listener: String,
    /// The host that is matched.
    pub host: String,
    /// The path that is matched, normalised.
    pub path: String,
    /// The route; `None` where none matches.
    pub route: Option<String>,
    /// The table that the route is of, where it is one of a table's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Where the route is defined; of a table's, where the table is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defined: Option<Place>,
    /// The conditions of the route that hold, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The steps in the order in which a request meets them.
    pub middleware: Vec<ExplainedStep>,
    /// Where the route leads, by weight.
    pub targets: Vec<ExplainedTarget>,
    /// Of the whole exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What else there is to know (`answered with 404`, `a plugin may answer before the upstream`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One step of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedStep {
    /// The middleware's name.
    pub name: String,
    /// What it is (`plugin plugins/jwt.wasm`, `headers`, `redirect`).
    pub kind: String,
    /// Whose list it stands in: `gateway`, `listener` or `route`.
    pub from: &'static str,
    /// Where it is defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defined: Option<Place>,
}

/// One target of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedTarget {
    /// The upstream's name.
    pub upstream: String,
    /// Its share.
    pub weight: u32,
    /// Its endpoints.
    pub endpoints: Vec<String>,
}
