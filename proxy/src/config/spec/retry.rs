//! How a request is tried, configured: again, in parallel, for how long. Knows nothing of requests.

use std::time::Duration;

use http::Method;
use serde::{Serialize, Serializer};

/// When a request is sent again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retry {
    /// On what.
    pub on: Conditions,
    /// How often, beside the first time.
    pub attempts: u32,
    /// The most that is waited before the first retry; doubled with each.
    pub base: Duration,
    /// The most that is waited before any.
    pub max: Duration,
    /// A longer `Retry-After` than this is not waited for.
    pub retry_after_max: Duration,
    /// How many there may be beside ordinary requests.
    pub budget: Budget,
    /// What may be sent again after it may have reached an endpoint.
    pub methods: Methods,
    /// How much of a streamed body is kept.
    pub body_bytes_max: usize,
}

/// What may go wrong with a try, chosen from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conditions {
    /// No connection, in time or at all.
    pub connect_failure: bool,
    /// Refused unprocessed.
    pub refused_stream: bool,
    /// The connection ended before a whole head, or what came is not HTTP.
    pub reset: bool,
    /// No head in time.
    pub timeout: bool,
    /// Answers with these statuses, ascending.
    pub statuses: Vec<u16>,
    /// Answers of gRPC that are a status and nothing else, with one of these.
    pub calls: Vec<CallStatus>,
}

/// A status of gRPC after which a call may be made again, as Envoy names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum CallStatus {
    /// 1
    Cancelled,
    /// 4
    DeadlineExceeded,
    /// 8
    ResourceExhausted,
    /// 13
    Internal,
    /// 14
    Unavailable,
}

impl CallStatus {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Cancelled, Self::DeadlineExceeded, Self::ResourceExhausted, Self::Internal, Self::Unavailable];

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// As it is sent.
    pub const fn code(self) -> u16 {
        match self {
            Self::Cancelled => 1,
            Self::DeadlineExceeded => 4,
            Self::ResourceExhausted => 8,
            Self::Internal => 13,
            Self::Unavailable => 14,
        }
    }
}

/// Methods, chosen from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Methods {
    /// Those of RFC 9110 section 9.2.2.
    Idempotent,
    /// Every one.
    All,
    /// These.
    Listed(#[serde(serialize_with = "names")] Vec<Method>),
}

/// A share of the requests, and so many a second beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// For a hundred requests.
    pub percent: u32,
    /// However few requests there are.
    pub per_second_min: u32,
}

/// Further tries where the first is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hedge {
    /// How long an answer is waited for.
    pub after: Duration,
    /// Tries under way at once.
    pub requests_max: u32,
    /// How many there may be beside ordinary requests.
    pub budget: Budget,
}

/// What a route says of its tries in place of what its upstream says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RouteTerms {
    /// Until a response head.
    pub response_timeout: Option<Duration>,
    /// Between two reads of a response body.
    pub idle_timeout: Option<Duration>,
    /// Of one try, to the last byte of its response; `Some(None)` is unlimited.
    pub try_timeout: Option<Option<Duration>>,
    /// When a request is sent again.
    pub retry: Option<Retry>,
    /// Further tries where the first is slow.
    pub hedge: Option<Hedge>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            on: Conditions {
                connect_failure: true,
                refused_stream: true,
                reset: true,
                timeout: true,
                statuses: vec![502, 503, 504],
                calls: Vec::new(),
            },
            attempts: 2,
            base: Duration::from_millis(25),
            max: Duration::from_millis(250),
            retry_after_max: Duration::from_secs(2),
            budget: Budget::default(),
            methods: Methods::Idempotent,
            body_bytes_max: 64 << 10,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { percent: 20, per_second_min: 10 }
    }
}

impl Methods {
    /// Whether a request with `method` may have its effect twice.
    pub fn allow(&self, method: &Method) -> bool {
        match self {
            Self::Idempotent => method.is_idempotent(),
            Self::All => true,
            Self::Listed(listed) => listed.contains(method),
        }
    }
}

fn names<S: Serializer>(methods: &[Method], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(methods.iter().map(Method::as_str))
}
