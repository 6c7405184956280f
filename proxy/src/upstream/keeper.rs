//! What keeps an upstream's endpoints current on the control plane, for as long as the upstream stands: returns those
//! whose ejection is over, compares success rates, lets slow starts grow, and publishes how they stand; and what it
//! shows of them to operators. Knows no requests.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    Upstream,
    balance::{Condition, Member, Moving, Standing, Tallies, compare},
    roster::RosterSource,
};
use crate::telemetry::{EndpointSample, Endpoints};

/// Keeps `upstream` current, where anything changes how its endpoints stand.
pub(super) fn start(upstream: &Arc<Upstream>, source: RosterSource) {
    if let Some(moving) = upstream.balancer.moving() {
        source.watch(&moving.stirred);
        upstream.states.control.spawn(keep(Arc::downgrade(upstream), source, Arc::clone(&moving.stirred)));
    }
}

async fn keep(upstream: Weak<Upstream>, source: RosterSource, stirred: Arc<Notify>) {
    let (mut tallies, mut compared) = (Tallies::new(), Instant::now());
    loop {
        let wait = {
            let Some(upstream) = upstream.upgrade() else { return };
            let Some(moving) = upstream.balancer.moving() else { return };
            let standing = renewed(&upstream, &source, moving);
            for member in &standing.roster.members {
                member.endpoint.watch(&stirred);
            }
            restore(&standing);
            if let Some(ejection) = upstream.spec.ejection.as_ref().filter(|own| compared.elapsed() >= own.interval) {
                compared = Instant::now();
                compare(&standing.roster, ejection, &mut tallies, moving, &upstream.series);
            }
            publish(&upstream, moving, &standing);
            next(&upstream, &moving.now(), compared)
        };
        // Either way it looks at everything.
        let _either = tokio::time::timeout(wait, stirred.notified()).await;
    }
}

// How the endpoints stand, with those that names lead to now.
fn renewed(upstream: &Upstream, source: &RosterSource, moving: &Moving) -> Arc<Standing> {
    let standing = moving.now();
    if let Some(now) = source.newer(&standing.roster) {
        tracing::info!(upstream = %upstream.name, endpoints = now.members.len(), "the endpoints have changed");
        moving.publish(Standing::new(Arc::new(now), upstream.balancer.rules()));
    }
    moving.now()
}

fn restore(standing: &Standing) {
    for member in standing.roster.members.iter().filter(|member| member.ejects) {
        if member.endpoint.conduct.restore() {
            tracing::info!(endpoint = %member.endpoint.key.address, "the endpoint is back from its ejection");
            member.endpoint.stir();
        }
    }
}

fn publish(upstream: &Upstream, moving: &Moving, before: &Standing) {
    let standing = Standing::new(Arc::clone(&before.roster), upstream.balancer.rules());
    if standing.panics != before.panics {
        match standing.panics {
            true => tracing::warn!(upstream = %upstream.name, "too few endpoints are healthy: all are used"),
            false => tracing::info!(upstream = %upstream.name, "enough endpoints are healthy again"),
        }
    }
    moving.publish(standing);
}

// How long nothing changes by itself.
fn next(upstream: &Upstream, standing: &Standing, compared: Instant) -> Duration {
    let members = || standing.roster.members.iter();
    let returns = members().filter(|member| member.ejects).filter_map(|member| member.endpoint.conduct.ejected_for());
    let steps = upstream.balancer.slow_start_step().filter(|_| {
        let time = upstream.spec.slow_start.unwrap_or_default();
        members().any(|member| member.endpoint.conduct.there_for() < time)
    });
    let compares = upstream.spec.ejection.as_ref().map(|own| own.interval.saturating_sub(compared.elapsed()));
    let waits = returns.chain(steps).chain(compares);
    waits.min().unwrap_or(LOOK_INTERVAL).clamp(STEP_MIN, LOOK_INTERVAL)
}

impl Endpoints for Upstream {
    fn panics(&self) -> bool {
        self.balancer.look(|standing| standing.panics)
    }

    fn samples(&self) -> Vec<EndpointSample> {
        self.balancer.look(|standing| {
            let total = standing.weights.iter().map(|weight| *weight as f64).sum::<f64>();
            let each = standing.roster.members.iter().zip(&standing.weights);
            each.map(|(member, weight)| self.sample(member, *weight as f64 / total.max(1.0))).collect()
        })
    }
}

impl Upstream {
    fn sample(&self, member: &Member, share: f64) -> EndpointSample {
        let endpoint = &member.endpoint;
        let condition = member.condition();
        let slow = self.spec.slow_start.is_some_and(|time| endpoint.conduct.there_for() < time);
        let state = match condition {
            Condition::Unhealthy => "unhealthy",
            Condition::Ejected => "ejected",
            Condition::Suspect => "unreachable",
            Condition::Usable if slow => "starting",
            Condition::Usable => "healthy",
        };
        let failure = member.verdict.as_ref().and_then(|verdict| verdict.failure());
        EndpointSample {
            address: Arc::clone(&endpoint.key.address),
            name: endpoint.key.name.clone(),
            state,
            share: (share * 1000.0).round() / 1000.0,
            weight: member.weight,
            priority: member.priority,
            local: member.local,
            in_flight: endpoint.gauges.in_flight_total(),
            connections: endpoint.gauges.connections(),
            ejections: endpoint.conduct.ejections(),
            ejected_for_ms: endpoint
                .conduct
                .ejected_for()
                .filter(|_| member.ejects)
                .map(|left| left.as_millis() as u64),
            failure,
        }
    }
}

// Nothing is missed between: this is a net.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
// What comes due all the time is looked at no more often than this.
const STEP_MIN: Duration = Duration::from_millis(5);
