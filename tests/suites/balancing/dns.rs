//! Endpoints by name: what a name server of the test's own says, and what follows when it says something else.

use std::net::{IpAddr, SocketAddr, TcpListener};

use tidegate_tests::{
    Authority, Dns, Gateway, Origin,
    dns::{Mode, Record},
    soon,
    tls::Front,
};

use super::{Scene, counts, shares, states};

fn address(text: &str) -> Record {
    Record::Address(text.parse().unwrap())
}

// Two origins on one port of two addresses.
fn pair() -> [Origin; 2] {
    let bind = |ip: &str, port| TcpListener::bind(SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port));
    loop {
        let first = bind("127.0.0.1", 0).unwrap();
        // The port may be taken on the other address.
        if let Ok(second) = bind("127.0.0.2", first.local_addr().unwrap().port()) {
            return [Origin::on(first, "a"), Origin::on(second, "b")];
        }
    }
}

fn settings(dns: &Dns) -> String {
    format!("dns: {{servers: ['{}'], ttl-min: 50ms, timeout: 500ms}}", dns.address())
}

async fn has(gateway: &Gateway, expected: &[&str]) {
    let names = async || {
        let upstream = gateway.upstream("users").await;
        let endpoints = upstream["endpoints"].as_array().expect("a list").iter();
        endpoints.map(|endpoint| endpoint["address"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    soon(&format!("the endpoints are {expected:?}"), async || names().await == expected).await;
}

#[tokio::test]
async fn each_address_of_a_name_is_an_endpoint_and_comes_and_goes_with_its_time() {
    let (scene, dns, [a, b]) = (Scene::new(0), Dns::start(), pair());
    let port = a.address().port();
    let [first, second] = [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")];
    dns.set("users.test", 0, [address("127.0.0.1")]);
    let endpoints = format!("endpoints: [{{address: 'users.test:{port}', resolve: each}}], {}", settings(&dns));
    let gateway = scene.start(&endpoints).await;
    let mut client = gateway.http1().await;
    assert_eq!(counts(&mut client, 4).await.get("a"), Some(&4), "the first request waits for the name");
    dns.set("users.test", 0, [address("127.0.0.2"), address("127.0.0.1")]);
    has(&gateway, &[&first, &second]).await;
    soon("both take requests", async || counts(&mut client, 10).await.len() == 2).await;
    assert_eq!(a.accepted(), 1, "what stayed has kept its connection");
    dns.mode(Mode::Failing);
    let asked = dns.queries();
    soon("it was asked in vain", async || dns.queries() > asked + 2).await;
    assert_eq!(counts(&mut client, 10).await.len(), 2, "a failure takes nothing away");
    dns.mode(Mode::Good);
    dns.set("users.test", 3600, [address("127.0.0.2")]);
    has(&gateway, &[&second]).await;
    soon("only it takes requests", async || counts(&mut client, 5).await.get("b") == Some(&5)).await;
    drop(b);
}

#[tokio::test]
async fn a_name_that_is_one_endpoint_is_asked_for_again_when_its_time_is_over() {
    let (scene, dns, [a, _b]) = (Scene::new(0), Dns::start(), pair());
    dns.set("users.test", 0, [address("127.0.0.1")]);
    let endpoints = format!("endpoints: ['users.test:{}'], {}", a.address().port(), settings(&dns));
    let gateway = scene.start(&endpoints).await;
    let mut client = gateway.http1().await;
    assert_eq!(counts(&mut client, 3).await.get("a"), Some(&3));
    dns.set("users.test", 0, [address("127.0.0.2")]);
    soon("the name leads to the other one", async || counts(&mut client, 1).await.get("b") == Some(&1)).await;
}

#[tokio::test]
async fn a_service_gives_addresses_ports_weights_and_priorities() {
    let (scene, dns) = (Scene::new(3), Dns::start());
    dns.set("host.test", 0, [address("127.0.0.1")]);
    let record = |at: usize, priority, weight| {
        Record::Service(priority, weight, scene.origins[at].address().port(), "host.test".into())
    };
    dns.set("_http._tcp.users.test", 0, [record(0, 1, 10), record(1, 1, 30), record(2, 2, 0)]);
    let check = "health-check: {path: /healthz, interval: 20ms, unhealthy-after: 1, healthy-after: 1}";
    let endpoints = format!("endpoints: [{{srv: _http._tcp.users.test}}], {check}, {}", settings(&dns));
    let gateway = scene.start(&endpoints).await;
    let mut client = gateway.http1().await;
    soon("the name is resolved", async || shares(&gateway).await.len() == 3).await;
    let taken = counts(&mut client, 40).await;
    assert_eq!((taken.get("a"), taken.get("b"), taken.get("c")), (Some(&10), Some(&30), None));
    scene.origins.iter().take(2).for_each(|origin| origin.fail(Some(500)));
    soon("the later priority takes over", async || {
        let last = client.get("/").await;
        last.header("x-origin") == "c"
    })
    .await;
    // What is known of the others outlives one that goes.
    dns.set("_http._tcp.users.test", 0, [record(0, 1, 10), record(1, 1, 30)]);
    soon("the last one is gone", async || states(&gateway).await == ["unhealthy", "unhealthy"]).await;
}

#[tokio::test]
async fn slow_dns_delays_nobody_else_and_a_name_without_answer_is_a_502() {
    let (scene, dns) = (Scene::new(1), Dns::start());
    dns.mode(Mode::Silent);
    let text = format!(
        "listeners: {{web: {{address: '127.0.0.1:0'}}}}\n\
         gateway: {{dns: {{servers: ['{}'], timeout: 100ms}}}}\n\
         upstreams: {{users: {{endpoints: ['{{a}}']}}, slow: {{endpoints: [{{address: 'slow.test:80', resolve: each}}], \
         connect-timeout: 20s}}}}\n\
         routes: [{{id: all, path: /*, upstream: users}}, {{id: slow, path: /slow, upstream: slow}}]\n",
        dns.address()
    );
    scene.dir.write("gateway.yaml", &text);
    let gateway = Gateway::start(&scene.dir).await;
    let mut clients = [gateway.http1().await, gateway.http1().await, gateway.http1().await, gateway.http1().await];
    let mut waiting = gateway.http1().await;
    let waiting = tokio::spawn(async move { waiting.get("/slow").await });
    soon("the name is asked for", async || dns.queries() > 0).await;
    for client in &mut clients {
        assert_eq!(counts(client, 5).await.get("a"), Some(&5));
    }
    assert_eq!(waiting.await.unwrap().status, 502);
}

#[tokio::test]
async fn endpoints_by_name_are_verified_by_their_names() {
    let (scene, dns, authority) = (Scene::new(2), Dns::start(), Authority::new());
    scene.dir.write("tls/ca.pem", &authority.pem);
    let [one, two] = ["one.users.test", "two.users.test"].map(|name| authority.issue(&[name]));
    let a = Front::start(scene.origins[0].address(), &one, None).await;
    let b = Front::start(scene.origins[1].address(), &two, None).await;
    let service = |name: &str, port| Record::Service(1, 1, port, name.to_owned());
    dns.set(
        "_https._tcp.users.test",
        60,
        [service("one.users.test", a.address.port()), service("two.users.test", b.address.port())],
    );
    for name in ["one.users.test", "two.users.test"] {
        dns.set(name, 60, [address("127.0.0.1")]);
    }
    let tls = format!("tls: {{ca: tls/ca.pem}}, {}", settings(&dns));
    let gateway = scene.start(&format!("endpoints: [{{srv: _https._tcp.users.test}}], {tls}")).await;
    let mut client = gateway.http1().await;
    soon("both take requests", async || counts(&mut client, 10).await.len() == 2).await;
    let asked = |front: &Front| front.seen().into_iter().map(|seen| seen.server_name).collect::<Vec<_>>();
    assert!(asked(&a).iter().all(|name| name.as_deref() == Some("one.users.test")), "{:?}", asked(&a));
    assert!(asked(&b).iter().all(|name| name.as_deref() == Some("two.users.test")), "{:?}", asked(&b));
    // Each address of a name is verified for the name; one that shows another name's certificate is not reached.
    for (name, served) in [("one.users.test", true), ("two.users.test", false)] {
        let endpoint = format!("{{address: '{name}:{}', resolve: each}}", a.address.port());
        scene.write(&format!("endpoints: [{endpoint}], {tls}"));
        gateway.apply().await;
        let answer = gateway.http1().await.get("/").await;
        assert_eq!(answer.status.as_u16(), if served { 200 } else { 502 }, "{name}");
    }
}
