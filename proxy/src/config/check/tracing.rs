//! Checks what is said of traces. Knows nothing of spans.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri, uri::Scheme};

use super::{scope::Scope, tls, values};
use crate::config::{
    node::Pos,
    raw::{self, Entries, Field, Text},
    spec::{Export, Otlp, Sample, Tracing, UpstreamTls},
};

/// The `tracing` setting.
pub(super) fn tracing(scope: &mut Scope<'_>, field: Field<raw::Tracing>) -> Option<Tracing> {
    let (raw, pos) = field.spot()?;
    let missing = raw.otlp.is_absent();
    let Some((collector, at)) = raw.otlp.spot() else {
        if missing {
            scope.missing("otlp", pos, "say where spans go: `otlp: {endpoint: http://127.0.0.1:4317}`");
        }
        return None;
    };
    let otlp = otlp(scope, collector, at);
    let mut resource = vec![("service.name".to_owned(), raw.service_name.or("tidegate".to_owned()))];
    for (name, pos, value) in raw.resource_attributes.value().map(|Entries(all)| all).unwrap_or_default() {
        if name == "service.name" {
            scope.error("bad-resource", pos, "`service.name` has a field of its own", "write it as `service-name`");
        }
        resource.extend(value.spot().map(|(Text(text), at)| (name, scope.reveal(&text, at))));
    }
    let queue_spans_max = values::number(scope, raw.queue_spans_max, 1, 8192);
    let batch_spans_max = values::number(scope, raw.batch_spans_max, 1, 512);
    let schedule_delay = raw.schedule_delay.value().map_or(Duration::from_secs(5), |raw::Period(delay)| delay);
    let sample = sample(scope, raw.sample.or(raw::Sample::default()));
    let export = Export { otlp: otlp?, resource, queue_spans_max, batch_spans_max, schedule_delay };
    Some(Tracing { sample: sample?, export })
}

fn sample(scope: &mut Scope<'_>, raw: raw::Sample) -> Option<Sample> {
    let follow_parent = matches!(raw.parent.or(raw::SampleParent::Follow), raw::SampleParent::Follow);
    let Some((ratio, pos)) = raw.ratio.spot() else { return Some(Sample { ratio: 1.0, follow_parent }) };
    if !(0.0..=1.0).contains(&ratio) {
        scope.error("out-of-range", pos, format!("{ratio} is not a share of all"), "0 to 1, such as 0.05 for 5 %");
        return None;
    }
    Some(Sample { ratio, follow_parent })
}

fn otlp(scope: &mut Scope<'_>, raw: raw::Otlp, at: Pos) -> Option<Otlp> {
    let grpc = matches!(raw.protocol.or(raw::OtlpProtocol::Grpc), raw::OtlpProtocol::Grpc);
    let headers = headers(scope, raw.headers);
    let timeout = raw.timeout.value().map_or(Duration::from_secs(10), |raw::Period(timeout)| timeout);
    let own = tls::upstream(scope, raw.tls);
    let absent = raw.endpoint.is_absent();
    let Some((endpoint, pos)) = raw.endpoint.spot() else {
        if absent {
            scope.missing("endpoint", at, HINT);
        }
        return None;
    };
    let (secure, uri) = url(scope, &endpoint, pos)?;
    let port = uri.port_u16().unwrap_or(if grpc { 4317 } else { 4318 });
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = if grpc { GRPC_PATH.to_owned() } else { http_path(uri.path()) };
    if own.is_some() && !secure {
        scope.error("tls-unused", pos, "this URL is `http`, and `tls` is set", "write `https://`, or remove `tls`");
        return None;
    }
    let tls = secure.then(|| own.unwrap_or_else(|| UpstreamTls::of_system(scope.place(pos))));
    Some(Otlp { grpc, host, port, path, endpoint, headers, timeout, tls })
}

const HINT: &str = "write its URL, such as `http://127.0.0.1:4317`";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

fn url(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<(bool, Uri)> {
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let plain = |uri: &Uri| uri.query().is_none() && uri.authority().is_some_and(|all| !all.as_str().contains('@'));
    let secure = uri.as_ref().filter(|uri| plain(uri)).and_then(|uri| match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => Some(false),
        Some(scheme) if *scheme == Scheme::HTTPS => Some(true),
        _ => None,
    });
    if secure.is_none() {
        scope.error("bad-endpoint", pos, format!("`{text}` is not the URL of a collector"), HINT);
    }
    secure.zip(uri)
}

// A base URL, or the whole one: OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
fn http_path(path: &str) -> String {
    let base = path.trim_end_matches('/');
    if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
}

fn headers(scope: &mut Scope<'_>, field: Field<Entries<Text>>) -> Vec<(HeaderName, HeaderValue)> {
    let Entries(all) = field.value().unwrap_or_default();
    let mut headers = Vec::new();
    for (name, pos, value) in all {
        let name = values::header_name(scope, &name, pos);
        let value = value.spot().and_then(|(text, at)| values::header_value(scope, &text, at));
        let Some((name, value)) = name.zip(value) else { continue };
        if OURS.contains(&name.as_str()) {
            scope.error("bad-header", pos, format!("`{name}` is part of how batches are sent"), "leave it out");
            continue;
        }
        headers.push((name, value));
    }
    headers
}

const OURS: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
