//! How endpoints stand to each other: zones, priorities, panic, slow start.

use tidegate_tests::{Gateway, soon};

use super::{Scene, counts, shares, states};

const CHECK: &str = "health-check: {path: /healthz, interval: 20ms, unhealthy-after: 1, healthy-after: 1}";

async fn become_shares(gateway: &Gateway, expected: &[f64]) {
    soon(&format!("the shares are {expected:?}"), async || shares(gateway).await == expected).await;
}

#[tokio::test]
async fn the_own_zone_takes_all_and_gives_away_what_it_lacks() {
    let scene = Scene::new(4);
    let zones = "[{address: '{a}', zone: east}, {address: '{b}', zone: east}, {address: '{c}', zone: west}, '{d}']";
    scene.write(&format!("endpoints: {zones}, zone-overflow-below: 100%, {CHECK}"));
    let gateway = Gateway::start_in(&scene.dir, "east").await;
    become_shares(&gateway, &[0.5, 0.5, 0.0, 0.0]).await;
    let taken = counts(&mut gateway.http1().await, 20).await;
    assert_eq!((taken.get("a"), taken.get("b")), (Some(&10), Some(&10)));
    scene.origins[0].fail(Some(503));
    become_shares(&gateway, &[0.0, 0.5, 0.25, 0.25]).await;
    let taken = counts(&mut gateway.http1().await, 20).await;
    assert_eq!((taken.get("b"), taken.get("c"), taken.get("d")), (Some(&10), Some(&5), Some(&5)));
    scene.origins[1].fail(Some(503));
    become_shares(&gateway, &[0.0, 0.0, 0.5, 0.5]).await;
    let elsewhere = Gateway::start_in(&scene.dir, "west").await;
    scene.origins.iter().for_each(|origin| origin.fail(None));
    become_shares(&elsewhere, &[0.0, 0.0, 1.0, 0.0]).await;
    let nowhere = Gateway::start(&scene.dir).await;
    become_shares(&nowhere, &[0.25; 4]).await;
}

#[tokio::test]
async fn a_later_priority_takes_over_and_gives_back() {
    let scene = Scene::new(3);
    let endpoints = "['{a}', '{b}', {address: '{c}', priority: 1}]";
    let gateway = scene.start(&format!("endpoints: {endpoints}, {CHECK}")).await;
    become_shares(&gateway, &[0.5, 0.5, 0.0]).await;
    assert_eq!(counts(&mut gateway.http1().await, 10).await.get("c"), None);
    scene.origins.iter().take(2).for_each(|origin| origin.fail(Some(500)));
    become_shares(&gateway, &[0.0, 0.0, 1.0]).await;
    assert_eq!(counts(&mut gateway.http1().await, 10).await.get("c"), Some(&10));
    scene.origins[0].fail(None);
    become_shares(&gateway, &[1.0, 0.0, 0.0]).await;
}

#[tokio::test]
async fn below_the_panic_threshold_all_are_used_and_never_fails_instead() {
    let scene = Scene::new(4);
    let gateway = scene.start(&format!("endpoints: {{all}}, panic-threshold: 50%, {CHECK}")).await;
    scene.origins.iter().take(2).for_each(|origin| origin.fail(Some(500)));
    become_shares(&gateway, &[0.0, 0.0, 0.5, 0.5]).await;
    assert_eq!(gateway.metric("tidegate_upstream_panic", "users").await, 0.0);
    scene.origins[2].fail(Some(500));
    become_shares(&gateway, &[0.25; 4]).await;
    assert_eq!(states(&gateway).await, ["unhealthy", "unhealthy", "unhealthy", "healthy"]);
    assert_eq!(gateway.metric("tidegate_upstream_panic", "users").await, 1.0);
    scene.write(&format!("endpoints: {{all}}, panic-threshold: never, {CHECK}"));
    gateway.apply().await;
    become_shares(&gateway, &[0.0, 0.0, 0.0, 1.0]).await;
    scene.origins[3].fail(Some(500));
    become_shares(&gateway, &[0.0; 4]).await;
    assert_eq!(gateway.http1().await.get("/").await.status, 503);
}

#[tokio::test]
async fn an_endpoint_that_is_new_or_healthy_again_takes_a_tenth_at_first() {
    let scene = Scene::new(3);
    let gateway = scene.start(&format!("endpoints: ['{{a}}', '{{b}}'], slow-start: 3s, {CHECK}")).await;
    assert_eq!(shares(&gateway).await, [0.5, 0.5], "all are equally new: none takes less");
    soon("both are through with it", async || states(&gateway).await == ["healthy", "healthy"]).await;
    scene.write(&format!("endpoints: {{all}}, slow-start: 3s, {CHECK}"));
    gateway.apply().await;
    soon("the new one begins", async || states(&gateway).await[2] == "starting").await;
    let share = shares(&gateway).await[2];
    assert!(share < 0.33, "{share}");
    let taken = counts(&mut gateway.http1().await, 30).await;
    assert!(taken.get("c").copied().unwrap_or_default() < 10, "{taken:?}");
    soon("its share grows", async || shares(&gateway).await[2] > share).await;
}
