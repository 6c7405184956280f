//! The tracer of a configuration: its sampler, and the exporter that there is for it already or a new one.

use std::sync::Arc;

use super::parts::Parts;
use crate::{
    config::{diagnostic::Diagnostic, spec::Tracing as Spec},
    identity::Identity,
    telemetry::trace::{Tracer, Tracing},
    tls::{Connector, SystemRoots},
};

/// Makes it; none where nothing is traced.
pub(super) fn build(
    tracing: &Tracing,
    parts: &mut Parts,
    spec: Option<&Spec>,
) -> Result<Option<Arc<Tracer>>, Vec<Diagnostic>> {
    let Some(spec) = spec else { return Ok(None) };
    let connector = match &spec.export.otlp.tls {
        None => None,
        Some(tls) => {
            let identity = Identity::of(tls);
            let Parts { system_roots, connectors, .. } = parts;
            let system = || system_roots.find_or_make(Identity::of_bytes(b"system"), || Arc::new(SystemRoots::load()));
            let found = connectors.find(identity);
            let made = found.map_or_else(|| Connector::build(tls, system).map(Arc::new), Ok)?;
            connectors.keep(identity, &made);
            Some(made)
        }
    };
    Ok(Some(tracing.tracer(spec, connector)))
}
