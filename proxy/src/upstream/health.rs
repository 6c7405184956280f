//! Active health checks: a GET now and then, on the control plane, for as long as somebody holds the verdict. Found by
//! endpoint and what is checked, so that a reload restarts none that did not change.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    time::{Instant, MissedTickBehavior},
};

use super::{Upstream, connect::dial, head::Reader, resolve};
use crate::{
    config::spec::HealthCheck,
    identity::Identity,
    state::{EndpointState, States, Verdict},
    tls::{Connector, Offer},
};

/// The verdict of `check` on `endpoint`; starts the check unless it runs. An endpoint that was never checked is healthy
/// until a check says otherwise.
pub(super) fn watch(
    endpoint: &Arc<EndpointState>,
    check: &HealthCheck,
    connector: Option<&Arc<Connector>>,
    states: &States,
) -> Arc<Verdict> {
    let key = (endpoint.key.clone(), Identity::of(check));
    let verdict = states.verdicts.find_or_make(&key, || Verdict::new(Arc::clone(endpoint)));
    let control = &states.control;
    let means = (connector.cloned(), control.clone());
    verdict.run(|| control.spawn(run(Arc::downgrade(&verdict), check.clone(), means)).abort_handle());
    verdict
}

/// Tells the metrics of `upstream` how many endpoints are healthy, for as long as it stands.
pub(super) fn report(upstream: &Arc<Upstream>) {
    count(upstream);
    if upstream.spec.health_check.is_some() {
        let weak = Arc::downgrade(upstream);
        upstream.states.control.spawn(async move {
            loop {
                tokio::time::sleep(REPORT_INTERVAL).await;
                let Some(upstream) = weak.upgrade() else { return };
                count(&upstream);
            }
        });
    }
}

fn count(upstream: &Upstream) {
    let members = upstream.balancer.members();
    let healthy = members.iter().filter(|member| member.is_healthy()).count();
    upstream.series.endpoints(healthy as u64, (members.len() - healthy) as u64);
}

async fn run(verdict: Weak<Verdict>, check: HealthCheck, (connector, control): (Option<Arc<Connector>>, Handle)) {
    let mut ticks = tokio::time::interval_at(Instant::now(), check.interval.max(INTERVAL_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut good, mut bad) = (0_u32, 0_u32);
    loop {
        ticks.tick().await;
        let Some(endpoint) = verdict.upgrade().map(|verdict| Arc::clone(verdict.endpoint())) else { return };
        let result =
            tokio::time::timeout(check.timeout, ask(&endpoint, &check.path, connector.as_deref(), &control)).await;
        let result = result.unwrap_or_else(|_| Err(io::Error::other("no answer within the check's timeout")));
        let Some(verdict) = verdict.upgrade() else { return };
        (good, bad) = if result.is_ok() { (good.saturating_add(1), 0) } else { (0, bad.saturating_add(1)) };
        let address = &endpoint.key.address;
        match result {
            Ok(()) if !verdict.is_healthy() && good >= check.healthy_after => {
                verdict.set(true);
                tracing::info!(endpoint = %address, path = check.path, "the endpoint is healthy again");
            }
            Err(error) if verdict.is_healthy() && bad >= check.unhealthy_after => {
                verdict.set(false);
                tracing::warn!(endpoint = %address, path = check.path, %error, "the endpoint is unhealthy");
            }
            _ => {}
        }
    }
}

// Any answer below 400 is a good one.
async fn ask(
    endpoint: &Arc<EndpointState>,
    path: &str,
    connector: Option<&Connector>,
    control: &Handle,
) -> io::Result<()> {
    let addresses = resolve::addresses(endpoint, control).await.map_err(|why| io::Error::other(why.to_string()))?;
    let address = &endpoint.key.address;
    let mut reached = Err(io::ErrorKind::AddrNotAvailable.into());
    for candidate in &addresses {
        reached = dial(*candidate, address, connector, Offer::Http1).await;
        if reached.is_ok() {
            break;
        }
    }
    let mut io = reached?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: tidegate-health-check\r\nconnection: close\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    let (mut reader, mut input, mut fields) = (Reader::new(HEAD_BYTES_MAX), BytesMut::new(), HeaderMap::new());
    loop {
        if io.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let head = reader.read(&mut input, &Method::GET, &mut fields);
        if let Some(head) = head.map_err(|malformed| io::Error::other(malformed.0))? {
            let status: StatusCode = head.parts.status;
            let good = status.is_success() || status.is_redirection();
            return if good { Ok(()) } else { Err(io::Error::other(format!("the status is {status}"))) };
        }
    }
}

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const HEAD_BYTES_MAX: usize = 16 * 1024;
