//! What is learned of members from how tries went: times, failures in a row, success rates; and who is ejected for it.
//! Knows no connections.

use std::{
    collections::HashMap,
    sync::{Arc, TryLockError},
    time::{Duration, Instant},
};

use http::{StatusCode, header, response};

use super::{Held, Moving, Roster, Turn, Went};
use crate::{
    config::spec::{Balance, Ejection, SuccessRate},
    error::Kind,
    state::Tally,
    telemetry::{EjectionCause, UpstreamSeries},
};

impl Turn<'_> {
    /// Says how a try that had a connection went, once for each: it began at `since`, and the head of its answer came or
    /// it failed just now. What is nobody's fault, as a try that was given up because another one was faster, is not told.
    #[inline]
    pub(in crate::upstream) fn learn(&self, position: usize, went: Went<'_>, since: Instant) {
        let spec = &self.means.spec;
        if matches!(went, Err(kind) if !is_endpoints(kind)) {
            return;
        }
        if let Balance::PeakEwma { decay } = spec.balance {
            // The clock is read for this alone. A failure is no quick answer, however quick it is.
            let time = since.elapsed();
            let time = if fault(went) == Some(Fault::Gateway) { time.max(FAILED) } else { time };
            self.member(position).endpoint.conduct.measured(self.worker, time, decay);
        }
        if let Some(ejection) = &spec.ejection {
            self.count(position, went, ejection);
        }
    }

    fn count(&self, position: usize, went: Went<'_>, ejection: &Ejection) {
        let conduct = &self.member(position).endpoint.conduct;
        let Some(fault) = fault(went) else { return conduct.succeeded(self.worker) };
        let (errors, gateway_errors) = conduct.failed(self.worker, fault == Fault::Gateway);
        let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
        let cause = if reached(gateway_errors, ejection.consecutive_gateway_errors) {
            EjectionCause::ConsecutiveGatewayErrors
        } else if reached(errors, ejection.consecutive_errors) {
            EjectionCause::ConsecutiveErrors
        } else {
            return;
        };
        if let Held::Seen(_, moving) = &self.standing {
            eject(&self.standing().roster, position, (ejection, cause), moving, &self.means.series);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The endpoint did not answer, or says that what is behind it did not.
    Gateway,
    /// The endpoint says that it failed.
    Server,
}

fn fault(went: Went<'_>) -> Option<Fault> {
    match went {
        Err(_) => Some(Fault::Gateway),
        Ok(head) => match head.status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Some(Fault::Gateway)
            }
            status if status.is_server_error() => Some(Fault::Server),
            _ => grpc_fault(head),
        },
    }
}

// A gRPC answer that is trailers alone says its status in its head: DEADLINE_EXCEEDED and UNAVAILABLE, then UNKNOWN,
// INTERNAL and DATA_LOSS.
fn grpc_fault(head: &response::Parts) -> Option<Fault> {
    let status = head.headers.get("grpc-status")?;
    let grpc = |kind: &header::HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
    if !head.headers.get(header::CONTENT_TYPE).is_some_and(grpc) {
        return None;
    }
    match status.as_bytes() {
        b"4" | b"14" => Some(Fault::Gateway),
        b"2" | b"13" | b"15" => Some(Fault::Server),
        _ => None,
    }
}

// What an endpoint can do nothing for counts neither for nor against it.
const fn is_endpoints(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UpstreamConnect
            | Kind::UpstreamConnectTimeout
            | Kind::UpstreamReset
            | Kind::UpstreamMalformed
            | Kind::UpstreamTimeout
            | Kind::UpstreamTryTimeout
            | Kind::UpstreamIdleTimeout
    )
}

/// Ejects the member at `position`, unless it is the only one, or as many are out as may be.
fn eject(
    roster: &Roster,
    position: usize,
    (ejection, cause): (&Ejection, EjectionCause),
    moving: &Moving,
    series: &UpstreamSeries,
) {
    // Whoever holds it ejects another one at this moment; the next failure comes here again.
    let _turn = match moving.ejecting.try_lock() {
        Ok(turn) => turn,
        Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let taking = || roster.members.iter().filter(|member| member.weight > 0);
    let (all, out) = (taking().count(), taking().filter(|member| member.endpoint.conduct.is_ejected()).count());
    let most = if ejection.percent_max == 0 { 0 } else { (all * ejection.percent_max as usize / 100).max(1) };
    if all < 2 || out >= most {
        return;
    }
    let endpoint = &roster.members[position].endpoint;
    if let Some(time) = endpoint.conduct.eject(ejection.base_time, ejection.time_max) {
        series.endpoints.ejected(cause);
        tracing::warn!(endpoint = %endpoint.key.address, cause = cause.name(), ?time, "the endpoint is ejected");
        endpoint.stir();
    }
}

/// What success rates are compared with: the answers when they were compared last, by endpoint.
pub(in crate::upstream) type Tallies = HashMap<u64, Tally>;

/// Compares the success rates of the members since the last time, ejects those that are too low, and forgives one
/// ejection of each that is in.
pub(in crate::upstream) fn compare(
    roster: &Roster,
    ejection: &Ejection,
    tallies: &mut Tallies,
    moving: &Arc<Moving>,
    series: &UpstreamSeries,
) {
    let mut rates = Vec::new();
    let mut now = Tallies::new();
    for (position, member) in roster.members.iter().enumerate() {
        let (conduct, id) = (&member.endpoint.conduct, member.endpoint.id);
        let (tally, known) = (conduct.tally(), tallies.get(&id));
        now.insert(id, tally);
        conduct.forgive();
        let Some(known) = known else { continue };
        let answered = tally.answered.saturating_sub(known.answered);
        let enough = ejection.success_rate.as_ref().is_some_and(|rate| answered >= rate.requests_min);
        if enough && !conduct.is_ejected() {
            rates.push((position, tally.succeeded.saturating_sub(known.succeeded) as f64 / answered as f64));
        }
    }
    *tallies = now;
    if let Some(least) = ejection.success_rate.as_ref().and_then(|rule| least(rule, &rates)) {
        for (position, _) in rates.iter().filter(|(_, rate)| *rate < least) {
            eject(roster, *position, (ejection, EjectionCause::SuccessRate), moving, series);
        }
    }
}

// The least rate that is not too low.
fn least(rule: &SuccessRate, rates: &[(usize, f64)]) -> Option<f64> {
    if rates.len() < rule.endpoints_min {
        return None;
    }
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
    Some(mean - variance.sqrt() * f64::from(rule.deviations_thousandths) / 1000.0)
}

// How long a failure counts at least as an answer's time.
const FAILED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_far_below_the_others_is_too_low() {
        let rule = SuccessRate { deviations_thousandths: 1900, requests_min: 10, endpoints_min: 3 };
        let rates = |rates: &[f64]| rates.iter().copied().enumerate().collect::<Vec<_>>();
        let low = |list: &[f64]| {
            let list = rates(list);
            let least = least(&rule, &list)?;
            Some(list.iter().filter(|(_, rate)| *rate < least).map(|(at, _)| *at).collect::<Vec<_>>())
        };
        assert_eq!(low(&[1.0, 1.0, 1.0, 1.0, 0.5]), Some(vec![4]));
        assert_eq!(low(&[0.9; 5]), Some(vec![]), "all the same");
        assert_eq!(low(&[0.5, 0.6, 0.4, 0.5, 0.6]), Some(vec![]), "none stands out");
        assert_eq!(low(&[1.0, 0.0]), None, "too few to compare");
    }

    #[test]
    fn statuses_and_grpc_statuses_are_faults_or_not() {
        let head = |status: u16, grpc: Option<&'static str>| {
            let mut builder = http::Response::builder().status(status);
            if let Some(grpc) = grpc {
                builder = builder.header("content-type", "application/grpc+proto").header("grpc-status", grpc);
            }
            builder.body(()).unwrap().into_parts().0
        };
        for (status, grpc, fault_of) in [
            (200, None, None),
            (404, None, None),
            (500, None, Some(false)),
            (503, None, Some(true)),
            (504, None, Some(true)),
            (200, Some("0"), None),
            (200, Some("5"), None),
            (200, Some("13"), Some(false)),
            (200, Some("14"), Some(true)),
        ] {
            let found = fault(Ok(&head(status, grpc))).map(|fault| fault == Fault::Gateway);
            assert_eq!(found, fault_of, "{status} {grpc:?}");
        }
        assert!(fault(Err(Kind::UpstreamReset)) == Some(Fault::Gateway));
    }
}
