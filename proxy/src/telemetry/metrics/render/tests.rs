//! The exposition is read back by a small parser that knows the format and nothing of us.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    drain::Live,
    error::Kind,
    exchange,
    telemetry::{
        EjectionCause, EndpointSample, Endpoints, HedgeOutcome, RetryReason, SourceSample, Timestamp, Withheld,
        metrics::Loaded, names::FAMILIES,
    },
};

type Samples = BTreeMap<String, f64>;

// Name and labels to value; panics on what the format does not allow.
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().expect("a name").to_owned();
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("name and kind");
            assert_eq!(name, family, "the type follows the help");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("series and value");
        assert!(series.starts_with(&family), "{line} stands under {family}");
        labels(series);
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    samples
}

fn labels(series: &str) {
    let Some((name, rest)) = series.split_once('{') else { return };
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{series}");
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("{series}"));
    loop {
        let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{series}"));
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{series}");
        let mut escaped = false;
        let end = value.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        rest = &value[end.unwrap_or_else(|| panic!("{series}")) + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "", "{series}"),
        }
    }
}

fn outcome(status: u16, error: Option<Kind>) -> exchange::Outcome {
    let duration = Duration::from_millis(3);
    exchange::Outcome { status, request_bytes: 10, response_bytes: 20, duration, error }
}

#[test]
fn workers_are_summed_and_hostile_names_escaped() {
    let metrics = Metrics::new(2);
    let route = metrics.route("a \"route\"\\\n{}");
    for worker in [0, 1] {
        route.finish(worker, &outcome(200, None));
    }
    route.finish(1, &outcome(503, Some(Kind::NoEndpoint)));
    let samples = parse(&metrics.render());
    let id = r#"route="a \"route\"\\\n{}""#;
    for (series, value) in [
        (format!("tidegate_requests_total{{{id},code=\"200\"}}"), 2.0),
        (format!("tidegate_requests_total{{{id},code=\"503\"}}"), 1.0),
        (format!("tidegate_request_errors_total{{{id},kind=\"no_endpoint\"}}"), 1.0),
        (format!("tidegate_request_duration_seconds_bucket{{{id},le=\"0.0025\"}}"), 0.0),
        (format!("tidegate_request_duration_seconds_bucket{{{id},le=\"0.005\"}}"), 3.0),
        (format!("tidegate_request_duration_seconds_bucket{{{id},le=\"+Inf\"}}"), 3.0),
        (format!("tidegate_request_duration_seconds_count{{{id}}}"), 3.0),
        (format!("tidegate_response_body_bytes_total{{{id}}}"), 60.0),
    ] {
        assert_eq!(samples.get(&series), Some(&value), "{series}");
    }
}

struct NoEndpoints;

impl Endpoints for NoEndpoints {
    fn panics(&self) -> bool {
        false
    }

    fn samples(&self) -> Vec<EndpointSample> {
        Vec::new()
    }
}

#[test]
fn every_family_is_exposed_once_it_has_something_to_say() {
    let metrics = Metrics::new(1);
    metrics.route("r").finish(0, &outcome(500, Some(Kind::Internal)));
    let upstream = metrics.upstream("u");
    let shown: Arc<dyn Endpoints> = Arc::new(NoEndpoints);
    upstream.endpoints.show(&shown);
    upstream.endpoints.ejected(EjectionCause::SuccessRate);
    upstream.finish(0, Ok(200), Duration::ZERO);
    upstream.finish(0, Err(Kind::UpstreamReset), Duration::ZERO);
    upstream.retried(0, RetryReason::Status, true);
    upstream.withheld(0, Withheld::Budget);
    upstream.hedged(0, HedgeOutcome::Won);
    upstream.breaker(2);
    let plugin = metrics.plugin("p");
    plugin.finish(0, Err(Kind::PluginFailed), Duration::ZERO);
    metrics.table("t").finish(0, Err(Kind::PluginTimeout), Duration::ZERO);
    metrics.listener("web").refused(0, Kind::MalformedRequest);
    metrics.mirror("shadow").finish(0, MirrorOutcome::Answered);
    metrics.gate("few").finish(0, GateOutcome::Late);
    let cache = metrics.cache("pages");
    cache.finish(0, CacheOutcome::Stale);
    cache.hold(1, 2, 3);
    metrics.sources(vec![SourceSample {
        source: "etcd /gw/".into(),
        revision: Some(7),
        events: 3,
        overflows: 0,
        watches: 2,
        comparisons: [1, 1],
        authentications: 1,
        failures: vec![("network", 1)],
        trouble: Some("network"),
        expiring: 0,
    }]);
    metrics.guest("p", "c", GuestKind::Counter).expect("room").add(0, 1);
    metrics.guest("p", "g", GuestKind::Gauge).expect("room").set(1.5);
    metrics.guest("p", "h", GuestKind::Histogram).expect("room").observe(0, 3);
    metrics.loaded(&Loaded {
        at: Timestamp::now(),
        trigger: "watch",
        outcome: "applied",
        refused: false,
        phases: &[("compile", Duration::from_millis(7))],
    });
    metrics.generations([1, 2].map(|generation| Live { generation, exchanges: 5 * generation, age_s: 0 }).into());
    metrics.serving(2, "abc");
    metrics.certificates(vec![("web".into(), "tls/site.pem".into(), 4_102_444_800)]);
    metrics.listener("web").proxied(0, ProxyOutcome::Version1);
    metrics.last_good_kept(true);
    metrics.show_fetches(Arc::default());
    metrics.fallbacks(vec!["p".into()], &["p".into()]);
    let text = metrics.render();
    let samples = parse(&text);
    for family in FAMILIES {
        assert!(text.contains(&format!("# TYPE {} ", family.name)), "{}", family.name);
        let samples = samples.keys().filter(|series| {
            let rest = series.strip_prefix(family.name);
            rest.is_some_and(|rest| ["", "_sum"].contains(&rest.split('{').next().expect("a first piece")))
        });
        assert!(samples.count() > 0, "{} has no sample", family.name);
    }
    assert_eq!(samples[r#"tidegate_reloads_total{trigger="watch",outcome="applied"}"#], 1.0);
    assert_eq!(samples[r#"tidegate_guest_gauge{plugin="p",name="g"}"#], 1.5);
    assert_eq!(samples["tidegate_generation"], 2.0);
    assert_eq!(samples[r#"tidegate_live_exchanges{age="old"}"#], 5.0);
}

#[test]
fn a_level_falls_again() {
    let metrics = Metrics::new(2);
    let listener = metrics.listener("web");
    listener.accepted(0);
    listener.accepted(1);
    listener.closed(0);
    let upstream = metrics.upstream("u");
    upstream.began(0);
    upstream.ended(0);
    let samples = parse(&metrics.render());
    assert_eq!(samples[r#"tidegate_connections{listener="web"}"#], 1.0);
    assert_eq!(samples[r#"tidegate_connections_accepted_total{listener="web"}"#], 2.0);
    assert_eq!(samples[r#"tidegate_upstream_requests_in_flight{upstream="u"}"#], 0.0);
}

#[test]
fn a_series_survives_the_one_that_held_it() {
    let metrics = Metrics::new(1);
    metrics.route("r").finish(0, &outcome(200, None));
    metrics.route("r").finish(0, &outcome(200, None));
    assert_eq!(parse(&metrics.render())[r#"tidegate_requests_total{route="r",code="200"}"#], 2.0);
}
