//! Which exchanges are traced, and what a reload changes of it.

use std::collections::BTreeSet;

use tidegate_tests::{Collector, Gateway, soon};

use super::{document, parent, scene, with};

/// The traces of `gateway`, of exchanges whose ids spread evenly; each says to the origin whether it is traced.
async fn traced(gateway: &Gateway, parents_say: bool) -> BTreeSet<String> {
    let mut client = gateway.http1().await;
    let mut traced = BTreeSet::new();
    for at in 0..64_u64 {
        // The last seven bytes count, and the golden ratio spreads them.
        let end = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let answer = client.send(with("/", &[("traceparent", &parent(end, parents_say))])).await;
        let sent = answer.echoed("traceparent").remove(0);
        if sent.ends_with("-01") {
            traced.insert(sent[3..35].to_owned());
        }
    }
    traced
}

#[tokio::test]
async fn a_share_is_decided_by_the_traces_id_alike_everywhere() {
    let (one, other) = (Collector::grpc(), Collector::grpc());
    let half = "sample: {ratio: 0.5, parent: ignore}";
    let (_origin, _dir, first) = scene(&one, half).await;
    let (_origin, _dir, second) = scene(&other, half).await;
    let chosen = traced(&first, true).await;
    assert_eq!(chosen, traced(&second, false).await, "the parent's word does not count");
    assert!((24..=40).contains(&chosen.len()), "{} of 64", chosen.len());
    let least = u64::pow(2, 55);
    let is_high = |trace: &String| u64::from_str_radix(&trace[18..], 16).unwrap() >= least;
    assert!(chosen.iter().all(is_high), "{chosen:?}");
    let spans = one.wait_for(2 * chosen.len()).await;
    assert_eq!(spans.iter().map(|span| span.trace.clone()).collect::<BTreeSet<_>>(), chosen);
}

#[tokio::test]
async fn none_and_all_are_exactly_that() {
    let collector = Collector::grpc();
    let (_origin, dir, gateway) = scene(&collector, "sample: {ratio: 0, parent: ignore}").await;
    assert_eq!(traced(&gateway, true).await.len(), 0);
    dir.write("gateway.yaml", &document("sample: {ratio: 1, parent: ignore}"));
    gateway.apply().await;
    assert_eq!(traced(&gateway, false).await.len(), 64);
    assert_eq!(collector.wait_for(128).await.len(), 128, "none of before");
}

#[tokio::test]
async fn a_parent_decides_where_it_is_followed_and_the_share_for_the_others() {
    let collector = Collector::grpc();
    let (_origin, dir, gateway) = scene(&collector, "sample: {ratio: 0}").await;
    assert_eq!((traced(&gateway, true).await.len(), traced(&gateway, false).await.len()), (64, 0));
    let orphan = gateway.http1().await.get("/").await;
    assert!(orphan.echoed("traceparent")[0].ends_with("-02"), "random, and not traced");
    dir.write("gateway.yaml", &document("sample: {ratio: 1}"));
    gateway.apply().await;
    assert_eq!((traced(&gateway, true).await.len(), traced(&gateway, false).await.len()), (64, 0));
    let orphan = gateway.http1().await.get("/").await;
    assert!(orphan.echoed("traceparent")[0].ends_with("-03"), "random, and traced");
}

#[tokio::test]
async fn an_exchange_ends_with_the_sampler_that_it_began_with() {
    let collector = Collector::grpc();
    let (origin, dir, gateway) = scene(&collector, "sample: {ratio: 1}").await;
    let mut hold = origin.hold("/held");
    let mut client = gateway.http1().await;
    let waiting = tokio::spawn(async move { client.get("/held").await.status.as_u16() });
    let mut held = hold.next().await;
    dir.write("gateway.yaml", &document("sample: {ratio: 0}"));
    gateway.apply().await;
    gateway.http1().await.get("/later").await;
    held.answer(200, "").await;
    assert_eq!(waiting.await.unwrap(), 200);
    let spans = collector.wait_for(2).await;
    assert!(spans.iter().all(|span| span.attribute("url.path") == "/held"), "{spans:#?}");
    assert_eq!(spans.iter().find(|span| span.kind == "Server").unwrap().attribute("tidegate.generation"), "1");
    soon("what is off sends nothing", async || gateway.metric("tidegate_trace_spans_queued", "").await == 0.0).await;
    assert_eq!(collector.spans().len(), 2);
}
