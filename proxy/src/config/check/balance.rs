//! Checks how endpoints are found, chosen, ejected and bound to. Knows nothing of how that is done.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{scope::Scope, values};
use crate::config::{
    node::Pos,
    raw::{self, Field},
    spec::{Affinity, Balance, Dns, Ejection, Endpoint, HashKey, Panic, Resolve, Secret, SuccessRate},
};

pub(super) fn endpoints(scope: &mut Scope<'_>, forms: Vec<Field<raw::EndpointForm>>) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut seen: HashMap<String, Pos> = HashMap::new();
    for (form, pos) in forms.into_iter().filter_map(Field::spot) {
        let map = match form {
            raw::EndpointForm::Text(text) => {
                raw::Endpoint { address: Field::Given(text, pos), ..raw::Endpoint::default() }
            }
            raw::EndpointForm::Map(map) => map,
        };
        let Some((endpoint, pos)) = endpoint(scope, map, pos) else { continue };
        if let Some(first) = seen.insert(endpoint.address.clone(), pos) {
            let hint = "remove one of them; a larger share is a `weight`";
            let message = format!("the endpoint `{}` is listed twice", endpoint.address);
            scope.error("duplicate-endpoint", pos, message, hint);
            scope.relate(first, "first listed here");
            continue;
        }
        endpoints.push(endpoint);
    }
    endpoints
}

fn endpoint(scope: &mut Scope<'_>, raw: raw::Endpoint, pos: Pos) -> Option<(Endpoint, Pos)> {
    if raw.address.is_absent() && raw.srv.is_absent() {
        scope.missing("address", pos, "an endpoint is `HOST:PORT`, or a map with `address` and `weight`");
    }
    if let (Some(_), Some(srv)) = (raw.address.pos(), raw.srv.pos()) {
        let hint = "an SRV record says the addresses and ports; remove one of the two";
        scope.error("conflicting-fields", srv, "an endpoint has an `address` or an `srv`, not both", hint);
        return None;
    }
    let each = raw.resolve.pos();
    let resolve = match raw.resolve.value() {
        Some(raw::Resolve::Each) => Resolve::Each,
        Some(raw::Resolve::Any) | None => Resolve::Any,
    };
    let (address, resolve, pos) = match (raw.address.spot(), raw.srv.spot()) {
        (Some((text, pos)), _) => (values::address(scope, &text, pos)?, resolve, pos),
        (None, Some((text, pos))) => (service(scope, &text, pos)?, Resolve::Srv, pos),
        (None, None) => return None,
    };
    if let (Resolve::Srv, Some(pos)) = (resolve, each.filter(|_| resolve == Resolve::Srv)) {
        scope.error("conflicting-fields", pos, "`resolve` goes with `address`", "with `srv`, each address is one");
    }
    // An address is all that it resolves to.
    let literal = address.parse::<SocketAddr>().is_ok();
    let resolve = if literal { Resolve::Any } else { resolve };
    let zone = raw.zone.spot().and_then(|(zone, pos)| {
        if zone.is_empty() {
            scope.error("bad-zone", pos, "the name of a zone is empty", "write its name, such as `eu-west-1a`");
        }
        (!zone.is_empty()).then_some(zone)
    });
    Some((Endpoint { address, resolve, weight: raw.weight.or(1), priority: raw.priority.value(), zone }, pos))
}

// The name of a service, as RFC 2782 has it.
fn service(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    values::host(scope, text.strip_suffix('.').unwrap_or(text), pos)
}

pub(super) fn balance(scope: &mut Scope<'_>, field: Field<raw::BalanceForm>) -> Balance {
    let decay = Duration::from_secs(10);
    match field.spot() {
        None | Some((raw::BalanceForm::Text(raw::Policy::RoundRobin), _)) => Balance::RoundRobin,
        Some((raw::BalanceForm::Text(raw::Policy::LeastRequest), _)) => Balance::LeastRequest,
        Some((raw::BalanceForm::Text(raw::Policy::PeakEwma), _)) => Balance::PeakEwma { decay },
        Some((raw::BalanceForm::Map(map), pos)) => configured(scope, *map, pos, decay),
    }
}

fn configured(scope: &mut Scope<'_>, map: raw::Balance, pos: Pos, decay: Duration) -> Balance {
    let bound = map.load_max.pos();
    let load_percent_max = map.load_max.spot().and_then(|(raw::Percent(percent), pos)| {
        if percent < 100 {
            let message = format!("no endpoint can keep below {percent}% of the average");
            scope.error("out-of-range", pos, message, "the least is `100%`; `125%` is a good choice");
        }
        (percent >= 100).then_some(percent)
    });
    match (map.hash.spot(), map.peak_ewma.spot()) {
        (Some((form, pos)), None) => Balance::Hash { keys: keys(scope, form, pos), load_percent_max },
        (None, Some((raw, _))) => {
            if let Some(pos) = bound {
                scope.error("conflicting-fields", pos, "`load-max` goes with `hash`", "remove it");
            }
            Balance::PeakEwma { decay: values::period(scope, raw.decay, decay) }
        }
        _ => {
            let hint = "for the others write their name alone: `balance: least-request`";
            if scope.is_sound() {
                scope.error("bad-balance", pos, "`balance` has exactly one of `hash` and `peak-ewma`", hint);
            }
            Balance::RoundRobin
        }
    }
}

fn keys(scope: &mut Scope<'_>, form: raw::HashForm, pos: Pos) -> Vec<HashKey> {
    let sources = match form {
        raw::HashForm::Text(word) => vec![(raw::HashSource::Text(word), pos)],
        raw::HashForm::Map(map) => vec![(raw::HashSource::Map(map), pos)],
        raw::HashForm::List(list) => list.into_iter().filter_map(Field::spot).collect(),
    };
    if sources.is_empty() && scope.is_sound() {
        scope.error("bad-balance", pos, "there is no key to hash", "list `client-ip`, `path` or `{header: NAME}`");
    }
    let keys = sources.into_iter().filter_map(|(source, pos)| match source {
        raw::HashSource::Text(raw::HashWord::ClientIp) => Some(HashKey::ClientIp),
        raw::HashSource::Text(raw::HashWord::Path) => Some(HashKey::Path),
        raw::HashSource::Map(map) => named_key(scope, map, pos),
    });
    keys.collect()
}

fn named_key(scope: &mut Scope<'_>, map: raw::HashName, pos: Pos) -> Option<HashKey> {
    match (map.header.spot(), map.cookie.spot(), map.query.spot()) {
        (Some((text, pos)), None, None) => values::header_name(scope, &text, pos).map(HashKey::Header),
        (None, Some((text, pos)), None) => cookie_name(scope, &text, pos).map(HashKey::Cookie),
        (None, None, Some((text, _))) => Some(HashKey::Query(text)),
        _ => {
            if scope.is_sound() {
                let hint = "write `{header: x-user}`, `{cookie: session}` or `{query: id}`";
                scope.error("bad-balance", pos, "a key is exactly one of `header`, `cookie` and `query`", hint);
            }
            None
        }
    }
}

// RFC 6265 section 4.1.1: a cookie's name is a token.
fn cookie_name(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let valid = !text.is_empty() && text.bytes().all(token);
    if !valid {
        let hint = "it is made of letters, digits and `-`, `_`, `.`";
        scope.error("bad-cookie", pos, format!("`{text}` is not the name of a cookie"), hint);
    }
    valid.then(|| text.to_owned())
}

/// A share that is 100% at most.
pub(super) fn share(scope: &mut Scope<'_>, field: Field<raw::Percent>, default: u32) -> u32 {
    let Some((raw::Percent(percent), pos)) = field.spot() else { return default };
    if percent > 100 {
        scope.error("out-of-range", pos, format!("{percent}% is more than all"), "the most is `100%`");
        return default;
    }
    percent
}

pub(super) fn panic(scope: &mut Scope<'_>, field: Field<raw::Text>) -> Panic {
    let Some((raw::Text(text), pos)) = field.spot() else { return Panic::Below(0) };
    if text == "never" {
        return Panic::Never;
    }
    match text.strip_suffix('%').and_then(|number| number.parse().ok()) {
        Some(percent @ 0..=100) => Panic::Below(percent),
        _ => {
            let hint = "write a share such as `50%`, or `never`";
            scope.error("bad-share", pos, format!("`{text}` is not a share of the endpoints"), hint);
            Panic::Below(0)
        }
    }
}

pub(super) fn ejection(scope: &mut Scope<'_>, raw: raw::Ejection) -> Ejection {
    let success_rate = raw.success_rate.value().map(|rate| SuccessRate {
        deviations_thousandths: thousandths(scope, rate.deviations, 1900),
        requests_min: values::number(scope, rate.requests_min, 1, 100),
        endpoints_min: values::number(scope, rate.endpoints_min, 2, 5),
    });
    let base_time = values::period(scope, raw.base_time, Duration::from_secs(30));
    let longest = raw.time_max.pos();
    let time_max = values::period(scope, raw.time_max, Duration::from_secs(300).max(base_time));
    if let Some(pos) = longest.filter(|_| time_max < base_time) {
        let hint = "make `time-max` as long at least";
        scope.error("out-of-range", pos, "no ejection may last as long as `base-time` says", hint);
    }
    Ejection {
        consecutive_errors: raw.consecutive_errors.or(5),
        consecutive_gateway_errors: raw.consecutive_gateway_errors.or(0),
        success_rate,
        interval: values::period(scope, raw.interval, Duration::from_secs(10)),
        base_time,
        time_max,
        percent_max: share(scope, raw.percent_max, 50),
    }
}

fn thousandths(scope: &mut Scope<'_>, field: Field<raw::Text>, default: u32) -> u32 {
    let Some((raw::Text(text), pos)) = field.spot() else { return default };
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1000.0).contains(number));
    let Some(number) = number else {
        let hint = "write a number such as `1.9`";
        scope.error("bad-number", pos, format!("`{text}` is not a number from 0 to 1000"), hint);
        return default;
    };
    (number * 1000.0) as u32
}

pub(super) fn affinity(scope: &mut Scope<'_>, raw: raw::Affinity) -> Option<Affinity> {
    let cookie = match raw.cookie.spot() {
        Some((text, pos)) => cookie_name(scope, &text, pos)?,
        None => "tidegate-affinity".to_owned(),
    };
    let path = match raw.path.spot() {
        Some((text, pos)) => {
            let valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
            if !valid {
                scope.error("bad-path", pos, format!("`{text}` is not the path of a cookie"), "write it as `/api`");
                return None;
            }
            text
        }
        None => "/".to_owned(),
    };
    let secure_at = raw.secure.pos();
    let secure = raw.secure.value();
    let same_site = match raw.same_site.value() {
        Some(raw::SameSite::Strict) => "strict",
        Some(raw::SameSite::None) => "none",
        Some(raw::SameSite::Lax) | None => "lax",
    };
    if let (Some(false), Some(pos), "none") = (secure, secure_at, same_site) {
        let hint = "browsers refuse it; leave `secure` out";
        scope.error("bad-cookie", pos, "a cookie with `same-site: none` must be secure", hint);
    }
    let ttl = raw.ttl.spot().map(|(period, pos)| values::period(scope, Field::Given(period, pos), Duration::ZERO));
    let secret = raw.secret.spot().map(|(raw::Text(text), pos)| Secret(scope.reveal(&text, pos)));
    let shown = match same_site {
        "strict" => "Strict",
        "none" => "None",
        _ => "Lax",
    };
    let age = ttl.map(|ttl| format!("; Max-Age={}", ttl.as_secs().max(1))).unwrap_or_default();
    let attributes = format!("; Path={path}{age}; HttpOnly; SameSite={shown}");
    let secure = if same_site == "none" { Some(true) } else { secure };
    Some(Affinity { cookie, attributes, secure, secret, ttl, path, same_site })
}

pub(super) fn dns(scope: &mut Scope<'_>, raw: raw::Dns) -> Dns {
    let default = Dns::default();
    let servers = raw.servers.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    let servers = servers.filter_map(|(text, pos)| {
        let address = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::from((ip, 53))));
        if address.is_none() {
            let hint = "write it as `10.0.0.53` or `10.0.0.53:5353`";
            scope.error("bad-address", pos, format!("`{text}` is not the address of a name server"), hint);
        }
        address
    });
    let servers = servers.collect();
    let least = raw.ttl_max.pos();
    let ttl_min = values::period(scope, raw.ttl_min, default.ttl_min);
    let ttl_max = values::period(scope, raw.ttl_max, default.ttl_max.max(ttl_min));
    if let Some(pos) = least.filter(|_| ttl_max < ttl_min) {
        scope.error("out-of-range", pos, "`ttl-max` is less than `ttl-min`", "make it as long at least");
    }
    Dns { servers, ttl_min, ttl_max, timeout: values::period(scope, raw.timeout, default.timeout) }
}
