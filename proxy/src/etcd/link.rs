//! Connections: one at a time, to an endpoint that answers. When one is lost, the next is looked for among all
//! endpoints, each a little later than the one before it. Knows no call.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::select_ok;
use tokio::time::{sleep, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{
    Error, Kind,
    options::{Options, Tls},
};

/// How much later the next endpoint is tried while the one before it has not answered.
const STAGGER: Duration = Duration::from_millis(200);

/// Endpoints that are tried at all: more members than this no cluster has.
const ENDPOINTS_MAX: usize = 32;

// An answer may be as large as a page of values; small windows would make it a conversation.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// A connection that stood when it was handed out.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) endpoint: Arc<str>,
    pub(super) channel: Channel,
    number: u64,
}

/// The connection of a client.
pub(super) struct Links {
    options: Arc<Options>,
    given: Vec<Arc<str>>,
    state: Mutex<State>,
    // One looks for an endpoint, the others wait for what it finds.
    dialing: tokio::sync::Mutex<()>,
}

struct State {
    ring: Vec<Arc<str>>,
    at: usize,
    link: Option<Link>,
    dialed: u64,
}

impl Links {
    pub(super) fn new(options: Arc<Options>) -> Self {
        let given: Vec<Arc<str>> = options.urls().into_iter().map(Arc::from).collect();
        // So that a fleet does not lean on the member that everybody names first.
        let random = RandomState::new().hash_one(std::process::id());
        let at = usize::try_from(random % given.len().max(1) as u64).unwrap_or(0);
        let state = State { ring: given.clone(), at, link: None, dialed: 0 };
        Self { options, given, state: Mutex::new(state), dialing: tokio::sync::Mutex::default() }
    }

    /// The connection, made if there is none.
    pub(super) async fn link(&self) -> Result<Link, Error> {
        if let Some(link) = self.present() {
            return Ok(link);
        }
        let _turn = self.dialing.lock().await;
        if let Some(link) = self.present() {
            return Ok(link);
        }
        let (endpoint, channel) = self.dial().await?;
        let mut state = self.state();
        state.dialed += 1;
        state.at = state.ring.iter().position(|known| *known == endpoint).unwrap_or(0);
        let link = Link { endpoint, channel, number: state.dialed };
        state.link = Some(link.clone());
        Ok(link)
    }

    /// Notes that a connection does not serve; the next one is looked for behind its endpoint.
    pub(super) fn lost(&self, link: &Link) {
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|present| present.number == link.number) {
            state.link = None;
            state.at = (state.at + 1) % state.ring.len().max(1);
        }
    }

    /// How many connections were made.
    pub(super) fn dialed(&self) -> u64 {
        self.state().dialed
    }

    /// Adds the addresses of members to the endpoints given.
    pub(super) fn found(&self, urls: impl Iterator<Item = String>) {
        let secure = self.given.iter().any(|given| given.starts_with("https:"));
        let usable = urls.filter(|url| {
            // What a member listens on everywhere, it cannot be reached by.
            let everywhere = ["//0.0.0.0", "//[::]"].iter().any(|address| url.contains(address));
            url.starts_with("https:") == secure && !everywhere
        });
        let mut ring = self.given.clone();
        for url in usable.map(Arc::from) {
            if ring.len() < ENDPOINTS_MAX && !ring.contains(&url) {
                ring.push(url);
            }
        }
        let mut state = self.state();
        let present = state.ring.get(state.at).cloned();
        state.at = ring.iter().position(|url| Some(url) == present.as_ref()).unwrap_or(0);
        state.ring = ring;
    }

    async fn dial(&self) -> Result<(Arc<str>, Channel), Error> {
        let (ring, at) = {
            let state = self.state();
            (state.ring.clone(), state.at)
        };
        if ring.is_empty() {
            let detail = "no endpoint is given";
            return Err(Error::new(Kind::Network, &Arc::from("(none)"), detail));
        }
        let attempts = (0..ring.len()).map(|step| {
            let endpoint = Arc::clone(&ring[(at + step) % ring.len()]);
            let options = Arc::clone(&self.options);
            Box::pin(async move {
                sleep(STAGGER * u32::try_from(step).unwrap_or(u32::MAX)).await;
                let channel = dial(&options, &endpoint).await?;
                Ok((endpoint, channel))
            })
        });
        select_ok(attempts).await.map(|(found, _)| found)
    }

    fn present(&self) -> Option<Link> {
        self.state().link.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn dial(options: &Options, endpoint: &Arc<str>) -> Result<Channel, Error> {
    let no_url = |error: tonic::transport::Error| Error::of_connect(endpoint, &error);
    let mut target = Endpoint::from_shared(endpoint.to_string())
        .map_err(no_url)?
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keep_alive.interval)
        .keep_alive_timeout(options.keep_alive.timeout)
        // etcd ends connections that ping while nothing is under way.
        .keep_alive_while_idle(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    if endpoint.starts_with("https:") {
        let tls = tls(options.tls.as_ref(), endpoint).await?;
        target = target.tls_config(tls).map_err(|error| Error::new(Kind::Tls, endpoint, said(&error)))?;
    }
    match timeout(options.dial_timeout, target.connect()).await {
        Ok(connected) => connected.map_err(|error| Error::of_connect(endpoint, &error)),
        Err(_) => {
            let detail = format!("no connection within {:?}", options.dial_timeout);
            Err(Error::new(Kind::Timeout, endpoint, detail))
        }
    }
}

async fn tls(tls: Option<&Tls>, endpoint: &Arc<str>) -> Result<ClientTlsConfig, Error> {
    let read = async |path: &std::path::PathBuf| {
        let unreadable = |error| Error::new(Kind::Tls, endpoint, format!("cannot read {}: {error}", path.display()));
        tokio::fs::read(path).await.map_err(unreadable)
    };
    let mut config = ClientTlsConfig::new();
    let Some(tls) = tls else { return Ok(config.with_native_roots()) };
    config = match &tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(read(ca).await?)),
        None => config.with_native_roots(),
    };
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => config = config.identity(Identity::from_pem(read(cert).await?, read(key).await?)),
        (None, None) => {}
        _ => return Err(Error::new(Kind::Tls, endpoint, "a certificate needs its key, and a key its certificate")),
    }
    Ok(match &tls.domain {
        Some(domain) => config.domain_name(domain),
        None => config,
    })
}

fn said(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(endpoints: &[&str]) -> Links {
        let endpoints = endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect();
        let timing = Duration::from_millis(500);
        Links::new(Arc::new(Options { endpoints, dial_timeout: timing, ..Options::default() }))
    }

    #[test]
    fn members_join_the_endpoints_where_they_can_be_reached() {
        let links = links(&["http://a:1"]);
        let urls = ["http://0.0.0.0:1", "https://c:1", "http://a:1", "http://b:1", "http://[::]:1"];
        links.found(urls.into_iter().map(str::to_owned));
        let ring: Vec<_> = links.state().ring.iter().map(ToString::to_string).collect();
        assert_eq!(ring, ["http://a:1", "http://b:1"]);
    }

    #[tokio::test]
    async fn an_endpoint_that_refuses_does_not_hide_one_that_accepts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let open = listener.local_addr().expect("bound").to_string();
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let closed = refusing.local_addr().expect("bound").to_string();
        drop(refusing);
        let links = links(&[&closed, &open]);
        let link = links.link().await.expect("one accepts");
        assert_eq!(&*link.endpoint, format!("http://{open}"));
        links.lost(&link);
        assert!(links.present().is_none());
        links.lost(&link);
        assert_eq!(links.link().await.expect("it accepts again").number, 2);
    }

    #[tokio::test]
    async fn certificates_that_are_not_there_are_named() {
        let tls = Tls { ca: Some("no/such/ca.pem".into()), ..Tls::default() };
        let endpoints = vec!["127.0.0.1:1".to_owned()];
        let links = Links::new(Arc::new(Options { endpoints, tls: Some(tls), ..Options::default() }));
        let error = links.link().await.expect_err("no such file");
        assert_eq!(error.kind, Kind::Tls);
        assert!(error.to_string().contains("no/such/ca.pem"), "{error}");
    }
}
