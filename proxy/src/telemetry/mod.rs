//! What the gateway tells of itself: metrics, the access log, the process log, and their names. Counts per worker,
//! sums when read; nothing here takes a lock or a locked instruction on the request path.

pub mod access;
mod clock;
pub mod log;
pub mod metrics;
pub mod names;
pub mod trace;

pub use clock::Timestamp;
pub use metrics::{
    CacheOutcome, CacheSeries, EjectionCause, EndpointSample, Endpoints, GateOutcome, GateSeries, HedgeOutcome,
    ListenerSeries, Loaded, Metrics, MirrorOutcome, MirrorSeries, PluginSeries, ProxyOutcome, RetryReason, RouteSeries,
    SourceSample, SpanLoss, TraceSeries, UpstreamSample, UpstreamSeries, Withheld,
};
