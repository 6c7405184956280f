//! The `tracing` setting of the gateway. Knows nothing of spans.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Entries, Field, Period, Text, UpstreamTls};

/// Traces: which exchanges are traced, and where their spans go (OTLP). Off where this is not given; trace context is
/// passed on all the same.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Tracing {
    /// The collector. Required.
    pub(crate) otlp: Field<Otlp>,
    /// Which exchanges are traced.
    pub(crate) sample: Field<Sample>,
    /// What the gateway is called in traces (`service.name`).
    #[schemars(extend("x-default" = "tidegate"))]
    pub(crate) service_name: Field<String>,
    /// What else is said of the gateway with every batch, such as `deployment.environment.name`.
    pub(crate) resource_attributes: Field<Entries<Text>>,
    /// How many spans may wait for the collector, in the whole process. Beyond it the spans of an exchange are dropped
    /// and counted.
    #[schemars(extend("x-default" = "8192"))]
    pub(crate) queue_spans_max: Field<Count>,
    /// How many spans are sent at a time.
    #[schemars(extend("x-default" = "512"))]
    pub(crate) batch_spans_max: Field<Count>,
    /// How long a span waits at most for a batch to fill.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) schedule_delay: Field<Period>,
}

/// A collector of traces that speaks OTLP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Otlp {
    /// Its URL, such as `http://collector:4317`; with `https` over TLS. For `http/protobuf`, `/v1/traces` is added to
    /// the path. Required.
    pub(crate) endpoint: Field<String>,
    /// `grpc`, or `http/protobuf`.
    #[schemars(extend("x-default" = "grpc"))]
    pub(crate) protocol: Field<OtlpProtocol>,
    /// Fields sent with every batch, such as an `authorization`; values may name secrets.
    pub(crate) headers: Field<Entries<Text>>,
    /// How long a batch may take.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) timeout: Field<Period>,
    /// Whom to trust and what to show, where the URL is `https`.
    pub(crate) tls: Field<UpstreamTls>,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum OtlpProtocol {
    #[serde(rename = "grpc")]
    Grpc,
    #[serde(rename = "http/protobuf")]
    Http,
}

/// Which exchanges are traced.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Sample {
    /// The share of the exchanges, 0 to 1, where no parent decides. It is decided by the trace's id, so that gateways
    /// that sample the same share trace the same exchanges.
    #[schemars(extend("x-default" = "1"))]
    pub(crate) ratio: Field<f64>,
    /// What the `sampled` flag of a client's `traceparent` means: `follow`: it decides; `ignore`: the ratio does, for
    /// clients that are not trusted.
    #[schemars(extend("x-default" = "follow"))]
    pub(crate) parent: Field<SampleParent>,
}

/// What the flag of a client means.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum SampleParent {
    Follow,
    Ignore,
}
