//! Names of endpoints to addresses: by the system's resolver, off the workers, remembered in the endpoint's state. The
//! last good answer stays when the resolver fails. Knows nothing of connections.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::{SmallVec, smallvec};
use tokio::runtime::Handle;

use crate::{
    config::spec::Dns,
    state::{EndpointState, Question, Resolved},
};

/// The addresses of an endpoint, as last resolved.
///
/// # Errors
/// Why its name has none.
pub(super) async fn addresses(
    endpoint: &Arc<EndpointState>,
    control: &Handle,
) -> Result<SmallVec<[SocketAddr; 2]>, Arc<str>> {
    if let Some(address) = endpoint.literal() {
        return Ok(smallvec![address]);
    }
    if is_known(endpoint) {
        // What is known serves on while it is asked for anew.
        refresh(endpoint, control);
    } else {
        let lookup = control.spawn(look_up(Arc::clone(endpoint)));
        lookup.await.map_err(|error| Arc::from(format!("its name was not resolved: {error}")))?;
    }
    match endpoint.resolved() {
        Some(resolved) => resolved.addresses.map(|addresses| addresses.iter().copied().collect()),
        None => Err("its name was not resolved".into()),
    }
}

/// Resolves the name of an endpoint anew where that is due; does not wait.
pub(super) fn refresh(endpoint: &Arc<EndpointState>, control: &Handle) {
    let old = |resolved: &Resolved| resolved.at.elapsed() >= resolved.ttl;
    if endpoint.literal().is_none() && endpoint.resolved().is_none_or(|resolved| old(&resolved)) {
        control.spawn(look_up(Arc::clone(endpoint)));
    }
}

/// The addresses that connections to the endpoint may lead to, where they are known.
pub(super) fn known(endpoint: &EndpointState) -> Option<Arc<[SocketAddr]>> {
    endpoint.resolved().and_then(|resolved| resolved.addresses.ok())
}

// A failure is remembered as well, for a shorter time: a name that does not resolve is not asked for at each request.
fn is_known(endpoint: &EndpointState) -> bool {
    endpoint.resolved().is_some_and(|resolved| resolved.addresses.is_ok() || resolved.at.elapsed() < FAILED)
}

async fn look_up(endpoint: Arc<EndpointState>) {
    let asked = Instant::now();
    let _turn = endpoint.resolving.lock().await;
    let last = endpoint.resolved();
    if last.as_ref().is_some_and(|last| last.at >= asked) {
        return;
    }
    let question = Question::Addresses(Arc::clone(&endpoint.key.address));
    let resolver = endpoint.resolver().unwrap_or_else(|| Arc::new(Dns::default()));
    let answer = resolver.ask(&question, &[]).await;
    let ttl = answer.as_ref().map_or(FAILED, |answer| answer.ttl);
    let addresses = match answer {
        Ok(answer) => Ok(answer.found.iter().map(|found| found.address).collect()),
        Err(why) => {
            tracing::warn!(endpoint = %endpoint.key.address, error = why, "cannot resolve the name of an endpoint");
            last.and_then(|last| last.addresses.ok()).ok_or_else(|| why.into())
        }
    };
    endpoint.resolve(Resolved { addresses, at: Instant::now(), ttl });
}

const FAILED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::EndpointKey;

    fn endpoint(address: &str) -> Arc<EndpointState> {
        Arc::new(EndpointState::new(&EndpointKey::new(address, None), 1))
    }

    #[tokio::test]
    async fn a_name_resolves_and_a_wrong_one_says_why() {
        let control = Handle::current();
        let found = addresses(&endpoint("localhost:81"), &control).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 81));
        assert!(addresses(&endpoint("tidegate.invalid:80"), &control).await.is_err());
        assert_eq!(addresses(&endpoint("[::1]:80"), &control).await.unwrap()[0], "[::1]:80".parse().unwrap());
    }

    #[tokio::test]
    async fn the_last_good_answer_stays() {
        let endpoint = endpoint("tidegate.invalid:80");
        let good: SocketAddr = "127.0.0.1:80".parse().unwrap();
        endpoint.resolve(Resolved { addresses: Ok([good].into()), at: Instant::now(), ttl: FAILED });
        look_up(Arc::clone(&endpoint)).await;
        assert_eq!(known(&endpoint).as_deref(), Some(&[good][..]));
        assert_eq!(addresses(&endpoint, &Handle::current()).await.unwrap()[..], [good]);
    }
}
