//! `tidegate-bench GATEWAY train`: load of every kind that the parts measure, for a build that counts what it does
//! (`scripts/dist.sh`). Measures nothing.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_tests::Authority;

use crate::{
    abis::chains,
    connections::{self, Manner},
    load, protocols, proxies, scale,
    speech::{Call, Speech},
    subject::Subject,
    users::{self, CHAIN, QUERY},
};

/// Of one kind of load.
const SPAN: Duration = Duration::from_millis(1_500);
const LOOPS: usize = 32;
/// Routes, and their hosts.
const TABLE: (usize, usize) = (1_000, 1_000);

/// All of it, one kind after the other; each gateway ends by itself.
pub(crate) fn run(gateway: &Path) {
    load::beside_an_origin(async |origin| {
        let authority = Authority::new();
        for (_, speech) in Speech::all(&authority) {
            let subject = protocols::ours(gateway, &origin.to_string(), &speech, &authority);
            for (bytes, loops) in protocols::BODIES {
                ask(&subject, &speech, &load::path_of(bytes), loops).await;
            }
        }
        for manner in Manner::all(&authority) {
            let speech = if manner.is_secure() { Speech::http1_tls(&authority) } else { Speech::Http1 };
            let subject = protocols::ours(gateway, &origin.to_string(), &speech, &authority);
            connections::of_one(&manner, &subject).await;
        }
        let logging = proxies::configuration(origin, true);
        if let Some(subject) = Subject::gateway_over_io_uring(gateway, &[("gateway.yaml", &logging)]) {
            ask(&subject, &Speech::Http1, &load::path_of(protocols::BODIES[0].0), load::CONNECTIONS).await;
        }
        for chain in [&[][..], &CHAIN] {
            let subject = users::ours(gateway, origin, chain);
            ask(&subject, &Speech::Http1, &format!("/a/small/thing{QUERY}"), load::CONNECTIONS).await;
        }
        chains::train(gateway, origin, async |subject, path| ask(subject, &Speech::Http1, path, LOOPS).await).await;
        table(gateway.to_owned(), origin).await;
    });
}

async fn ask(subject: &Subject, speech: &Speech, path: &str, loops: usize) {
    let call = Call { address: subject.address, speech: speech.clone(), path: path.into() };
    load::span_of(&call, loops, SPAN, || 0.0).await;
}

// On a thread of its own: the origin answers on this one.
async fn table(gateway: PathBuf, origin: SocketAddr) {
    let changes = tokio::task::spawn_blocking(move || drop(scale::load_of(&gateway, origin, TABLE)));
    changes.await.expect("what failed was printed");
}
