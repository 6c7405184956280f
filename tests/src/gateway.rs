//! The gateway under test: the real one, in the test's process, two workers, every port the system's choice. Beyond
//! starting and stopping it is asked through its admin endpoint only, as an operator would.

use std::{env, net::SocketAddr, time::Duration};

use http::Method;
use serde_json::Value;
use tidegate::{
    AdminChoice, Options, admin,
    source::{
        Source,
        file::{WatchMode, WatchOptions},
    },
};

use crate::{Answer, Client, ConfigDir, Origin, request, soon};

/// A running gateway; ended with the value.
#[derive(Debug)]
pub struct Gateway {
    inner: Option<tidegate::Gateway>,
}

/// A listener as most suites want it: any port, generation in the response.
pub const WEB: &str = "listeners: {web: {address: '127.0.0.1:0', generation-header: true}}\n";

impl Gateway {
    /// Starts one over a directory that is read when asked to ([`Gateway::reload`]).
    ///
    /// # Panics
    /// With the diagnostics, when the configuration is refused.
    pub async fn start(dir: &ConfigDir) -> Self {
        Self::try_start(dir).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts one with the listener of [`WEB`] in front of an origin, `{origin}` in `configuration`.
    ///
    /// # Panics
    /// With the diagnostics, when the configuration is refused.
    pub async fn in_front_of_origin(configuration: &str) -> (Origin, ConfigDir, Self) {
        let origin = Origin::start();
        let dir = ConfigDir::new().with("origin", origin.address());
        dir.write("gateway.yaml", &format!("{WEB}{configuration}"));
        let gateway = Self::start(&dir).await;
        (origin, dir, gateway)
    }

    /// Starts one that watches its directory.
    ///
    /// # Panics
    /// With the diagnostics, when the configuration is refused.
    pub async fn watching(dir: &ConfigDir) -> Self {
        let options = Options { watch: WatchOptions::default(), ..read_when_asked(dir) };
        Self::with(options).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts one, or says in the operator's words why not.
    ///
    /// # Errors
    /// The text of the refusal.
    pub async fn try_start(dir: &ConfigDir) -> Result<Self, String> {
        Self::with(read_when_asked(dir)).await
    }

    /// Starts one that is in `zone`.
    ///
    /// # Panics
    /// With the diagnostics, when the configuration is refused.
    pub async fn start_in(dir: &ConfigDir, zone: &str) -> Self {
        let options = Options { zone: Some(zone.to_owned()), ..read_when_asked(dir) };
        Self::with(options).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts one that reads and writes over an io_uring, where the kernel permits it.
    ///
    /// # Panics
    /// With the diagnostics, when the configuration is refused.
    pub async fn on_ring(dir: &ConfigDir) -> Self {
        let options = Options { io_uring: true, ..read_when_asked(dir) };
        Self::with(options).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts one that keeps things in `state` from one run to the next.
    ///
    /// # Errors
    /// The text of the refusal.
    pub async fn keeping(dir: &ConfigDir, state: &std::path::Path) -> Result<Self, String> {
        let state_dir = Some(tidegate::state_dir::StateDir::open(state)?);
        Self::with(Options { state_dir, ..read_when_asked(dir) }).await
    }

    /// An upstream as `GET /-/upstreams` shows it.
    pub async fn upstream(&self, name: &str) -> Value {
        let all = self.ask(Method::GET, &format!("/-/upstreams?name={name}")).await.json();
        all["upstreams"][0].clone()
    }

    /// Starts one over sources of the test's own making.
    ///
    /// # Errors
    /// The text of the refusal.
    pub async fn over(sources: Vec<Box<dyn Source>>) -> Result<Self, String> {
        Self::with(Options { sources, ..Options::default() }).await
    }

    async fn with(options: Options) -> Result<Self, String> {
        let options = Options {
            workers: Some(2),
            io_uring: options.io_uring || env::var_os("TIDEGATE_TEST_IO_URING").is_some(),
            admin: AdminChoice::Fixed(admin::Settings {
                address: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
                trust_loopback: true,
                ..admin::Settings::default()
            }),
            ..options
        };
        // It makes runtimes of its own and waits for them, which a runtime's thread must not.
        let started = tokio::task::spawn_blocking(|| tidegate::Gateway::start(options)).await;
        let inner = started.expect("starting does not panic").map_err(|error| error.to_string())?;
        Ok(Self { inner: Some(inner) })
    }

    /// Where the listener `web` listens.
    pub fn web(&self) -> SocketAddr {
        self.listener("web")
    }

    /// Where a listener listens.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn listener(&self, name: &str) -> SocketAddr {
        self.inner().listener(name).unwrap_or_else(|| panic!("no listener {name}"))
    }

    /// Where the admin endpoint listens.
    pub fn admin(&self) -> SocketAddr {
        self.inner().admin().expect("the admin endpoint is on")
    }

    /// A client of `web` over HTTP/1.1.
    pub async fn http1(&self) -> Client {
        Client::http1(self.web()).await
    }

    /// A client of `web` over HTTP/2.
    pub async fn http2(&self) -> Client {
        Client::http2(self.web()).await
    }

    /// A request to the admin endpoint.
    pub async fn ask(&self, method: Method, target: &str) -> Answer {
        let target = format!("http://{}{target}", self.admin());
        Client::http1(self.admin()).await.send(request(method, &target)).await
    }

    /// `GET /-/status`.
    pub async fn status(&self) -> Value {
        self.ask(Method::GET, "/-/status").await.json()
    }

    /// `POST /-/reload`: the attempt, whatever came of it.
    pub async fn reload(&self) -> Value {
        self.ask(Method::POST, "/-/reload").await.json()
    }

    /// Reloads, which must be applied; answers with the new generation.
    ///
    /// # Panics
    /// With the attempt, when it is not.
    pub async fn apply(&self) -> u64 {
        let attempt = self.reload().await;
        assert_eq!(attempt["outcome"], "applied", "{attempt:#}");
        attempt["generation"].as_u64().expect("an attempt has a generation")
    }

    /// The sum of all series of a metric whose labels contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.ask(Method::GET, "/metrics").await.text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            let (set, value) = rest.rsplit_once(' ')?;
            set.contains(labels).then(|| value.parse::<f64>().ok()).flatten()
        });
        values.sum()
    }

    /// The generations that something still holds.
    pub async fn live(&self) -> Vec<u64> {
        let status = self.status().await;
        let live = status["live_generations"].as_array().expect("a status has them").iter();
        live.filter_map(|live| live["generation"].as_u64()).collect()
    }

    /// Waits until only `generation` is held by anything, a second at most.
    pub async fn only(&self, generation: u64) {
        let what = format!("only generation {generation} is live");
        crate::eventually(&what, Duration::from_secs(1), async || (self.live().await == [generation]).then_some(()))
            .await;
    }

    /// Waits until `generation` serves.
    pub async fn serves(&self, generation: u64) {
        let what = format!("generation {generation} serves");
        soon(&what, async || self.status().await["generation"] == generation).await;
    }

    /// Stops it as `TERM` would; answers whether everything ended by the deadline.
    ///
    /// # Panics
    /// When stopping does.
    pub async fn shutdown(mut self, deadline: Duration) -> bool {
        let inner = self.inner.take().expect("taken out only here");
        tokio::task::spawn_blocking(move || inner.shutdown(deadline)).await.expect("stopping does not panic")
    }

    fn inner(&self) -> &tidegate::Gateway {
        self.inner.as_ref().expect("taken out only when it is stopped")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A runtime must not be waited for on a thread of another one.
        if let Some(inner) = self.inner.take() {
            drop(std::thread::spawn(move || drop(inner)).join());
        }
    }
}

// A directory that nobody watches, so that what a test writes is applied when it says so and not before.
fn read_when_asked(dir: &ConfigDir) -> Options {
    // What the harness writes is whole at once.
    let settle = Duration::from_millis(5);
    let watch = WatchOptions { mode: WatchMode::Off, settle, ..WatchOptions::default() };
    Options { config: vec![dir.path()], watch, ..Options::default() }
}
