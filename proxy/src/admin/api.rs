//! The endpoints: which there are, what each asks for, what each answers. Requests and answers are heads and bytes;
//! knows no HTTP server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    control::{Ask, Control},
    guard::{Guard, Refusal, Right, Via},
    query::Query,
    tree,
};
use crate::{
    reload::status::{Attempt, Outcome, Trigger},
    telemetry::log,
};

/// The endpoints of one gateway.
pub(super) struct Api {
    control: Arc<dyn Control>,
    guard: Guard,
}

/// An answer.
pub(super) type Reply = Response<Bytes>;

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    method: Method,
    path: &'static str,
    right: Right,
    action: Action,
    /// Of the request. Over it: 413.
    pub(super) body_bytes_max: usize,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Status,
    Reload,
    Check,
    Ready,
    Live,
    Config,
    Metrics,
    LogLevels,
    SetLogLevel,
    Explain,
    Upstreams,
}

const SMALL_BODY_BYTES_MAX: usize = 16 * 1024;
/// A tree with its modules.
const TREE_BYTES_MAX: usize = 64 * 1024 * 1024;

static ENDPOINTS: [Endpoint; 11] = [
    endpoint(Method::GET, "/-/status", Right::See, Action::Status),
    endpoint(Method::POST, "/-/reload", Right::Change, Action::Reload),
    endpoint(Method::POST, "/-/check", Right::Change, Action::Check),
    endpoint(Method::GET, "/-/ready", Right::Probe, Action::Ready),
    endpoint(Method::GET, "/-/live", Right::Probe, Action::Live),
    endpoint(Method::GET, "/-/config", Right::See, Action::Config),
    endpoint(Method::GET, "/metrics", Right::See, Action::Metrics),
    endpoint(Method::GET, "/-/log-level", Right::See, Action::LogLevels),
    endpoint(Method::PUT, "/-/log-level", Right::Change, Action::SetLogLevel),
    endpoint(Method::GET, "/-/explain", Right::See, Action::Explain),
    endpoint(Method::GET, "/-/upstreams", Right::See, Action::Upstreams),
];

const fn endpoint(method: Method, path: &'static str, right: Right, action: Action) -> Endpoint {
    let body_bytes_max = if matches!(action, Action::Check) { TREE_BYTES_MAX } else { SMALL_BODY_BYTES_MAX };
    Endpoint { method, path, right, action, body_bytes_max }
}

impl Api {
    pub(super) fn new(control: Arc<dyn Control>, guard: Guard) -> Self {
        Self { control, guard }
    }

    /// The endpoint that a head is for, if whoever asks may use it. Decided before a body is read.
    pub(super) fn admit(&self, head: &Parts, via: Via) -> Result<&'static Endpoint, Box<Reply>> {
        Guard::origin(head, via).map_err(|refusal| Box::new(refused(refusal)))?;
        let there: Vec<_> = ENDPOINTS.iter().filter(|endpoint| endpoint.path == head.uri.path()).collect();
        if there.is_empty() {
            let message = format!("no endpoint `{}`: there are {}", head.uri.path(), listed());
            return Err(Box::new(error(StatusCode::NOT_FOUND, &message)));
        }
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let Some(endpoint) = there.iter().find(|endpoint| endpoint.method == *method) else {
            let allowed = there.iter().map(|endpoint| endpoint.method.as_str()).collect::<Vec<_>>().join(", ");
            let message = format!("`{}` takes {allowed}", head.uri.path());
            let mut reply = error(StatusCode::METHOD_NOT_ALLOWED, &message);
            reply.headers_mut().extend(HeaderValue::from_str(&allowed).ok().map(|allowed| (header::ALLOW, allowed)));
            return Err(Box::new(reply));
        };
        self.guard.allow(head, via, endpoint.right).map_err(|refusal| Box::new(refused(refusal)))?;
        Ok(endpoint)
    }

    /// The answer of an endpoint that admitted the head.
    pub(super) async fn answer(&self, endpoint: &Endpoint, head: &Parts, body: &[u8]) -> Reply {
        let query = Query::new(head.uri.query());
        let answered = match endpoint.action {
            Action::Status => query.only(&[]).map(|()| reply(StatusCode::OK, &self.control.status())),
            Action::Reload => self.reload(&query).await,
            Action::Check => self.check(&query, body).await,
            Action::Ready => self.ready(&query),
            Action::Live => query.only(&[]).map(|()| reply(StatusCode::OK, &json!({"live": true}))),
            Action::Config => self.config(&query),
            Action::Metrics => Ok(text("text/plain; version=0.0.4; charset=utf-8", self.control.metrics())),
            Action::LogLevels => query.only(&[]).map(|()| levels(&log::levels_set())),
            Action::SetLogLevel => set_log_level(&query, body),
            Action::Explain => self.explain(&query).await,
            Action::Upstreams => self.upstreams(&query),
        };
        answered.unwrap_or_else(|message| error(StatusCode::BAD_REQUEST, &message))
    }

    async fn reload(&self, query: &Query) -> Result<Reply, String> {
        #[derive(Serialize)]
        struct Reloaded<'a> {
            #[serde(flatten)]
            attempt: &'a Attempt,
            report: &'a str,
        }
        query.only(&["dry_run"])?;
        let attempt = self.control.reload(Trigger::Admin, query.flag("dry_run")?).await;
        let status = match attempt.outcome {
            Outcome::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Outcome::Applied | Outcome::Unchanged => StatusCode::OK,
        };
        Ok(reply(status, &Reloaded { attempt: &attempt, report: &attempt.report }))
    }

    async fn check(&self, query: &Query, body: &[u8]) -> Result<Reply, String> {
        query.only(&[])?;
        let diagnostics = self.control.check(tree::parse(body)?).await;
        let valid = !diagnostics.iter().any(|diagnostic| diagnostic.is_error());
        let status = if valid { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        Ok(reply(status, &json!({"valid": valid, "diagnostics": diagnostics})))
    }

    // A gateway whose source is away serves as well as before: only who asks strictly is told to go elsewhere.
    fn ready(&self, query: &Query) -> Result<Reply, String> {
        query.only(&["strict"])?;
        let strict = query.flag("strict")?;
        Ok(match self.control.ready() {
            Ok(degraded) if degraded.is_empty() => reply(StatusCode::OK, &json!({"ready": true})),
            Ok(degraded) => {
                let status = if strict { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                reply(status, &json!({"ready": !strict, "degraded": degraded}))
            }
            Err(reason) => reply(StatusCode::SERVICE_UNAVAILABLE, &json!({"ready": false, "reason": reason})),
        })
    }

    fn config(&self, query: &Query) -> Result<Reply, String> {
        query.only(&["explain"])?;
        Ok(text("application/yaml; charset=utf-8", self.control.config(query.flag("explain")?)))
    }

    fn upstreams(&self, query: &Query) -> Result<Reply, String> {
        query.only(&["name"])?;
        let name = query.value("name");
        let mut all = self.control.upstreams();
        all.retain(|upstream| name.is_none_or(|name| *upstream.name == *name));
        Ok(reply(StatusCode::OK, &json!({ "upstreams": all })))
    }

    async fn explain(&self, query: &Query) -> Result<Reply, String> {
        query.only(&["method", "url", "header", "listener"])?;
        let method = query.value("method").unwrap_or("GET");
        let url = query.value("url").ok_or("`url` is missing: /-/explain?method=GET&url=http://host/path")?;
        let headers = query.values("header").map(field).collect::<Result<HeaderMap, _>>()?;
        let ask = Ask {
            method: method.parse().map_err(|_| format!("`{method}` is no method"))?,
            url: url.parse().map_err(|why| format!("`{url}` is no URL: {why}"))?,
            headers,
            listener: query.value("listener").map(str::to_owned),
        };
        Ok(reply(StatusCode::OK, &self.control.explain(&ask).await?))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedLevel {
    target: Option<String>,
    level: Option<String>,
    ttl: Option<Value>,
}

fn set_log_level(query: &Query, body: &[u8]) -> Result<Reply, String> {
    query.only(&[])?;
    let asked: AskedLevel = serde_json::from_slice(body)
        .map_err(|why| format!("the body is {{\"target\": …, \"level\": …, \"ttl\": …}}: {why}"))?;
    let ttl = asked.ttl.as_ref().filter(|ttl| !ttl.is_null()).map(duration).transpose()?;
    Ok(levels(&log::set_level(asked.target.as_deref(), asked.level.as_deref(), ttl)?))
}

// Seconds as a number, or `30s`, `10m`, `1h`.
fn duration(ttl: &Value) -> Result<Duration, String> {
    let named = ttl.as_str().and_then(|text| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = [("s", 1), ("m", 60), ("h", 3600)].into_iter().find(|(name, _)| *name == unit)?.1;
        number.parse::<u32>().ok().map(|number| u64::from(number) * seconds)
    });
    let seconds = named.or_else(|| ttl.as_u64().filter(|seconds| u32::try_from(*seconds).is_ok()));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`ttl` is seconds, or like 30s, 10m, 1h; not {ttl}"))
}

fn field(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is no header field: NAME: VALUE"))?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no header name"))?;
    let value = value.trim().parse().map_err(|_| format!("`{value}` is no header value"))?;
    Ok((name, value))
}

fn levels(set: &[log::Level]) -> Reply {
    reply(StatusCode::OK, &json!({"levels": set}))
}

fn listed() -> String {
    let paths: Vec<_> = ENDPOINTS.iter().map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
    paths.join(", ")
}

fn refused(Refusal(status, message): Refusal) -> Reply {
    let mut reply = error(status, message);
    if status == StatusCode::UNAUTHORIZED {
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

/// An error as every endpoint answers it.
pub(super) fn error(status: StatusCode, message: &str) -> Reply {
    reply(status, &json!({"error": message}))
}

fn reply(status: StatusCode, body: &impl Serialize) -> Reply {
    let mut bytes = serde_json::to_vec_pretty(body).expect("what we answer has string keys only, so it serialises");
    bytes.push(b'\n');
    finished(status, "application/json", bytes.into())
}

fn text(kind: &'static str, body: String) -> Reply {
    finished(StatusCode::OK, kind, body.into())
}

fn finished(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_taken_or_refused() {
        for (ttl, seconds) in [
            (json!(30), Some(30)),
            (json!("30s"), Some(30)),
            (json!("10m"), Some(600)),
            (json!("2h"), Some(7200)),
            (json!("30"), None),
            (json!("s"), None),
            (json!(""), None),
            (json!("30µ"), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(u64::MAX), None),
        ] {
            assert_eq!(duration(&ttl).ok(), seconds.map(Duration::from_secs), "{ttl}");
        }
    }
}
