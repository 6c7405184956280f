//! Which exchanges are traced: by the flag of their parent, or by a share of all that their trace's id decides. Two
//! gateways with the same share decide alike. Knows no spans.

use crate::{config::spec::Sample, exchange::TraceContext};

/// Decides.
#[derive(Debug)]
pub(super) struct Sampler {
    follow_parent: bool,
    // Of the 2^56 values that the random part of a trace id has, those from here on are traced: the rule of consistent
    // probability sampling (OpenTelemetry), over the part that W3C Trace Context level 2 says is random.
    threshold: u64,
}

const RANDOM_BITS: u32 = 56;

impl Sampler {
    pub(super) fn new(spec: &Sample) -> Self {
        let left_out = (1.0 - spec.ratio) * (1_u64 << RANDOM_BITS) as f64;
        Self { follow_parent: spec.follow_parent, threshold: left_out as u64 }
    }

    #[inline]
    pub(super) fn samples(&self, trace: &TraceContext) -> bool {
        if self.follow_parent && trace.parent_id.is_some() {
            return trace.sampled;
        }
        let random = trace.trace_id as u64 & ((1 << RANDOM_BITS) - 1);
        random >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::exchange::trace::Ids;

    fn sampler(ratio: f64) -> Sampler {
        Sampler::new(&Sample { ratio, follow_parent: true })
    }

    #[test]
    fn the_edges_are_exact_and_between_them_it_is_a_share() {
        let ids = Ids::default();
        let traces: Vec<_> = (0..20_000).map(|_| ids.continue_from(&HeaderMap::new())).collect();
        let count = |ratio| traces.iter().filter(|trace| sampler(ratio).samples(trace)).count();
        assert_eq!((count(0.0), count(1.0)), (0, traces.len()));
        let fifth = count(0.2);
        assert!((3_700..4_300).contains(&fifth), "{fifth} of 20000");
        let extremes = [0, u128::MAX].map(|trace_id| TraceContext { trace_id, ..traces[0] });
        assert!(extremes.iter().all(|trace| !sampler(0.0).samples(trace) && sampler(1.0).samples(trace)));
        assert!(traces.iter().all(|trace| !sampler(0.1).samples(trace) || sampler(0.2).samples(trace)));
    }

    #[test]
    fn a_parent_decides_where_it_is_followed() {
        let mut trace = Ids::default().continue_from(&HeaderMap::new());
        trace.parent_id = Some(1);
        for sampled in [false, true] {
            trace.sampled = sampled;
            assert_eq!(sampler(if sampled { 0.0 } else { 1.0 }).samples(&trace), sampled);
            let ignoring = Sampler::new(&Sample { ratio: 1.0, follow_parent: false });
            assert!(ignoring.samples(&trace));
        }
    }
}
