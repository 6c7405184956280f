//! What spans say: of an exchange, of tries, of plugin calls, of what failed.

use std::time::Duration;

use http::Method;
use tidegate_tests::{
    Client, Collector, ConfigDir, Gateway, Origin, WEB, collector::Seen, eventually, free_address, guests, request,
};

use super::{document, parent, scene, with};

fn only<'a>(spans: &'a [Seen], kind: &str) -> &'a Seen {
    let found: Vec<_> = spans.iter().filter(|span| span.kind == kind).collect();
    assert_eq!(found.len(), 1, "{spans:#?}");
    found[0]
}

#[tokio::test]
async fn an_exchange_is_a_span_and_its_try_one_below_it() {
    let collector = Collector::grpc();
    let (origin, _dir, gateway) =
        scene(&collector, "service-name: edge, resource-attributes: {team: a, size: 3}").await;
    let asked = with(
        "http://users.example/users/7?all=1&sig=secret",
        &[("user-agent", "tester/1"), ("traceparent", &parent(1, true))],
    );
    let answer = gateway.http1().await.send(asked).await;
    let spans = collector.wait_for(2).await;
    let (exchange, tried) = (only(&spans, "Server"), only(&spans, "Client"));

    assert_eq!(exchange.trace, "0af7651916cd43dd0000000000000001");
    assert_eq!((&*exchange.parent, &tried.parent, &tried.trace), ("b7ad6b7169203331", &exchange.id, &exchange.trace));
    assert_eq!((exchange.flags, tried.flags), (0x301, 0x101), "the exchange's parent is remote");
    assert_eq!((&*exchange.name, &*tried.name), ("GET /users/{id}", "GET"));
    assert_eq!((&exchange.failed, &tried.failed), (&None, &None));
    let sent = answer.echoed("traceparent");
    assert_eq!(sent, [format!("00-{}-{}-01", tried.trace, tried.id)], "the origin's parent is the try");
    assert!(exchange.time.0 <= tried.time.0 && tried.time.1 <= exchange.time.1, "{exchange:#?} {tried:#?}");

    let peer = origin.address().port().to_string();
    for (span, name, value) in [
        (exchange, "http.request.method", "GET"),
        (exchange, "url.path", "/users/7"),
        (exchange, "url.query", "all=1&sig=REDACTED"),
        (exchange, "url.scheme", "http"),
        (exchange, "http.response.status_code", "200"),
        (exchange, "http.route", "/users/{id}"),
        (exchange, "server.address", "users.example"),
        (exchange, "server.port", "80"),
        (exchange, "client.address", "127.0.0.1"),
        (exchange, "network.peer.address", "127.0.0.1"),
        (exchange, "network.protocol.version", "1.1"),
        (exchange, "user_agent.original", "tester/1"),
        (exchange, "http.request.body.size", "0"),
        (exchange, "http.response.body.size", &answer.body.len().to_string()),
        (exchange, "tidegate.route", "user"),
        (exchange, "tidegate.generation", "1"),
        (exchange, "tidegate.listener", "web"),
        (tried, "http.request.method", "GET"),
        (tried, "http.response.status_code", "200"),
        (tried, "server.address", "127.0.0.1"),
        (tried, "server.port", &peer),
        (tried, "network.peer.port", &peer),
        (tried, "tidegate.upstream", "origin"),
        (tried, "url.path", "/users/7"),
    ] {
        assert_eq!(span.attribute(name), value, "{name} of {span:#?}");
    }
    let resource = &collector.batches()[0].resource;
    let said = ["service.name", "team", "size", "telemetry.sdk.language"].map(|name| resource[name].as_str());
    assert_eq!(said, ["edge", "a", "3", "rust"]);
    assert_eq!(resource["service.instance.id"].len(), 36);
}

#[tokio::test]
async fn the_protocol_and_an_unknown_method_are_named_as_the_conventions_have_it() {
    let collector = Collector::grpc();
    let (_origin, _dir, gateway) = scene(&collector, "").await;
    gateway.http2().await.send(request(Method::from_bytes(b"PURGE").unwrap(), "/x")).await;
    let spans = collector.wait_for(2).await;
    let exchange = only(&spans, "Server");
    assert_eq!((&*exchange.name, exchange.attribute("http.request.method")), ("HTTP /*", "_OTHER"));
    assert_eq!(exchange.attribute("http.request.method_original"), "PURGE");
    assert_eq!((exchange.attribute("network.protocol.version"), &*exchange.parent), ("2", ""));
}

#[tokio::test]
async fn each_try_is_a_span_and_says_what_became_of_it() {
    let (collector, origin) = (Collector::grpc(), Origin::start());
    let dir = ConfigDir::new().with("collector", collector.address()).with("origin", origin.address());
    let dir = dir.with("dead", free_address());
    dir.write("gateway.yaml", &document("").replace("endpoints: [", "endpoints: ['{dead}', "));
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    // Which endpoint is the first is the balancer's affair.
    let spans = eventually("an exchange takes two tries", Duration::from_secs(10), async || {
        let before = collector.spans().len();
        client.get("/x").await;
        let spans = collector.wait_for(before + 2).await.split_off(before);
        (spans.len() == 3).then_some(spans)
    })
    .await;
    let exchange = only(&spans, "Server");
    let tries: Vec<_> = spans.iter().filter(|span| span.kind == "Client").collect();
    assert!(tries.iter().all(|tried| tried.parent == exchange.id), "{spans:#?}");
    assert_eq!(exchange.failed, None, "the client got its answer");
    let dead = tries[0];
    assert_eq!(dead.attribute("error.type"), "upstream_connect");
    assert!(dead.failed.is_some() && dead.attribute("http.response.status_code").is_empty(), "{dead:#?}");
    assert_eq!(
        (dead.attribute("http.request.resend_count"), tries[1].attribute("http.request.resend_count")),
        ("", "1")
    );
    assert_eq!(tries[1].attribute("http.response.status_code"), "200");
}

#[tokio::test]
async fn what_failed_is_said_and_a_clients_mistake_is_no_failure() {
    let collector = Collector::grpc();
    let (origin, _dir, gateway) = scene(&collector, "").await;
    let mut client = gateway.http1().await;
    client.get("/status/503").await;
    client.get("/status/404").await;
    let spans = collector.wait_for(4).await;
    let of = |kind: &str, status: &str| {
        let code = "http.response.status_code";
        spans.iter().find(|span| span.kind == kind && span.attribute(code) == status).unwrap().clone()
    };
    assert_eq!((of("Server", "503").failed, of("Client", "503").failed), (Some("503".into()), Some("503".into())));
    assert_eq!(of("Server", "503").attribute("error.type"), "503");
    assert_eq!((of("Server", "404").failed, of("Client", "404").failed), (None, Some("404".into())));
    origin.stop();
    client.get("/x").await;
    let spans = collector.wait_for(6).await.split_off(4);
    let exchange = only(&spans, "Server");
    assert_eq!(exchange.attribute("http.response.status_code"), "502");
    let (name, said) = &exchange.events[0];
    assert_eq!((name.as_str(), &said["exception.type"]), ("exception", &exchange.attribute("error.type").to_owned()));
    assert!(said["exception.message"].contains("upstream origin"), "{said:?}");
    assert_eq!(exchange.failed.as_ref(), Some(&said["exception.message"]));
}

#[tokio::test]
async fn a_try_is_over_with_its_response() {
    let collector = Collector::grpc();
    let (origin, _dir, gateway) = scene(&collector, "").await;
    let mut hold = origin.hold("/broken");
    let web = gateway.web();
    let asked = tokio::spawn(async move { Client::http1(web).await.try_send(with("/broken", &[])).await });
    let mut held = hold.next().await;
    held.begin(200, "").await;
    held.chunk("half").await;
    held.reset();
    asked.await.unwrap().unwrap_err();
    let spans = collector.wait_for(2).await;
    let (exchange, tried) = (only(&spans, "Server"), only(&spans, "Client"));
    assert_eq!((tried.attribute("error.type"), &tried.parent), ("upstream_reset", &exchange.id), "{tried:#?}");
    assert!(tried.failed.is_some(), "{tried:#?}");
}

#[tokio::test]
async fn a_request_that_no_route_takes_is_traced_too() {
    let collector = Collector::grpc();
    let dir = ConfigDir::new().with("collector", collector.address());
    let text = document("").split("upstreams:").next().unwrap().to_owned();
    dir.write(
        "gateway.yaml",
        &format!("{text}routes: [{{id: a, path: /a, middleware: [{{respond: {{status: 204}}}}]}}]\n"),
    );
    let gateway = Gateway::start(&dir).await;
    gateway.http1().await.get("/b").await;
    let spans = collector.wait_for(1).await;
    assert_eq!((&*spans[0].name, spans[0].attribute("tidegate.error")), ("GET", "no_route"));
    assert_eq!((spans[0].attribute("http.route"), spans[0].attribute("tidegate.route")), ("", ""));
}

#[tokio::test]
async fn each_call_of_a_plugin_is_a_span() {
    let (collector, origin) = (Collector::grpc(), Origin::start());
    let dir = ConfigDir::new().with("collector", collector.address()).with("origin", origin.address());
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("unruly.wat", guests::UNRULY);
    let steps = "middleware: {one: {module: stamp.wat}, two: {module: unruly.wat}}\n";
    let text = document("").replace("path: /*,", "path: /*, middleware: [one, two],");
    dir.write("gateway.yaml", &format!("{text}{steps}"));
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    client.get("/x").await;
    let spans = collector.wait_for(4).await;
    let exchange = only(&spans, "Server").clone();
    let calls: Vec<_> = spans.iter().filter(|span| span.kind == "Internal").collect();
    let said: Vec<_> = calls.iter().map(|call| (&*call.name, call.attribute("tidegate.plugin"))).collect();
    assert_eq!(said, [("one request", "one"), ("two request", "two")]);
    assert!(calls.iter().all(|call| call.parent == exchange.id && call.failed.is_none()), "{spans:#?}");
    client.get("/trap").await;
    let spans = collector.wait_for(7).await.split_off(4);
    let trapped = spans.iter().find(|span| span.name == "two request").unwrap();
    assert_eq!(trapped.attribute("error.type"), "plugin_failed", "{trapped:#?}");
    assert!(trapped.failed.is_some());
    assert!(spans.iter().all(|span| span.kind != "Client"), "nothing was tried: {spans:#?}");
}

#[tokio::test]
async fn the_access_log_has_the_ids_of_the_spans() {
    let (collector, origin) = (Collector::grpc(), Origin::start());
    let mut dir = ConfigDir::new().with("collector", collector.address()).with("origin", origin.address());
    let log = dir.beside("access.log");
    dir.name("log", log.display());
    dir.write("gateway.yaml", &document("").replace("gateway:\n", "gateway:\n  access-log: {to: '{log}'}\n"));
    let gateway = Gateway::start(&dir).await;
    gateway.http1().await.get("/x").await;
    let spans = collector.wait_for(2).await;
    let line: serde_json::Value = eventually("a line is written", Duration::from_secs(10), async || {
        serde_json::from_str(std::fs::read_to_string(&log).ok()?.lines().next()?).ok()
    })
    .await;
    let exchange = only(&spans, "Server");
    assert_eq!((&line["trace_id"], &line["span_id"]), (&exchange.trace.clone().into(), &exchange.id.clone().into()));
}

#[tokio::test]
async fn an_exchange_has_room_for_so_many_spans() {
    let (collector, origin) = (Collector::grpc(), Origin::start());
    let dir = ConfigDir::new().with("collector", collector.address()).with("origin", origin.address());
    dir.write("stamp.wat", &guests::stamp(1));
    let steps = vec!["{module: stamp.wat}"; 140].join(", ");
    let text = document("").replace("path: /*,", &format!("path: /*, middleware: [{steps}],"));
    dir.write("gateway.yaml", &text);
    let gateway = Gateway::start(&dir).await;
    gateway.http1().await.get("/x").await;
    let spans = collector.wait_for(129).await;
    assert_eq!(spans.len(), 129, "the exchange and what it has room for");
    // 140 calls and a try, of which 128 have a span.
    assert_eq!(gateway.metric("tidegate_trace_spans_dropped_total", "exchange").await, 13.0);
}

#[tokio::test]
async fn nothing_is_traced_where_nothing_is_said_of_it() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    let upstream = "upstreams: {origin: {endpoints: ['{origin}']}}";
    dir.write("gateway.yaml", &format!("{WEB}{upstream}\nroutes: [{{id: a, path: /*, upstream: origin}}]\n"));
    let gateway = Gateway::start(&dir).await;
    for sampled in [true, false] {
        let answer = gateway.http1().await.send(with("/", &[("traceparent", &parent(9, sampled))])).await;
        let sent = &answer.echoed("traceparent")[0];
        assert!(sent.starts_with("00-0af7651916cd43dd0000000000000009-"), "{sent}");
        assert!(sent.ends_with(if sampled { "-01" } else { "-00" }), "the client's word is passed on: {sent}");
    }
    assert_eq!(gateway.metric("tidegate_trace_spans_exported_total", "").await, 0.0);
}
