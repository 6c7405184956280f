//! A gateway in a process of its own that follows a prefix of etcd, asked through its admin endpoint as an operator would.

use std::net::SocketAddr;

use http::Method;
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{Answer, Client, Process, free_address, request, soon};

/// The real binary, following `/gw/`. Ended with the value.
#[derive(Debug)]
pub struct Follower {
    process: Process,
    admin: SocketAddr,
}

impl Follower {
    /// Starts one on these endpoints; `more` are further arguments of `run`. What it follows has a listener `web` on any
    /// port, as many run on one machine.
    pub fn start(urls: &[String], more: &[&str]) -> Self {
        let admin = free_address();
        let (urls, at) = (urls.join(","), admin.to_string());
        let arguments = ["run", "--etcd", &urls, "--etcd-prefix", "/gw/", "--admin", &at, "--workers", "2"];
        Self { process: Process::start(&[&arguments, more].concat()), admin }
    }

    /// Waits until it serves.
    pub async fn serves(&self) {
        soon("the gateway listens", async || self.web().is_some()).await;
        soon("its admin endpoint answers", async || TcpStream::connect(self.admin).await.is_ok()).await;
    }

    /// Where it says that its listener `web` listens.
    fn web(&self) -> Option<SocketAddr> {
        let said = self.process.said();
        let line = said.iter().find(|line| line.contains("listening") && line.contains("listener=web"))?;
        line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()
    }

    /// Waits until it serves this generation.
    pub async fn serves_generation(&self, generation: u64) {
        let what = format!("generation {generation} serves");
        soon(&what, async || self.status().await["generation"] == generation).await;
    }

    /// A request to its listener.
    pub async fn get(&self, path: &str) -> Answer {
        Client::http1(self.web().expect("it serves")).await.get(path).await
    }

    /// A request to its admin endpoint.
    pub async fn ask(&self, target: &str) -> Answer {
        let target = format!("http://{}{target}", self.admin);
        Client::http1(self.admin).await.send(request(Method::GET, &target)).await
    }

    /// `GET /-/status`.
    pub async fn status(&self) -> Value {
        self.ask("/-/status").await.json()
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.ask("/metrics").await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// Its admin endpoint.
    pub fn admin(&self) -> String {
        self.admin.to_string()
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until it has ended by itself; its exit code, and all that it has written.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        soon("the process ends", async || self.process.ended().is_some()).await;
        soon("its output is read", async || self.process.finished()).await;
        (self.process.ended().and_then(|status| status.code()), self.process.said().join("\n"))
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) {
        self.process.signal(Signal::TERM);
        soon("the process ends", async || self.process.ended().is_some()).await;
    }
}
