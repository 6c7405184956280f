//! Routes: what they match and where they lead. Knows nothing of how requests are matched.

use std::time::Duration;

use http::Method;
use serde::Serialize;

use super::{FromTable, Name, RouteTerms, method};

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
    /// How requests are tried, where it is not as the upstream says.
    pub terms: RouteTerms,
    /// Of the request body, instead of the listener's limit.
    pub body_bytes_max: Option<u64>,
    /// The table that yielded it; `None` for a route of a document.
    pub table: Option<FromTable>,
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
    /// Where its share leads.
    pub to: Destination,
    /// Its share; 0 takes none. All 0: 500, as the Gateway API has it.
    pub weight: u32,
    /// Its steps, inside the route's.
    pub middleware: Vec<Name>,
}

/// Where a target's share leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Destination {
    /// An upstream of [`super::Spec::upstreams`].
    Upstream(Name),
    /// Nowhere: what was meant does not exist (Gateway API: an invalid `backendRef`), or its steps answer.
    Nowhere {
        /// 500 or 503.
        status: u16,
        /// What the log says.
        because: String,
    },
}

impl Target {
    /// An upstream, with the share 1.
    pub fn of(upstream: Name) -> Self {
        Self { to: Destination::Upstream(upstream), weight: 1, middleware: Vec::new() }
    }

    /// The upstream that it leads to, if it leads to one.
    pub fn upstream(&self) -> Option<&Name> {
        match &self.to {
            Destination::Upstream(name) => Some(name),
            Destination::Nowhere { .. } => None,
        }
    }
}

impl HostPattern {
    /// What it says of a host; `None` where that is nothing: a wildcard without a suffix is any host.
    pub(crate) fn named(&self) -> Option<&Self> {
        match self {
            Self::Wildcard(suffix) if suffix.is_empty() => None,
            host => Some(host),
        }
    }
}
