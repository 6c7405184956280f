//! Passive ejection: who is out, for how long, and how many at most.

use tidegate_tests::{Client, soon};

use super::{Scene, shares, states};

async fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(client.get("/").await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn an_endpoint_that_fails_is_ejected_after_so_many_and_comes_back() {
    let scene = Scene::new(3);
    let ejection = "ejection: {consecutive-errors: 3, base-time: 2s}";
    let gateway = scene.start(&format!("endpoints: {{all}}, {ejection}")).await;
    let mut client = gateway.http1().await;
    scene.origins[0].fail(Some(500));
    let statuses = statuses(&mut client, 30).await;
    let failed = statuses.iter().filter(|status| **status == 500).count();
    assert_eq!(failed, 3, "{statuses:?}");
    assert_eq!(gateway.metric("tidegate_upstream_ejections_total", "consecutive_errors").await, 1.0);
    // Another weight makes it another upstream, whose endpoints are the same.
    scene.write(&format!("endpoints: [{{address: '{{a}}', weight: 2}}, '{{b}}', '{{c}}'], {ejection}"));
    gateway.apply().await;
    assert_eq!(states(&gateway).await[0], "ejected", "a reload forgets nothing");
    scene.origins[0].fail(None);
    soon("it is back", async || client.get("/").await.header("x-origin") == "a").await;
    assert_eq!(states(&gateway).await, ["healthy"; 3]);
}

#[tokio::test]
async fn no_more_are_out_than_may_be() {
    let scene = Scene::new(4);
    let settings =
        "consecutive-errors: 0, consecutive-gateway-errors: 1, base-time: 1h, time-max: 1h, percent-max: 50%";
    let gateway = scene.start(&format!("endpoints: {{all}}, ejection: {{{settings}}}")).await;
    let mut client = gateway.http1().await;
    scene.origins.iter().take(3).for_each(|origin| origin.fail(Some(502)));
    statuses(&mut client, 40).await;
    let states = states(&gateway).await;
    assert_eq!(states.iter().filter(|state| *state == "ejected").count(), 2, "{states:?}");
    soon("the others share", async || shares(&gateway).await.iter().filter(|share| **share == 0.5).count() == 2).await;
    let statuses = statuses(&mut client, 20).await;
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(failed, 10, "the third one takes its turn: {statuses:?}");
    assert_eq!(gateway.metric("tidegate_upstream_endpoints", "state=\"ejected\"").await, 2.0);
}

#[tokio::test]
async fn a_success_rate_far_below_the_others_ejects() {
    let scene = Scene::new(4);
    let rate = "success-rate: {deviations: 1.2, requests-min: 5, endpoints-min: 4}";
    let settings = format!("consecutive-errors: 0, {rate}, interval: 300ms, base-time: 1h, time-max: 1h");
    let gateway = scene.start(&format!("endpoints: {{all}}, ejection: {{{settings}}}")).await;
    let mut client = gateway.http1().await;
    scene.origins[2].fail(Some(500));
    soon("the one that fails is out", async || {
        statuses(&mut client, 40).await;
        states(&gateway).await[2] == "ejected"
    })
    .await;
    let states = states(&gateway).await;
    assert_eq!(states.iter().filter(|state| *state == "ejected").count(), 1, "{states:?}");
    assert_eq!(statuses(&mut client, 30).await, [200; 30]);
}
