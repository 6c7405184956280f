//! How spans get to a collector: protocols, collectors that are away or refuse, queues that are full, reloads, the end.

use std::{net::TcpListener, time::Duration};

use tidegate_tests::{
    Authority, Collector, ConfigDir, Gateway, Origin, collector::Answer, eventually, soon, tls::Front,
};
use tonic::Code;

use super::{document, scene};

const DROPPED: &str = "tidegate_trace_spans_dropped_total";

#[tokio::test]
async fn spans_go_over_http_too_with_fields_of_their_own() {
    let (collector, origin) = (Collector::http(), Origin::start());
    let dir = ConfigDir::new().with("collector", collector.address()).with("origin", origin.address());
    dir.write("token", "Bearer abc");
    let otlp = "endpoint: 'http://{collector}/base', protocol: http/protobuf, headers: {authorization: '${file:token}', x-a: 1}";
    dir.write("gateway.yaml", &document("").replace("endpoint: 'http://{collector}'", otlp));
    let gateway = Gateway::start(&dir).await;
    gateway.http1().await.get("/").await;
    assert_eq!(collector.wait_for(2).await.len(), 2);
    let batch = &collector.batches()[0];
    assert_eq!(batch.path, "/base/v1/traces");
    for (name, value) in [("authorization", "Bearer abc"), ("x-a", "1"), ("content-type", "application/x-protobuf")] {
        assert_eq!(batch.headers[name], value);
    }
    let shown = gateway.ask(http::Method::GET, "/-/config").await.text();
    assert!(shown.contains("${file:token}") && !shown.contains("abc"), "{shown}");
}

#[tokio::test]
async fn spans_go_over_tls_to_whom_the_configuration_trusts() {
    let (authority, origin) = (Authority::new(), Origin::start());
    for collector in [Collector::grpc(), Collector::http()] {
        let protocol = collector.protocol();
        let front = Front::start(collector.address(), &authority.issue(&["localhost"]), None).await;
        let dir = ConfigDir::new().with("port", front.address.port()).with("origin", origin.address());
        dir.write("ca.pem", &authority.pem);
        let otlp = format!("endpoint: 'https://localhost:{{port}}', protocol: {protocol}, tls: {{ca: ca.pem}}");
        dir.write("gateway.yaml", &document("").replace("endpoint: 'http://{collector}'", &otlp));
        let gateway = Gateway::start(&dir).await;
        gateway.http1().await.get("/").await;
        assert_eq!(collector.wait_for(2).await.len(), 2, "{protocol}");
        assert_eq!(front.seen()[0].server_name.as_deref(), Some("localhost"));
        dir.write("ca.pem", &Authority::new().pem);
        gateway.apply().await;
        gateway.http1().await.get("/").await;
        soon("the stranger gets nothing", async || {
            gateway.metric("tidegate_trace_export_failures_total", "").await > 0.0
        })
        .await;
        assert_eq!(collector.spans().len(), 2);
    }
}

#[tokio::test]
async fn a_collector_that_was_away_gets_what_waited_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let origin = Origin::start();
    let dir = ConfigDir::new().with("collector", address).with("origin", origin.address());
    dir.write("gateway.yaml", &document(""));
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    client.get("/one").await;
    soon("an attempt fails", async || gateway.metric("tidegate_trace_export_failures_total", "").await > 0.0).await;
    client.get("/two").await;
    let queued = gateway.metric("tidegate_trace_spans_queued", "").await;
    assert_eq!(queued, 4.0, "all of them wait");
    let collector = Collector::on(TcpListener::bind(address).unwrap(), true);
    let mut paths: Vec<_> =
        collector.wait_for(4).await.iter().map(|span| span.attribute("url.path").to_owned()).collect();
    paths.sort();
    assert_eq!(paths, ["/one", "/one", "/two", "/two"]);
    soon("nothing waits", async || gateway.metric("tidegate_trace_spans_queued", "").await == 0.0).await;
    collector.stop();
    client.get("/three").await;
    let collector = Collector::on(bound(address).await, true);
    assert_eq!(collector.wait_for(2).await.len(), 2, "after its connection broke");
    assert_eq!(gateway.metric(DROPPED, "").await, 0.0);
    let exported = "tidegate_trace_spans_exported_total";
    soon("all of them are counted", async || gateway.metric(exported, "").await == 6.0).await;
}

/// The address again, as soon as the system gives it.
async fn bound(address: std::net::SocketAddr) -> TcpListener {
    eventually("the port is free", Duration::from_secs(10), async || TcpListener::bind(address).ok()).await
}

#[tokio::test]
async fn what_a_collector_will_have_later_is_sent_again_and_what_it_will_never_have_is_not() {
    for collector in [Collector::grpc(), Collector::http()] {
        let protocol = collector.protocol();
        let origin = Origin::start();
        let dir = ConfigDir::new().with("collector", collector.address()).with("origin", origin.address());
        let otlp = format!("endpoint: 'http://{{collector}}', protocol: {protocol}");
        dir.write("gateway.yaml", &document("").replace("endpoint: 'http://{collector}'", &otlp));
        let gateway = Gateway::start(&dir).await;
        let mut client = gateway.http1().await;
        collector.answer(Some(Answer::Refuse(Code::Unavailable, 503)));
        client.get("/later").await;
        soon("it is asked", async || gateway.metric("tidegate_trace_export_failures_total", "").await > 0.0).await;
        collector.answer(None);
        assert_eq!(collector.wait_for(2).await.len(), 2);
        collector.answer(Some(Answer::Refuse(Code::InvalidArgument, 400)));
        client.get("/never").await;
        soon("they are dropped", async || gateway.metric(DROPPED, "refused").await == 2.0).await;
        collector.answer(Some(Answer::Reject(1)));
        client.get("/half").await;
        soon("one is dropped", async || gateway.metric(DROPPED, "refused").await == 3.0).await;
        let exported = "tidegate_trace_spans_exported_total";
        soon("the others are counted", async || gateway.metric(exported, "").await == 3.0).await;
    }
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_delays_nobody() {
    let collector = Collector::grpc();
    collector.answer(Some(Answer::Silence));
    let (_origin, _dir, gateway) = scene(&collector, "queue-spans-max: 6, batch-spans-max: 2").await;
    let mut client = gateway.http1().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(gateway.metric("tidegate_trace_spans_queued", "").await, 6.0);
    assert_eq!(gateway.metric(DROPPED, "queue").await, 14.0);
}

#[tokio::test]
async fn a_reload_moves_to_another_collector_and_the_old_one_gets_what_is_its() {
    let (old, new) = (Collector::grpc(), Collector::grpc());
    // So long a delay, that only the reload can be why anything is sent.
    let (_origin, mut dir, gateway) = scene(&old, "batch-spans-max: 100").await;
    let slow = || document("batch-spans-max: 100").replace("schedule-delay: 10ms", "schedule-delay: 1h");
    dir.write("gateway.yaml", &slow());
    gateway.apply().await;
    gateway.http1().await.get("/old").await;
    dir.name("collector", new.address());
    dir.write("gateway.yaml", &slow());
    gateway.apply().await;
    let spans = old.wait_for(2).await;
    assert!(spans.iter().all(|span| span.attribute("url.path") == "/old"), "{spans:#?}");
    gateway.http1().await.get("/new").await;
    assert!(gateway.shutdown(Duration::from_secs(10)).await);
    let spans = new.spans();
    assert!(spans.len() == 2 && spans.iter().all(|span| span.attribute("url.path") == "/new"), "{spans:#?}");
}

#[tokio::test]
async fn an_exporter_that_did_not_change_is_the_same_over_a_reload() {
    let collector = Collector::grpc();
    let (_origin, dir, gateway) = scene(&collector, "sample: {ratio: 1}").await;
    let slow = |sample: &str| document(sample).replace("schedule-delay: 10ms", "schedule-delay: 1h");
    dir.write("gateway.yaml", &slow("sample: {ratio: 1}"));
    gateway.apply().await;
    gateway.http1().await.get("/one").await;
    dir.write("gateway.yaml", &slow("sample: {ratio: 0.999999}"));
    gateway.apply().await;
    gateway.http1().await.send(super::with("/two", &[("traceparent", &super::parent(1, true))])).await;
    soon("all of them wait in one queue", async || gateway.metric("tidegate_trace_spans_queued", "").await == 4.0)
        .await;
    assert!(gateway.shutdown(Duration::from_secs(10)).await);
    assert_eq!((collector.batches().len(), collector.spans().len()), (1, 4));
}

#[tokio::test]
async fn a_shutdown_sends_what_waits_and_waits_for_no_collector_for_ever() {
    for silent in [false, true] {
        let collector = Collector::grpc();
        let (_origin, dir, gateway) = scene(&collector, "").await;
        dir.write("gateway.yaml", &document("").replace("schedule-delay: 10ms", "schedule-delay: 1h"));
        gateway.apply().await;
        gateway.http1().await.get("/").await;
        if silent {
            collector.answer(Some(Answer::Silence));
        }
        let stopped = tokio::time::timeout(Duration::from_secs(20), gateway.shutdown(Duration::from_millis(100))).await;
        assert!(stopped.expect("it ends"), "no exchange was left");
        assert_eq!(collector.spans().len(), if silent { 0 } else { 2 });
    }
}
