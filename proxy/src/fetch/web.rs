//! Requests over HTTPS, bounded in bytes, tries and time: what may go away by itself is tried again, later each time. The
//! only place that names reqwest. Knows no registry.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use reqwest::{Client, Response, redirect};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::FetchError;
use crate::{
    config::spec::{ModuleHost, ModuleSources},
    tls::{SystemRoots, https},
};

/// Fetches on the terms of one configuration.
pub(super) struct Web<'a> {
    pub(super) sources: &'a ModuleSources,
    clients: Mutex<HashMap<String, Client>>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// The whole address.
    pub(super) url: &'a str,
    /// Types of content.
    pub(super) accept: Option<&'a str>,
    /// `Authorization`.
    pub(super) authorization: Option<&'a str>,
    /// A form that is posted, where it is not a GET.
    pub(super) form: Option<&'a str>,
    /// Of the answer.
    pub(super) bytes_max: usize,
    /// By when.
    pub(super) deadline: Instant,
}

impl<'a> Ask<'a> {
    /// A GET of anything.
    pub(super) const fn new(url: &'a str, bytes_max: usize, deadline: Instant) -> Self {
        Self { url, accept: None, authorization: None, form: None, bytes_max, deadline }
    }
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<String>,
    /// `WWW-Authenticate`, every one.
    pub(super) challenges: Vec<String>,
    /// Empty where the status is not 200.
    pub(super) body: Bytes,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two pieces of an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
/// Before the second try; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl<'a> Web<'a> {
    pub(super) fn new(sources: &'a ModuleSources) -> Self {
        Self { sources, clients: Mutex::default() }
    }

    /// Asks until there is an answer that trying again would not change.
    pub(super) async fn get(&self, ask: Ask<'_>) -> Result<Answer, FetchError> {
        let host = authority(ask.url);
        let client = self.client(host)?;
        let mut pause = PAUSE;
        for tries_left in (0..self.sources.tries_max).rev() {
            let outcome = match timeout_at(ask.deadline, once(&client, host, ask)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failed::passing(late(host, self.sources.fetch_timeout))),
            };
            let failed = match outcome {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let next = Instant::now() + failed.after.unwrap_or_else(|| shaken(pause)).min(PAUSE_MAX);
            if !failed.error.passing || tries_left == 0 || next >= ask.deadline {
                return Err(failed.error);
            }
            tracing::debug!(host, why = failed.error.what(), "a module is not fetched yet, and is asked for again");
            sleep_until(next).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
        Err(FetchError::passing(format!("{host} was not asked")))
    }

    // One for each host, as each has its own trust.
    fn client(&self, host: &str) -> Result<Client, FetchError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(host) {
            return Ok(client.clone());
        }
        let client = client(host, self.sources.hosts.get(host).unwrap_or(&ModuleHost::default()))?;
        clients.insert(host.to_owned(), client.clone());
        Ok(client)
    }

    /// `https`, or `http` where that was asked for.
    pub(super) fn scheme(&self, host: &str) -> &'static str {
        if self.sources.hosts.get(host).is_some_and(|host| host.plain_http) { "http" } else { "https" }
    }
}

/// `HOST` or `HOST:PORT` of an address.
pub(super) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

fn client(name: &str, host: &ModuleHost) -> Result<Client, FetchError> {
    let system = || Arc::new(SystemRoots::load());
    let tls = https(host.ca.as_ref(), system)
        .map_err(|found| FetchError::lasting(found.message, found.hint.unwrap_or_default()))?;
    let plain = host.plain_http;
    let policy = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error("it redirects too often");
        }
        // Only a host that is spoken to without TLS may lead to where there is none, and that is this machine.
        let to = attempt.url();
        let loopback = || to.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "[::1]" | "localhost"));
        if to.scheme() == "https" || plain && loopback() {
            attempt.follow()
        } else {
            attempt.error("it redirects to plain HTTP")
        }
    });
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(IDLE_TIMEOUT)
        .redirect(policy)
        .referer(false)
        .https_only(!plain);
    // What is on this machine is not asked for elsewhere.
    let builder =
        if plain || name.starts_with("127.") || name.starts_with("localhost") { builder.no_proxy() } else { builder };
    builder
        .build()
        .map_err(|error| FetchError::lasting(format!("no HTTP client can be made: {}", chain(&error)), "report it"))
}

struct Failed {
    error: FetchError,
    // What the other side wishes.
    after: Option<Duration>,
}

impl Failed {
    fn passing(what: String) -> Self {
        Self { error: FetchError::passing(what), after: None }
    }
}

fn late(host: &str, timeout: Duration) -> String {
    format!("{host} did not answer whole within {} ms (`fetch-timeout`)", timeout.as_millis())
}

async fn once(client: &Client, host: &str, ask: Ask<'_>) -> Result<Answer, Failed> {
    let mut request = match ask.form {
        None => client.get(ask.url),
        Some(form) => {
            client.post(ask.url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_owned())
        }
    };
    if let Some(accept) = ask.accept {
        request = request.header(header::ACCEPT, accept);
    }
    if let Some(authorization) = ask.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let response = request.send().await.map_err(|error| failed(host, &error))?;
    let status = response.status();
    let text = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT {
        let after = text(header::RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        return Err(Failed { after, ..Failed::passing(format!("{host} answers {status}")) });
    }
    let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    let challenges = challenges.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    let content_type = text(header::CONTENT_TYPE);
    let body = if status == StatusCode::OK { body(host, response, ask.bytes_max).await? } else { Bytes::new() };
    Ok(Answer { status, content_type, challenges, body })
}

async fn body(host: &str, mut response: Response, bytes_max: usize) -> Result<Bytes, Failed> {
    let too_large = |bytes: String| {
        let what = format!("{host} answers with {bytes}, and the limit is {bytes_max} (`module-bytes-max`)");
        Failed { error: FetchError::lasting(what, "make the module smaller, or raise the limit"), after: None }
    };
    if let Some(length) = response.content_length().filter(|length| *length > bytes_max as u64) {
        return Err(too_large(format!("{length} bytes")));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(host, &error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(too_large("more bytes than that".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn failed(host: &str, error: &reqwest::Error) -> Failed {
    let why = chain(error);
    if error.is_redirect() {
        let hint = "name where it leads to itself";
        return Failed { error: FetchError::lasting(format!("{host}: {why}"), hint), after: None };
    }
    if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) = tls(error) {
        let hint = "renew it, correct the clock, or name who signed it as `ca` in `gateway.modules.hosts`";
        let what = format!("the certificate of {host} is refused: {why}");
        return Failed { error: FetchError::lasting(what, hint), after: None };
    }
    let what = if error.is_connect() {
        format!("{host} cannot be reached: {why}")
    } else {
        format!("{host} broke off: {why}")
    };
    Failed::passing(what)
}

// What TLS has against it, if that is why.
fn tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // An I/O error hides what it holds from its chain of causes.
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match held {
        Some(held) => tls(held),
        None => tls(error.source()?),
    }
}

// The innermost cause says what happened; the outer ones repeat the address.
fn chain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

// Many gateways that lost the same registry must not come back together.
fn shaken(pause: Duration) -> Duration {
    let noise = std::hash::BuildHasher::hash_one(&foldhash::fast::RandomState::default(), 0u8) % 512;
    pause.mul_f64(0.75 + noise as f64 / 1024.0)
}
