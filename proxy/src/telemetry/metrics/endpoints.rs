//! What metrics and admin show of the endpoints of an upstream: asked of the upstream when somebody looks, since it
//! knows. Knows no upstream.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use super::{Metrics, render::Page};
use crate::telemetry::names;

/// Whoever knows the endpoints.
pub trait Endpoints: Send + Sync {
    /// Whether too few are healthy, so that all are used.
    fn panics(&self) -> bool;

    /// All of them, as they are now.
    fn samples(&self) -> Vec<EndpointSample>;
}

/// An endpoint, as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointSample {
    /// `host:port`.
    pub address: Arc<str>,
    /// The name that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// `healthy`, `starting`, `unhealthy`, `ejected` or `unreachable`.
    pub state: &'static str,
    /// The part of the upstream's requests that it is to take now, from 0 to 1.
    pub share: f64,
    /// As configured, or as its SRV record says.
    pub weight: u32,
    /// As configured, or as its SRV record says.
    pub priority: u16,
    /// Whether it is in the gateway's own zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
    /// Exchanges under way.
    pub in_flight: u64,
    /// Open connections.
    pub connections: usize,
    /// What the next ejection counts from.
    pub ejections: u32,
    /// How much of its ejection is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
    /// What its last health check found wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The endpoints of an upstream, and how often one was ejected.
#[derive(Default)]
pub struct EndpointSeries {
    shown: Mutex<Option<Weak<dyn Endpoints>>>,
    ejections: [AtomicU64; EjectionCause::ALL.len()],
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectionCause {
    /// Failures and 5xx in a row.
    ConsecutiveErrors,
    /// Failures, 502, 503 and 504 in a row.
    ConsecutiveGatewayErrors,
    /// It succeeded much less often than the others.
    SuccessRate,
}

impl EjectionCause {
    /// All of them, each at the position that `as usize` gives.
    pub const ALL: [Self; 3] = [Self::ConsecutiveErrors, Self::ConsecutiveGatewayErrors, Self::SuccessRate];

    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConsecutiveErrors => "consecutive_errors",
            Self::ConsecutiveGatewayErrors => "consecutive_gateway_errors",
            Self::SuccessRate => "success_rate",
        }
    }
}

impl EndpointSeries {
    /// Says who knows the endpoints now.
    pub fn show(&self, endpoints: &Arc<dyn Endpoints>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(endpoints));
    }

    /// Counts an ejection.
    pub fn ejected(&self, cause: EjectionCause) {
        self.ejections[cause as usize].fetch_add(1, Relaxed);
    }

    fn now(&self) -> Option<Arc<dyn Endpoints>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade)
    }
}

impl std::fmt::Debug for EndpointSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EndpointSeries({:?})", self.ejections)
    }
}

/// An upstream with its endpoints, as operators see it.
#[derive(Debug, Serialize)]
pub struct UpstreamSample {
    /// Its name.
    pub name: Box<str>,
    /// Whether too few endpoints are healthy, so that all are used.
    pub panics: bool,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSample>,
}

/// All upstreams that stand.
pub(super) fn samples(metrics: &Metrics) -> Vec<UpstreamSample> {
    let each = metrics.upstreams.all().into_iter().filter_map(|(name, series)| {
        let now = series.endpoints.now()?;
        Some(UpstreamSample { name, panics: now.panics(), endpoints: now.samples() })
    });
    each.collect()
}

/// The families of endpoints.
pub(super) fn families(metrics: &Metrics, page: &mut Page) {
    let all = samples(metrics);
    page.family(names::UPSTREAM_ENDPOINTS, |to| {
        for upstream in &all {
            for (label, states) in STATES {
                let count = upstream.endpoints.iter().filter(|one| states.contains(&one.state)).count();
                to.sample(&[&upstream.name, label], count);
            }
        }
    });
    page.family(names::UPSTREAM_PANICS, |to| {
        all.iter().for_each(|upstream| to.sample(&[&upstream.name], u8::from(upstream.panics)));
    });
    page.family(names::UPSTREAM_EJECTIONS, |to| {
        for (name, series) in metrics.upstreams.all() {
            for cause in EjectionCause::ALL {
                let count = series.endpoints.ejections[cause as usize].load(Relaxed);
                if count > 0 {
                    to.sample(&[&name, cause.name()], count);
                }
            }
        }
    });
}

const STATES: [(&str, &[&str]); 3] =
    [("healthy", &["healthy", "starting", "unreachable"]), ("unhealthy", &["unhealthy"]), ("ejected", &["ejected"])];
