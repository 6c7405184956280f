//! Prometheus text, version 0.0.4: every family with its help and type, then its samples. Knows the format and which
//! family each count belongs to.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    CacheOutcome, GateOutcome, GuestKind, Metrics, MirrorOutcome, PluginSeries, ProxyOutcome, RouteSeries, TrapKind,
    admission, endpoints, fetches, process,
    registry::Registry,
    shard::{Codes, Distribution, Kinds},
    tries,
};
use crate::{
    config::spec::TlsVersion,
    telemetry::names::{self, Family, OTHER, Shape},
    tls::Refusal,
};

/// The whole exposition.
pub(super) fn text(metrics: &Metrics) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    routes(metrics, &mut page);
    upstreams(metrics, &mut page);
    plugins(metrics, &mut page);
    guests(metrics, &mut page);
    tables(metrics, &mut page);
    mirrors(metrics, &mut page);
    gates(metrics, &mut page);
    caches(metrics, &mut page);
    listeners(metrics, &mut page);
    reloads(metrics, &mut page);
    rest(metrics, &mut page);
    page.0
}

fn routes(metrics: &Metrics, page: &mut Page) {
    let all: Vec<(Box<str>, Arc<RouteSeries>)> = metrics.routes.all();
    page.family(names::REQUESTS, |to| {
        for (id, series) in &all {
            codes(to, id, series.0.written().map(|shard| &shard.codes));
        }
    });
    page.family(names::REQUEST_ERRORS, |to| {
        for (id, series) in &all {
            kinds(to, id, series.0.written().map(|shard| &shard.errors));
        }
    });
    page.family(names::REQUEST_DURATION, |to| {
        for (id, series) in &all {
            to.histogram(&[id], &Distribution::of(series.0.written().map(|shard| &shard.duration)));
        }
    });
    page.each(names::REQUEST_BYTES, &all, |series| series.0.sum(|shard| &shard.request_bytes));
    page.each(names::RESPONSE_BYTES, &all, |series| series.0.sum(|shard| &shard.response_bytes));
}

fn upstreams(metrics: &Metrics, page: &mut Page) {
    let all = metrics.upstreams.all();
    page.family(names::UPSTREAM_REQUESTS, |to| {
        for (name, series) in &all {
            codes(to, name, series.shards.written().map(|shard| &shard.codes));
        }
    });
    page.family(names::UPSTREAM_ERRORS, |to| {
        for (name, series) in &all {
            kinds(to, name, series.shards.written().map(|shard| &shard.errors));
        }
    });
    page.family(names::UPSTREAM_DURATION, |to| {
        for (name, series) in &all {
            to.histogram(&[name], &Distribution::of(series.shards.written().map(|shard| &shard.duration)));
        }
    });
    page.each(names::UPSTREAM_IN_FLIGHT, &all, |series| series.shards.level(|shard| &shard.in_flight));
    page.each(names::UPSTREAM_CONNECTS, &all, |series| series.shards.sum(|shard| &shard.connects));
    page.each(names::UPSTREAM_CONNECTIONS, &all, |series| series.shards.level(|shard| &shard.connections));
    page.each(names::UPSTREAM_REUSES, &all, |series| series.shards.sum(|shard| &shard.reuses));
    tries::render(&all, page);
    admission::render(&all, page);
    endpoints::families(metrics, page);
}

fn plugins(metrics: &Metrics, page: &mut Page) {
    let all = metrics.plugins.all();
    let [calls, errors, duration] = [names::PLUGIN_CALLS, names::PLUGIN_ERRORS, names::PLUGIN_DURATION];
    called(page, &all, [calls, errors, duration, names::PLUGIN_TRAPS, names::PLUGIN_GUESTS]);
    page.each(names::PLUGIN_MEMORY, &all, |series| series.0.level(|shard| &shard.memory));
    page.each(names::PLUGIN_INSTANTIATIONS, &all, |series| series.0.sum(|shard| &shard.instantiations));
}

// What is counted of everything that runs in guests.
fn called(page: &mut Page, all: &[(Box<str>, Arc<PluginSeries>)], families: [Family; 5]) {
    let [calls, errors, duration, traps, guests] = families;
    page.each(calls, all, |series| series.0.sum(|shard| &shard.calls));
    page.family(errors, |to| {
        for (name, series) in all {
            kinds(to, name, series.0.written().map(|shard| &shard.errors));
        }
    });
    page.family(duration, |to| {
        for (name, series) in all {
            to.histogram(&[name], &Distribution::of(series.0.written().map(|shard| &shard.duration)));
        }
    });
    page.family(traps, |to| {
        for (name, series) in all {
            for kind in TrapKind::ALL {
                let count = series.0.sum(|shard| &shard.traps[kind as usize]);
                if count > 0 || kind == TrapKind::Unreachable {
                    to.sample(&[name, kind.name()], count);
                }
            }
        }
    });
    page.each(guests, all, |series| series.0.level(|shard| &shard.guests));
}

fn guests(metrics: &Metrics, page: &mut Page) {
    let of = |kind| metrics.guests.all(kind);
    page.family(names::GUEST_COUNTER, |to| {
        of(GuestKind::Counter).iter().for_each(|(plugin, name, metric)| to.sample(&[plugin, name], metric.count()));
    });
    page.family(names::GUEST_GAUGE, |to| {
        of(GuestKind::Gauge).iter().for_each(|(plugin, name, metric)| to.sample(&[plugin, name], metric.level()));
    });
    page.family(names::GUEST_HISTOGRAM, |to| {
        for (plugin, name, metric) in of(GuestKind::Histogram) {
            to.histogram(&[&plugin, &name], &metric.distribution());
        }
    });
    page.one(names::GUEST_REFUSED, metrics.guests.refused());
    page.one(names::MODULES_COMPILED, metrics.modules_compiled());
    fetches::families(metrics, page);
}

fn tables(metrics: &Metrics, page: &mut Page) {
    let [calls, errors, duration] = [names::TABLE_CALLS, names::TABLE_ERRORS, names::TABLE_DURATION];
    let all = metrics.tables.all();
    called(page, &all, [calls, errors, duration, names::TABLE_TRAPS, names::TABLE_GUESTS]);
    page.each(names::TABLE_MEMORY, &all, |series| series.0.level(|shard| &shard.memory));
}

fn listeners(metrics: &Metrics, page: &mut Page) {
    let all = metrics.listeners.all();
    page.each(names::CONNECTIONS_ACCEPTED, &all, |series| series.0.sum(|shard| &shard.accepted));
    page.each(names::CONNECTIONS, &all, |series| series.0.level(|shard| &shard.open));
    page.each(names::CONNECTIONS_RESTING, &all, |series| series.0.level(|shard| &shard.resting));
    page.family(names::CONNECTIONS_REJECTED, |to| {
        for (name, series) in &all {
            to.sample(&[name, "limit"], series.0.sum(|shard| &shard.over_limit));
            to.sample(&[name, "accept"], series.0.sum(|shard| &shard.accept_errors));
        }
    });
    page.family(names::CONNECTION_ERRORS, |to| {
        for (name, series) in &all {
            kinds(to, name, series.0.written().map(|shard| &shard.errors));
        }
    });
    page.family(names::TLS_HANDSHAKES, |to| {
        for (name, series) in &all {
            for (version, kind, resumed) in HANDSHAKES {
                let at = (version as usize, usize::from(resumed));
                let count = series.0.sum(|shard| &shard.handshakes[at.0][at.1]);
                to.sample(&[name, version.name(), kind], count);
            }
        }
    });
    page.family(names::TLS_HANDSHAKES_FAILED, |to| {
        for (name, series) in &all {
            for refusal in Refusal::ALL {
                let count = series.0.sum(|shard| &shard.handshakes_failed[refusal as usize]);
                to.sample(&[name, refusal.name()], count);
            }
        }
    });
    page.family(names::TLS_CERTIFICATE_EXPIRY, |to| {
        for (listener, named, at) in &metrics.reloads().certificates {
            to.sample(&[listener, named], at);
        }
    });
    page.family(names::PROXY_HEADERS, |to| {
        for (name, series) in &all {
            let count = |outcome: ProxyOutcome| series.0.sum(|shard| &shard.proxied[outcome as usize]);
            let counts = ProxyOutcome::ALL.map(|outcome| (outcome.name(), count(outcome)));
            counts
                .iter()
                .filter(|(_, count)| *count > 0)
                .for_each(|(outcome, count)| to.sample(&[name, outcome], count));
        }
    });
    page.each(names::TUNNELS_OPENED, &all, |series| series.0.sum(|shard| &shard.tunnels));
    page.each(names::TUNNELS, &all, |series| series.0.level(|shard| &shard.tunnels_open));
}

fn mirrors(metrics: &Metrics, page: &mut Page) {
    page.family(names::MIRRORS, |to| {
        for (name, series) in metrics.mirrors.all() {
            MirrorOutcome::ALL.iter().for_each(|outcome| to.sample(&[&name, outcome.name()], series.count(*outcome)));
        }
    });
}

fn caches(metrics: &Metrics, page: &mut Page) {
    let all = metrics.caches.all();
    page.family(names::CACHE_REQUESTS, |to| {
        for (name, series) in &all {
            CacheOutcome::ALL.iter().for_each(|outcome| to.sample(&[name, outcome.name()], series.count(*outcome)));
        }
    });
    page.family(names::CACHE_BYTES, |to| all.iter().for_each(|(name, series)| to.sample(&[name], series.held().0)));
    page.family(names::CACHE_ENTRIES, |to| all.iter().for_each(|(name, series)| to.sample(&[name], series.held().1)));
    page.family(names::CACHE_EVICTIONS, |to| all.iter().for_each(|(name, series)| to.sample(&[name], series.held().2)));
}

fn gates(metrics: &Metrics, page: &mut Page) {
    page.family(names::GATES, |to| {
        for (name, series) in metrics.gates.all() {
            GateOutcome::ALL.iter().for_each(|outcome| to.sample(&[&name, outcome.name()], series.count(*outcome)));
        }
    });
}

fn reloads(metrics: &Metrics, page: &mut Page) {
    let reloads = metrics.reloads();
    page.family(names::RELOADS, |to| {
        for ((trigger, outcome), count) in &reloads.attempts {
            to.sample(&[trigger, outcome], count);
        }
    });
    page.family(names::RELOAD_PHASE, |to| {
        for (phase, times) in &reloads.phases {
            to.histogram(&[phase], &Distribution::of([times].into_iter()));
        }
    });
    if let Some((at, good)) = reloads.last_attempt {
        page.one(names::RELOAD_LAST_ATTEMPT, at.since_epoch().as_secs_f64());
        page.one(names::RELOAD_LAST_OK, u8::from(good));
    }
    if let Some(at) = reloads.last_success {
        page.one(names::RELOAD_LAST_SUCCESS, at.since_epoch().as_secs_f64());
    }
    reloads.show_fallbacks(page);
    page.one(names::LAST_GOOD_SERVES, u8::from(reloads.last_good_serves));
    if let Some(at) = reloads.last_good_kept {
        page.one(names::LAST_GOOD_KEPT, at.since_epoch().as_secs_f64());
    }
    page.one(names::LAST_GOOD_ERRORS, reloads.last_good_errors);
    page.one(names::FLEET_STATUS_ERRORS, reloads.fleet_status_errors);
    page.one(names::GENERATION, reloads.generation);
    page.family(names::CONFIG_INFO, |to| to.sample(&[&reloads.hash], 1));
    page.one(names::LIVE_GENERATIONS, reloads.live.len());
    let (current, old) = reloads.exchanges();
    page.family(names::LIVE_EXCHANGES, |to| {
        to.sample(&["current"], current);
        to.sample(&["old"], old);
    });
}

fn rest(metrics: &Metrics, page: &mut Page) {
    page.one(names::ACCESS_DROPPED, metrics.access_lines_dropped());
    page.one(names::ACCESS_WRITE_ERRORS, metrics.access_write_errors.load(Relaxed));
    super::traces::families(metrics, page);
    super::sources::families(metrics, page);
    page.family(names::SERIES_OVERFLOW, |to| {
        fn overflows<S>(to: &mut Samples<'_>, family: &str, registry: &Registry<S>) {
            to.sample(&[family], registry.overflows());
        }
        overflows(to, "route", &metrics.routes);
        overflows(to, "upstream", &metrics.upstreams);
        overflows(to, "plugin", &metrics.plugins);
        overflows(to, "table", &metrics.tables);
        overflows(to, "listener", &metrics.listeners);
        overflows(to, "mirror", &metrics.mirrors);
        overflows(to, "concurrency", &metrics.gates);
        overflows(to, "cache", &metrics.caches);
    });
    page.family(names::BUILD_INFO, |to| to.sample(&[env!("CARGO_PKG_VERSION")], 1));
    page.one(names::WORKERS, metrics.workers);
    page.one(names::IO_URING_WORKERS, metrics.rings.load(Relaxed));
    page.one(names::PROCESS_START, metrics.started.since_epoch().as_secs_f64());
    if let Some(usage) = process::usage() {
        page.one(names::PROCESS_CPU, usage.cpu_seconds);
        page.one(names::PROCESS_MEMORY, usage.resident_bytes);
        page.one(names::PROCESS_FDS, usage.open_fds);
    }
}

fn codes<'a>(to: &mut Samples<'_>, key: &str, shards: impl Iterator<Item = &'a Codes>) {
    let mut sums: BTreeMap<u16, u64> = BTreeMap::new();
    shards.flat_map(Codes::read).for_each(|(code, count)| *sums.entry(code).or_default() += count);
    for (code, count) in sums {
        match code {
            0 => to.sample(&[key, OTHER], count),
            code => to.sample(&[key, &code.to_string()], count),
        }
    }
}

// Only what did fail: a series for every kind that did not would be most of the page.
fn kinds<'a>(to: &mut Samples<'_>, key: &str, shards: impl Iterator<Item = &'a Kinds>) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    shards.flat_map(Kinds::read).for_each(|(kind, count)| *sums.entry(kind.name()).or_default() += count);
    sums.iter().filter(|(_, count)| **count > 0).for_each(|(kind, count)| to.sample(&[key, kind], count));
}

pub(super) struct Page(String);

/// The samples of one family.
pub(super) struct Samples<'a> {
    family: Family,
    out: &'a mut String,
}

impl Page {
    pub(super) fn family(&mut self, family: Family, samples: impl FnOnce(&mut Samples<'_>)) {
        let Family { name, kind, help, .. } = family;
        write_to(&mut self.0, format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
        samples(&mut Samples { family, out: &mut self.0 });
    }

    pub(super) fn one(&mut self, family: Family, value: impl Display) {
        self.family(family, |to| to.sample(&[], value));
    }

    fn each<S>(&mut self, family: Family, all: &[(Box<str>, Arc<S>)], value: impl Fn(&S) -> u64) {
        self.family(family, |to| all.iter().for_each(|(key, series)| to.sample(&[key], value(series))));
    }
}

impl Samples<'_> {
    /// A sample, unless it is 0.
    pub(super) fn positive(&mut self, labels: &[&str], value: u64) {
        if value > 0 {
            self.sample(labels, value);
        }
    }

    pub(super) fn sample(&mut self, labels: &[&str], value: impl Display) {
        self.line("", labels, None, value);
    }

    pub(super) fn histogram(&mut self, labels: &[&str], of: &Distribution) {
        debug_assert_eq!(self.family.kind, Shape::Histogram, "{}", self.family.name);
        let mut below = 0;
        for (count, bound) in of.buckets.iter().zip(of.bounds.iter().map(Some).chain([None])) {
            below += count;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), f64::to_string);
            self.line("_bucket", labels, Some(&bound), below);
        }
        self.line("_sum", labels, None, of.sum);
        self.line("_count", labels, None, below);
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: impl Display) {
        self.out.push_str(self.family.name);
        self.out.push_str(suffix);
        let named = self.family.labels.iter().copied().zip(values.iter().copied());
        let mut before = '{';
        for (label, value) in named.chain(bound.map(|bound| ("le", bound))) {
            self.out.push(before);
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(self.out, value);
            self.out.push('"');
            before = ',';
        }
        self.out.push_str(if before == ',' { "} " } else { " " });
        write_to(self.out, format_args!("{value}\n"));
    }
}

fn escape(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

fn write_to(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

// Version, name of the kind, and whether it is a resumption.
const HANDSHAKES: [(TlsVersion, &str, bool); 4] = [
    (TlsVersion::Tls12, "full", false),
    (TlsVersion::Tls12, "resumed", true),
    (TlsVersion::Tls13, "full", false),
    (TlsVersion::Tls13, "resumed", true),
];

#[cfg(test)]
mod tests;
