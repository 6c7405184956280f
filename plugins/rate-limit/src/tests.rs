//! The plugin on the test host, whose clocks stand still until they are moved.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_guest::testing::{ClientRequest, Exchange, Host, Limits, Loaded};

use crate::RateLimit;

fn load(host: &Host, settings: Value) -> Loaded<RateLimit> {
    host.load(settings).unwrap()
}

fn get(plugin: &Loaded<RateLimit>) -> Exchange {
    plugin.send(ClientRequest::get("/"))
}

fn statuses(plugin: &Loaded<RateLimit>, count: usize) -> Vec<u16> {
    (0..count).map(|_| get(plugin).status()).collect()
}

#[test]
fn a_client_is_told_what_is_left_and_when_to_come_again() {
    let host = Host::new();
    let plugin = load(&host, json!({ "requests": 10, "per": "60s", "burst": 2 }));
    let first = get(&plugin);
    assert_eq!(first.header("ratelimit-policy"), Some("\"default\";q=10;w=60;tidegate-burst=2"));
    assert_eq!(first.header("ratelimit"), Some("\"default\";r=1;t=6"));
    assert_eq!(get(&plugin).header("ratelimit"), Some("\"default\";r=0;t=6"));
    host.advance(Duration::from_millis(1_500));
    let refused = get(&plugin);
    assert_eq!((refused.status(), refused.header("retry-after")), (429, Some("5")));
    assert_eq!(refused.header("ratelimit"), Some("\"default\";r=0;t=5"));
    assert_eq!((refused.forwarded.is_none(), refused.attribute("plugin.limited")), (true, Some("true")));
    assert_eq!(host.counter("limited"), 1);
    host.advance(Duration::from_millis(4_500));
    assert_eq!(statuses(&plugin, 2), [200, 429]);
}

#[test]
fn several_limits_in_a_chain_each_say_theirs() {
    let host = Host::new();
    let plugin = load(&host, json!({ "requests": 5, "policy": "outer" }));
    let exchange = plugin.exchange(ClientRequest::get("/"), |_| {
        tidegate_guest::testing::UpstreamResponse::new(200).header("ratelimit", "\"inner\";r=1;t=1")
    });
    assert_eq!(exchange.response.header_values("ratelimit"), ["\"inner\";r=1;t=1", "\"outer\";r=4;t=1"]);
}

#[test]
fn which_responses_say_how_much_is_left_is_a_setting() {
    for (fields, on_all, on_refusals) in [("all", true, true), ("limited", false, true), ("none", false, false)] {
        let plugin = load(&Host::new(), json!({ "requests": 1, "fields": fields }));
        let (first, second) = (get(&plugin), get(&plugin));
        assert_eq!((first.status(), second.status()), (200, 429));
        assert_eq!(first.header("ratelimit").is_some(), on_all, "{fields}");
        assert_eq!(second.header("ratelimit").is_some(), on_refusals, "{fields}");
        assert!(second.header("retry-after").is_some());
    }
}

#[test]
fn a_reload_refills_nothing_and_a_changed_limit_is_in_force_at_once() {
    let host = Host::new();
    let ten = |per: &str| json!({ "requests": 10, "per": per });
    assert_eq!(statuses(&load(&host, ten("1h")), 10), [200; 10]);
    for _ in 0..5 {
        assert_eq!(statuses(&load(&host, ten("1h")), 2), [429, 429]);
    }
    // A hundred times as fast from now on; what passed before was an hour's tenth at the old rate.
    let fast = load(&host, json!({ "requests": 1_000, "per": "1h", "burst": 10 }));
    host.advance(Duration::from_secs(360));
    assert_eq!(statuses(&fast, 2), [200, 429]);
    host.advance(Duration::from_millis(3_600 * 5));
    assert_eq!(statuses(&fast, 6), [200, 200, 200, 200, 200, 429]);
    // One that is empty does not wait for its old rate.
    let faster = load(&host, json!({ "requests": 1_000, "per": "1s", "burst": 10 }));
    assert_eq!(get(&faster).status(), 429);
    host.advance(Duration::from_millis(5));
    assert_eq!(statuses(&faster, 6), [200, 200, 200, 200, 200, 429]);
    let fast = load(&host, json!({ "requests": 1_000, "per": "1h", "burst": 10 }));
    assert_eq!(get(&fast).status(), 429);
    // Slower again: what is there stays there, up to what the bucket holds.
    host.advance(Duration::from_secs(3_600));
    assert_eq!(get(&fast).status(), 200);
    let small = load(&host, json!({ "requests": 1, "per": "1h", "burst": 3 }));
    assert_eq!(statuses(&small, 4), [200, 200, 200, 429]);
}

#[test]
fn what_sets_buckets_apart_is_a_setting() {
    let from = |address: &str| ClientRequest::get("/").client(address);
    let plain = || ClientRequest::get("/");
    let cases: [(Value, Vec<(ClientRequest, u16)>); 6] = [
        (
            json!("client-ip"),
            vec![
                (from("192.0.2.1"), 200),
                (from("192.0.2.1"), 429),
                (from("192.0.2.2"), 200),
                (from("2001:db8::1"), 200),
                (from("2001:db8::2"), 429),
                (from("2001:db8:0:1::1"), 200),
            ],
        ),
        (json!("route"), vec![(plain().route("a"), 200), (plain().route("a"), 429), (plain().route("b"), 200)]),
        (
            json!({ "header": "x-key" }),
            vec![
                (plain().header("x-key", "a"), 200),
                (plain().header("X-Key", "a"), 429),
                (plain().header("x-key", "b"), 200),
                (plain().header("x-key", "a").header("x-key", "b"), 200),
                (plain(), 200),
                (plain(), 429),
                (plain().client("192.0.2.99"), 200),
            ],
        ),
        (
            json!({ "attribute": "auth.consumer" }),
            vec![
                (plain().attribute("auth.consumer", "alice"), 200),
                (from("192.0.2.2").attribute("auth.consumer", "alice"), 429),
                (plain().attribute("auth.consumer", "bob"), 200),
                (plain().header("auth.consumer", "bob"), 200),
            ],
        ),
        (
            json!(["route", "client-ip"]),
            vec![
                (from("192.0.2.1").route("a"), 200),
                (from("192.0.2.1").route("b"), 200),
                (from("192.0.2.2").route("a"), 200),
                (from("192.0.2.1").route("a"), 429),
            ],
        ),
        (
            json!([{ "header": "a" }, { "header": "b" }]),
            vec![
                (plain().header("a", "x").header("b", "y"), 200),
                (plain().header("a", "xy").header("b", ""), 200),
                (plain().header("a", "y").header("b", "x"), 200),
                (plain().header("a", "x").header("b", "y"), 429),
            ],
        ),
    ];
    for (key, requests) in cases {
        let plugin = load(&Host::new(), json!({ "requests": 1, "per": "1h", "key": key }));
        for (position, (request, expected)) in requests.into_iter().enumerate() {
            assert_eq!(plugin.send(request).status(), expected, "{key}, request {position}");
        }
    }
}

#[test]
fn the_wall_clock_does_not_matter() {
    let host = Host::new();
    let plugin = load(&host, json!({ "requests": 1, "per": "1h" }));
    assert_eq!(get(&plugin).status(), 200);
    for wall in [0, 5_000_000_000, 1] {
        host.set_wall(Duration::from_secs(wall));
        assert_eq!(get(&plugin).status(), 429);
    }
}

#[test]
fn a_full_space_decides_as_the_settings_say_and_known_clients_are_served_on() {
    for (policy, expected) in [("closed", 503), ("open", 200)] {
        let host = Host::new();
        let plugin = load(&host, json!({ "requests": 100, "per": "1h", "on-full": policy }));
        assert_eq!(get(&plugin).status(), 200);
        host.limit(Limits { kv_bytes_max: 150, ..Limits::default() });
        let stranger = plugin.send(ClientRequest::get("/").client("192.0.2.77"));
        assert_eq!(stranger.status(), expected, "{policy}");
        assert_eq!(get(&plugin).status(), 200, "{policy}");
        assert_eq!(host.counter("undecided"), 1);
        assert!(host.logged().iter().any(|line| line.message.contains("kv-bytes-max")), "{:?}", host.logged());
    }
}

#[test]
fn a_bucket_takes_no_room_once_it_is_full_again() {
    let host = Host::new();
    let plugin = load(&host, json!({ "requests": 1, "per": "1s" }));
    host.limit(Limits { kv_bytes_max: 2_000, ..Limits::default() });
    for client in 0..1_000 {
        let request = ClientRequest::get("/").client(&format!("10.0.{}.{}", client / 250, client % 250));
        assert_eq!(plugin.send(request).status(), 200, "client {client}");
        host.advance(Duration::from_millis(100));
    }
}

#[test]
fn a_limit_that_is_not_enforced_counts_and_refuses_nobody() {
    let host = Host::new();
    let plugin = load(&host, json!({ "requests": 1, "per": "1h", "enforce": false }));
    assert_eq!(statuses(&plugin, 3), [200, 200, 200]);
    let exchange = get(&plugin);
    assert_eq!((exchange.attribute("plugin.would-limit"), host.counter("limited")), (Some("true"), 3));
    assert_eq!(exchange.header("ratelimit"), Some("\"default\";r=0;t=3600"));
}
