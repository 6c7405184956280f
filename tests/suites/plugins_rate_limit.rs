//! The plugin `rate-limit` through the gateway, with two workers: whose bucket a request draws from
//! (`tables/plugins/rate-limit.txt`), that a limit is exact for the process, and that reloads neither refill nor lose.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::{HeaderName, Method};
use tidegate_tests::{Answer, ConfigDir, Gateway, Origin, WEB, plugin, request};
use tokio::task::JoinSet;

const CASES: &str = include_str!("../tables/plugins/rate-limit.txt");

/// Notes the field `user` as the attribute `consumer`: in the place of a plugin that authenticates.
const WHO: &str = include_str!("../guests/who.wat");

async fn scene(steps: &str) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write_bytes("rate-limit.wasm", &plugin("rate-limit"));
    dir.write("who.wat", WHO);
    configure(&dir, steps);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

fn configure(dir: &ConfigDir, steps: &str) {
    dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}
gateway: {{trusted-proxies: [127.0.0.0/8]}}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  who: {{module: who.wat}}
  limit: {{module: rate-limit.wasm, {steps}}}
routes:
  - {{id: a, path: /a, middleware: [who, limit], upstream: origin}}
  - {{id: b, path: /b, middleware: [who, limit], upstream: origin}}
"
        ),
    );
}

async fn get(gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut head = request(Method::GET, path);
    for (name, value) in fields {
        head.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    gateway.http1().await.send(head).await
}

async fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(get(gateway, "/a", &[]).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn requests_draw_from_the_buckets_that_the_table_says() {
    let (_origin, dir, gateway) = scene("config: {requests: 1, per: 1h}").await;
    let (mut title, mut asked) = ("", 0);
    for (number, line) in CASES.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        if let Some(case) = line.strip_prefix("== ") {
            let (name, key) = case.split_once(" | ").unwrap();
            title = name;
            // A name of its own has buckets of its own.
            let policy = format!("case-{number}");
            configure(&dir, &format!("config: {{requests: 1, per: 1h, key: {key}, policy: {policy}}}"));
            dir.edit("gateway.yaml", "  limit: {", &format!("  limit-{number}: {{"));
            let text = std::fs::read_to_string(dir.path().join("gateway.yaml")).unwrap();
            dir.write("gateway.yaml", &text.replace("[who, limit]", &format!("[who, limit-{number}]")));
            gateway.apply().await;
        } else if let Some((asks, expected)) = line.split_once(" -> ") {
            let mut words = asks.split_whitespace();
            let path = words.next().unwrap();
            let fields: Vec<_> = words.map(|word| word.split_once('=').unwrap()).collect();
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| if name == "client" { ("x-forwarded-for", value) } else { (name, value) })
                .collect();
            let answer = get(&gateway, path, &fields).await;
            assert_eq!(answer.status.as_str(), expected, "line {}: {title}: {line}", number + 1);
            asked += 1;
        }
    }
    assert!(asked >= 30, "only {asked} requests were asked for");
}

#[tokio::test]
async fn a_client_is_told_of_the_limit_in_standard_fields() {
    let (origin, _dir, gateway) = scene("config: {requests: 10, per: 1h, burst: 2, policy: hourly}").await;
    let first = get(&gateway, "/a", &[]).await;
    assert_eq!(first.header("ratelimit-policy"), "\"hourly\";q=10;w=3600;tidegate-burst=2");
    assert_eq!(first.header("ratelimit"), "\"hourly\";r=1;t=360");
    assert_eq!(get(&gateway, "/a", &[]).await.header("ratelimit"), "\"hourly\";r=0;t=360");
    let refused = get(&gateway, "/a", &[]).await;
    assert_eq!((refused.status.as_u16(), refused.header("content-type")), (429, "application/problem+json"));
    assert_eq!(refused.json()["violated-policies"][0], "hourly");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((300..=360).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), format!("\"hourly\";r=0;t={wait}"));
    assert_eq!(origin.requests(), 2);
    assert_eq!(gateway.metric("tidegate_guest_counter_total", "name=\"limited\"").await, 1.0);
}

#[tokio::test]
async fn a_limit_holds_for_the_process_exactly_however_many_ask_at_once() {
    const BURST: usize = 300;
    let (origin, _dir, gateway) = scene(&format!("config: {{requests: {BURST}, per: 24h, key: route}}")).await;
    let mut asking = JoinSet::new();
    for number in 0..16 {
        let mut client = if number % 2 == 0 { gateway.http1().await } else { gateway.http2().await };
        asking.spawn(async move {
            let mut admitted = 0;
            for _ in 0..40 {
                admitted += usize::from(client.get("/a").await.status == 200);
            }
            admitted
        });
    }
    let mut admitted = 0;
    while let Some(own) = asking.join_next().await {
        admitted += own.unwrap();
    }
    assert_eq!((admitted, origin.requests()), (BURST, BURST));
}

#[tokio::test]
async fn a_reload_refills_nothing_and_a_changed_limit_is_in_force_on_the_next_request() {
    let limit = |settings: &str| format!("config: {{per: 24h, {settings}}}");
    let (_origin, dir, gateway) = scene(&limit("requests: 10")).await;
    assert_eq!(statuses(&gateway, 11).await, [&[200; 10][..], &[429]].concat());
    for edit in 0..5 {
        configure(&dir, &limit(&format!("requests: 10, policy: edit-{edit}")));
        gateway.apply().await;
        assert_eq!(statuses(&gateway, 4).await, [429; 4], "edit {edit}");
    }
    // Another module is another plugin, and the buckets are where they were.
    let mut module = plugin("rate-limit");
    module.extend(b"\0\x06\x05other");
    dir.write_bytes("rate-limit.wasm", &module);
    gateway.apply().await;
    assert_eq!(statuses(&gateway, 4).await, [429; 4]);
    // So fast that there is no seeing the end of it; and from then on.
    configure(&dir, "config: {per: 1ms, requests: 1000000}");
    gateway.apply().await;
    get(&gateway, "/a", &[]).await;
    assert_eq!(statuses(&gateway, 20).await, [200; 20]);
    // A smaller bucket holds no more than it can.
    configure(&dir, &limit("requests: 1, burst: 3"));
    gateway.apply().await;
    assert_eq!(statuses(&gateway, 5).await, [200, 200, 200, 429, 429]);
}

#[tokio::test]
async fn a_space_without_room_refuses_or_admits_strangers_as_the_settings_say() {
    for (policy, expected) in [("closed", 503), ("open", 200)] {
        let steps = format!("limits: {{kv-bytes-max: 400}}, config: {{requests: 100, per: 24h, on-full: {policy}}}");
        let (_origin, _dir, gateway) = scene(&steps).await;
        let ask = async |client: &str| get(&gateway, "/a", &[("x-forwarded-for", client)]).await.status.as_u16();
        assert_eq!(ask("192.0.2.1").await, 200);
        for client in 2..20 {
            ask(&format!("192.0.2.{client}")).await;
        }
        assert_eq!(ask("192.0.2.99").await, expected, "{policy}");
        assert_eq!(ask("192.0.2.1").await, 200, "{policy}: who is known is served on");
    }
}

/// Ten reloads a second for some seconds (30 in `make soak`), under more load than is admitted.
#[tokio::test]
async fn under_ten_reloads_a_second_a_limit_admits_what_the_bucket_allows() {
    const RATE: u32 = 200;
    const BURST: u32 = 100;
    let soak = env::var("TIDEGATE_SOAK_SECONDS").is_ok();
    let span = Duration::from_secs(if soak { 30 } else { 5 });
    let limit =
        |edit: u64| format!("config: {{requests: {RATE}, per: 1s, burst: {BURST}, key: route, policy: edit-{edit}}}");
    let (_origin, dir, gateway) = scene(&limit(0)).await;
    // The bucket begins to fill somewhere within the first request.
    let (before, first, after) = (Instant::now(), get(&gateway, "/a", &[]).await, Instant::now());
    assert_eq!(first.status, 200);
    let (admitted, done) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
    let mut asking = JoinSet::new();
    for number in 0..8 {
        let mut client = if number % 2 == 0 { gateway.http1().await } else { gateway.http2().await };
        let (admitted, done) = (Arc::clone(&admitted), Arc::clone(&done));
        asking.spawn(async move {
            let mut refused = 0;
            while !done.load(Relaxed) {
                match client.get("/a").await.status.as_u16() {
                    200 => {
                        admitted.fetch_add(1, Relaxed);
                    }
                    429 => refused += 1,
                    other => panic!("answered {other}"),
                }
            }
            refused
        });
    }
    let (mut ticks, mut reloads) = (tokio::time::interval(Duration::from_millis(100)), 0);
    while after.elapsed() < span {
        ticks.tick().await;
        reloads += 1;
        configure(&dir, &limit(reloads));
        gateway.apply().await;
    }
    let least = after.elapsed();
    done.store(true, Relaxed);
    let mut refused = 0;
    while let Some(own) = asking.join_next().await {
        refused += own.unwrap();
    }
    let allowed = |elapsed: Duration| f64::from(BURST) + f64::from(RATE) * elapsed.as_secs_f64();
    let (least, most) = (allowed(least), allowed(before.elapsed()));
    let admitted = admitted.load(Relaxed) as f64;
    let said = format!("{admitted} admitted of {least:.0} to {most:.0}, {refused} refused, {reloads} reloads");
    println!("{said}");
    assert!(refused > 100, "there was more load than is admitted: {said}");
    assert!(admitted >= least * 0.98 && admitted <= most * 1.02, "{said}");
}

#[tokio::test]
async fn thousands_of_routes_with_a_limit_each_use_the_guests_of_one_module() {
    const ROUTES: usize = 10_000;
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write_bytes("rate-limit.wasm", &plugin("rate-limit"));
    let routes: String = (0..ROUTES)
        .map(|number| {
            let config = format!("{{requests: 1, per: 24h, policy: limit-{number}}}");
            let step = format!("{{module: rate-limit.wasm, config: {config}}}");
            format!("  - {{id: r{number}, path: /r{number}, middleware: [{step}], upstream: origin}}\n")
        })
        .collect();
    dir.write("gateway.yaml", &format!("{WEB}upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}\nroutes:\n{routes}"));
    let gateway = Gateway::start(&dir).await;
    for number in [0, 1, 4_321, ROUTES - 1] {
        for expected in [200, 429, 429] {
            let answer = get(&gateway, &format!("/r{number}"), &[]).await;
            assert_eq!(answer.status.as_u16(), expected, "route {number}");
            assert!(answer.header("ratelimit").starts_with(&format!("\"limit-{number}\"")));
        }
    }
    let guests = gateway.metric("tidegate_plugin_instantiations_total", "").await;
    assert!((1.0..=2.0).contains(&guests), "{guests} guests for {ROUTES} routes on two workers");
}
