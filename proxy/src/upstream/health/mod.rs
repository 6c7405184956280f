//! Active health checks: an endpoint is asked now and then, on the control plane, for as long as somebody holds the
//! verdict. Found by endpoint and what is checked, so that a reload restarts none that did not change.

mod grpc;
mod http;
mod http2;

use std::{
    io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{connect::dial, introduced, resolve, share::scatter};
use crate::{
    config::spec::{HealthCheck, Probe, Protocol, ProxyVersion},
    identity::Identity,
    state::{EndpointState, States, Verdict},
    tls::{Connector, Offer, Socket},
};

/// The verdict of `check` on `endpoint`; starts the check unless it runs. An endpoint that was never checked is what
/// the check says it is at first.
pub(super) fn watch(
    endpoint: &Arc<EndpointState>,
    (check, protocol, proxied): (&HealthCheck, Protocol, Option<ProxyVersion>),
    connector: Option<&Arc<Connector>>,
    states: &States,
) -> Arc<Verdict> {
    let http2 = matches!(protocol, Protocol::H2 | Protocol::H2c);
    let key = (endpoint.key.clone(), Identity::of(&(check, http2, proxied)));
    let verdict = states.verdicts.find_or_make(&key, || Verdict::new(Arc::clone(endpoint), check.initially_healthy));
    let control = &states.control;
    let first = proxied.map_or(&[][..], introduced::local);
    let means = Means { connector: connector.cloned(), http2, first, control: control.clone() };
    verdict.run(|| control.spawn(run(Arc::downgrade(&verdict), check.clone(), means)).abort_handle());
    verdict
}

// How the endpoint is asked, beside what.
struct Means {
    connector: Option<Arc<Connector>>,
    // Whether the endpoint speaks nothing else.
    http2: bool,
    // What comes first on a connection.
    first: &'static [u8],
    control: Handle,
}

async fn run(verdict: Weak<Verdict>, check: HealthCheck, means: Means) {
    let (mut good, mut bad, mut count) = (0_u32, 0_u32, 0_u64);
    let began = Instant::now();
    loop {
        let Some(endpoint) = verdict.upgrade().map(|verdict| Arc::clone(verdict.endpoint())) else { return };
        let asked = tokio::time::timeout(check.timeout, ask(&endpoint, &check, &means)).await;
        let result = asked.unwrap_or_else(|_| Err(io::Error::other("no answer within the check's timeout")));
        let Some(verdict) = verdict.upgrade() else { return };
        // One that begins as unhealthy has waited long enough when the first check is good.
        let first = count == 0 && !check.initially_healthy;
        (good, bad) = if result.is_ok() { (good.saturating_add(1), 0) } else { (0, bad.saturating_add(1)) };
        verdict.found(result.as_ref().err().map(ToString::to_string));
        let address = &endpoint.key.address;
        match result {
            Ok(()) if !verdict.is_healthy() && (good >= check.healthy_after || first) => {
                verdict.set(true);
                tracing::info!(endpoint = %address, check = name(&check), "the endpoint is healthy again");
            }
            Err(error) if verdict.is_healthy() && bad >= check.unhealthy_after => {
                verdict.set(false);
                tracing::warn!(endpoint = %address, check = name(&check), %error, "the endpoint is unhealthy");
            }
            _ => {}
        }
        count += 1;
        let interval = if verdict.is_healthy() { check.interval } else { check.unhealthy_interval };
        drop(verdict);
        let seed = endpoint.id.rotate_left(32) ^ count ^ began.elapsed().subsec_nanos() as u64;
        tokio::time::sleep(later(interval.max(INTERVAL_MIN), check.jitter_percent, seed)).await;
    }
}

fn name(check: &HealthCheck) -> &str {
    match &check.probe {
        Probe::Http { path, .. } => path,
        Probe::Grpc { service, .. } => service,
        Probe::Tcp => "tcp",
    }
}

// The interval, and up to so many percent more.
fn later(interval: Duration, percent: u32, seed: u64) -> Duration {
    interval + interval * percent / 100 * u32::from(scatter(seed) as u16) / u32::from(u16::MAX)
}

async fn ask(endpoint: &Arc<EndpointState>, check: &HealthCheck, means: &Means) -> io::Result<()> {
    let authority = endpoint.key.authority();
    let http2 = means.http2 || matches!(check.probe, Probe::Grpc { .. });
    let mut io = reach(endpoint, check.port, http2, means).await?;
    let secure = means.connector.is_some();
    match &check.probe {
        Probe::Tcp => Ok(()),
        probe @ Probe::Http { .. } if http2 => http::ask_http2(io, probe, (authority, secure)).await,
        probe @ Probe::Http { .. } => http::ask(&mut io, probe, authority).await,
        Probe::Grpc { service, host } => {
            let host = host.as_deref().unwrap_or(authority);
            grpc::ask(io, service, (host, secure)).await
        }
    }
}

// A connection to the first of its addresses that takes one.
async fn reach(endpoint: &Arc<EndpointState>, port: Option<u16>, http2: bool, means: &Means) -> io::Result<Socket> {
    let offer = if http2 { Offer::Http2 } else { Offer::Http1 };
    let addresses =
        resolve::addresses(endpoint, &means.control).await.map_err(|why| io::Error::other(why.to_string()))?;
    let mut reached: io::Result<Socket> = Err(io::ErrorKind::AddrNotAvailable.into());
    for mut candidate in addresses {
        candidate.set_port(port.unwrap_or(candidate.port()));
        reached = dial(candidate, endpoint.key.authority(), means.connector.as_deref(), (offer, means.first)).await;
        if reached.is_ok() {
            break;
        }
    }
    reached
}

const INTERVAL_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_makes_an_interval_longer_and_never_shorter() {
        let (interval, mut seen) = (Duration::from_secs(10), std::collections::HashSet::new());
        for seed in 0..1000 {
            let time = later(interval, 20, seed);
            assert!((interval..=interval * 6 / 5).contains(&time));
            seen.insert(time);
        }
        assert!(seen.len() > 500);
        assert_eq!(later(interval, 0, 7), interval);
    }
}
