//! Renders how endpoints are found and chosen.

use super::{Fields, Out, Written, period, texts};
use crate::config::spec::{Affinity, Balance, Dns, Ejection, Endpoint, HashKey, HealthCheck, Panic, Probe, Resolve};

pub(super) fn endpoint(endpoint: &Endpoint) -> Out {
    if *endpoint == Endpoint::new(endpoint.address.clone()) {
        return Out::text(&endpoint.address);
    }
    let mut entries = Vec::new();
    let mut put = |name: &str, out: Out| entries.push((name.to_owned(), out, None));
    put(if endpoint.resolve == Resolve::Srv { "srv" } else { "address" }, Out::text(&endpoint.address));
    if endpoint.resolve == Resolve::Each {
        put("resolve", Out::text("each"));
    }
    put("weight", Out::plain(endpoint.weight));
    endpoint.priority.iter().for_each(|priority| put("priority", Out::plain(priority)));
    endpoint.zone.iter().for_each(|zone| put("zone", Out::text(zone)));
    Out::Map(entries)
}

pub(super) fn balance(balance: &Balance) -> Out {
    let one = |name: &str, out: Out| (name.to_owned(), out, None);
    match balance {
        Balance::RoundRobin => Out::text("round-robin"),
        Balance::LeastRequest => Out::text("least-request"),
        Balance::PeakEwma { decay } => Out::Map(vec![one("peak-ewma", Out::Map(vec![one("decay", period(*decay))]))]),
        Balance::Hash { keys, load_percent_max } => {
            let key = |key: &HashKey| match key {
                HashKey::ClientIp => Out::text("client-ip"),
                HashKey::Path => Out::text("path"),
                HashKey::Header(name) => Out::Map(vec![one("header", Out::text(name.as_str()))]),
                HashKey::Cookie(name) => Out::Map(vec![one("cookie", Out::text(name))]),
                HashKey::Query(name) => Out::Map(vec![one("query", Out::text(name))]),
            };
            let mut entries = vec![one("hash", Out::List(keys.iter().map(key).collect()))];
            entries.extend(load_percent_max.map(|percent| one("load-max", share(percent))));
            Out::Map(entries)
        }
    }
}

/// A share, as people write it.
pub(super) fn share(percent: u32) -> Out {
    Out::text(&format!("{percent}%"))
}

pub(super) fn panic(panic: Panic) -> Out {
    match panic {
        Panic::Never => Out::text("never"),
        Panic::Below(percent) => share(percent),
    }
}

pub(super) fn ejection<'a>(written: Written<'a>, ejection: &Ejection) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("consecutive-errors", Out::plain(ejection.consecutive_errors));
    fields.put("consecutive-gateway-errors", Out::plain(ejection.consecutive_gateway_errors));
    if let Some(rate) = &ejection.success_rate {
        let mut inner = Fields::of(fields.written("success-rate"));
        inner.put("deviations", Out::plain(f64::from(rate.deviations_thousandths) / 1000.0));
        inner.put("requests-min", Out::plain(rate.requests_min));
        inner.put("endpoints-min", Out::plain(rate.endpoints_min));
        fields.map("success-rate", inner);
    }
    fields.put("interval", period(ejection.interval));
    fields.put("base-time", period(ejection.base_time));
    fields.put("time-max", period(ejection.time_max));
    fields.put("percent-max", share(ejection.percent_max));
    fields
}

pub(super) fn health_check<'a>(written: Written<'a>, check: &HealthCheck) -> Fields<'a> {
    let mut fields = Fields::of(written);
    match &check.probe {
        Probe::Http { path, method, host, status, headers } => {
            fields.put("path", Out::text(path));
            fields.put("method", Out::text(method.as_str()));
            fields.maybe("host", host.as_deref().map(Out::text));
            fields.put("status", texts(status.iter().map(|(from, to)| format!("{from}-{to}"))));
            let given = fields.written("headers");
            let entry = |(name, value): &(http::HeaderName, http::HeaderValue)| {
                let shown = given.field(&[name.as_str()]).text(&String::from_utf8_lossy(value.as_bytes()));
                (name.to_string(), shown, None)
            };
            if !headers.is_empty() {
                fields.put("headers", Out::Map(headers.iter().map(entry).collect()));
            }
        }
        Probe::Grpc { service, host } => {
            fields.put("grpc", Out::Map(vec![("service".to_owned(), Out::text(service), None)]));
            fields.maybe("host", host.as_deref().map(Out::text));
        }
        Probe::Tcp => fields.put("tcp", Out::plain(true)),
    }
    fields.maybe("port", check.port.map(Out::plain));
    fields.put("interval", period(check.interval));
    fields.put("unhealthy-interval", period(check.unhealthy_interval));
    fields.put("jitter", share(check.jitter_percent));
    fields.put("timeout", period(check.timeout));
    fields.put("unhealthy-after", Out::plain(check.unhealthy_after));
    fields.put("healthy-after", Out::plain(check.healthy_after));
    fields.put("initially", Out::text(if check.initially_healthy { "healthy" } else { "unhealthy" }));
    fields
}

pub(super) fn affinity<'a>(written: Written<'a>, affinity: &Affinity) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("cookie", Out::text(&affinity.cookie));
    fields.maybe("ttl", affinity.ttl.map(period));
    fields.put("path", Out::text(&affinity.path));
    fields.put("same-site", Out::text(affinity.same_site));
    fields.maybe("secure", affinity.secure.map(Out::plain));
    let secret = affinity.secret.as_ref().map(|_| Out::text("***"));
    fields.maybe("secret", secret);
    fields
}

pub(super) fn dns<'a>(written: Written<'a>, dns: &Dns) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("servers", texts(&dns.servers));
    fields.put("ttl-min", period(dns.ttl_min));
    fields.put("ttl-max", period(dns.ttl_max));
    fields.put("timeout", period(dns.timeout));
    fields
}
