//! Traces: what is sampled and where spans go. Knows nothing of spans.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Serialize;

use super::{UpstreamTls, fields};

/// Traces of the gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tracing {
    /// Which exchanges are traced.
    pub sample: Sample,
    /// What becomes of their spans: equal, the same exporter.
    pub export: Export,
}

/// Which exchanges are traced.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// The share of those whose parent does not decide, 0 to 1.
    pub ratio: f64,
    /// Whether the flag of a client's `traceparent` decides.
    pub follow_parent: bool,
}

/// Where spans go, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Export {
    /// The collector.
    pub otlp: Otlp,
    /// What is said of the gateway, `service.name` first.
    pub resource: Vec<(String, String)>,
    /// How many spans may wait, in the whole process.
    pub queue_spans_max: usize,
    /// How many are sent at a time.
    pub batch_spans_max: usize,
    /// How long one waits for a batch to fill.
    pub schedule_delay: Duration,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Otlp {
    /// Whether it is gRPC, and not HTTP/1.1.
    pub grpc: bool,
    /// Without port and brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path that batches are posted to.
    pub path: String,
    /// The URL, as it was written.
    pub endpoint: String,
    /// Sent with every batch.
    #[serde(serialize_with = "fields")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long a batch may take.
    pub timeout: Duration,
    /// TLS, where the URL asks for it.
    pub tls: Option<UpstreamTls>,
}
