//! Components that fail: what their exchanges come to, and that nothing else notices.

use http::Method;
use http_body_util::BodyExt;
use tidegate_tests::{request, soon, streamed};

use super::scene;

#[tokio::test]
async fn a_component_that_fails_is_a_503_that_says_nothing_of_it() {
    let (origin, _side, _dir, gateway) =
        scene(", limits: {call-timeout: 200ms, exchange-timeout: 400ms, memory-bytes-max: 8MiB}").await;
    let mut client = gateway.http1().await;
    for does in ["trap", "loop", "bomb", "deep", "nothing", "wait", "error", "exit/well", "exit/badly"] {
        let answer = client.get(&format!("/{does}")).await;
        assert_eq!(answer.status, 503, "{does}");
        assert!(!answer.text().contains("as asked") && !answer.text().contains("wasm"), "{does}: {}", answer.text());
        assert_eq!(client.get("/hello").await.status, 200, "after {does}");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(client.get("/exit/after").await.text(), "said");
    let errors = async |kind: &str| gateway.metric("tidegate_plugin_errors_total", &format!("kind=\"{kind}\"")).await;
    assert_eq!((errors("plugin_failed").await, errors("plugin_timeout").await), (7.0, 2.0));
    soon("all guests are gone", async || gateway.metric("tidegate_plugin_guests", "").await == 0.0).await;
}

#[tokio::test]
async fn a_loop_delays_others_on_its_worker_by_little() {
    let (_origin, _side, _dir, gateway) = scene(", limits: {call-timeout: 20s, exchange-timeout: 20s}").await;
    // On both workers.
    let mut spinning = Vec::new();
    for _ in 0..6 {
        let mut client = gateway.http1().await;
        spinning.push(tokio::spawn(async move { client.try_send(request(Method::GET, "/loop")).await.map(drop) }));
    }
    soon("they run", async || gateway.metric("tidegate_plugin_guests", "").await >= 6.0).await;
    for _ in 0..20 {
        assert_eq!(gateway.http1().await.get("/hello").await.status, 200);
    }
    assert!(spinning.iter().all(|task| !task.is_finished()), "they still spin");
    spinning.iter().for_each(tokio::task::JoinHandle::abort);
    soon("they end with their clients", async || gateway.metric("tidegate_plugin_guests", "").await == 0.0).await;
}

#[tokio::test]
async fn an_answer_that_is_not_whole_never_looks_whole() {
    let (_origin, _side, _dir, gateway) = scene(", limits: {call-timeout: 200ms}").await;
    for does in ["break/trap", "break/loop", "break/exit", "break/abort", "short"] {
        for mut client in [gateway.http1().await, gateway.http2().await] {
            let failed = client.try_send(request(Method::GET, &format!("/{does}"))).await;
            assert!(failed.is_err(), "{does}: {failed:?}");
        }
    }
    assert_eq!(gateway.http1().await.get("/hello").await.status, 200);
}

#[tokio::test]
async fn where_the_policy_is_open_the_request_goes_on_as_it_came() {
    let (_origin, _side, _dir, gateway) =
        scene(", on-failure: open, limits: {call-timeout: 200ms, exchange-timeout: 400ms}").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for does in ["trap", "loop", "nothing", "wait"] {
            let mut asked = request(Method::POST, &format!("/{does}"));
            *asked.body_mut() = "whole".into();
            let answer = client.send(asked).await;
            assert_eq!((answer.status.as_u16(), answer.echo()["body_bytes"].as_u64()), (200, Some(5)), "{does}");
        }
        // What was read of a body cannot be sent on.
        let mut asked = request(Method::POST, "/read-trap");
        *asked.body_mut() = "whole".into();
        assert_eq!(client.send(asked).await.status, 503);
    }
}

#[tokio::test]
async fn a_guest_ends_with_its_client_and_with_its_time() {
    let (_origin, _side, _dir, gateway) = scene(", limits: {call-timeout: 200ms, exchange-timeout: 300ms}").await;
    let guests = async || gateway.metric("tidegate_plugin_guests", "").await;
    // Its client goes away while it sends, and while it reads.
    let (sender, body) = streamed();
    let mut client = gateway.http1().await;
    let mut response = client.open(request(Method::POST, "/send/100000000").map(|_| body)).await.unwrap();
    assert!(response.frame().await.unwrap().is_ok());
    assert_eq!(guests().await, 1.0);
    drop((response, client, sender));
    soon("it is gone with its client", async || guests().await == 0.0).await;
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "").await, 0.0, "which is no failure of its own");
    // It has answered and goes on: for so long and no longer.
    for does in ["linger/wait", "linger/loop"] {
        assert_eq!(gateway.http1().await.get(&format!("/{does}")).await.text(), "done");
        soon("it is gone with its time", async || guests().await == 0.0).await;
    }
}

#[tokio::test]
async fn so_many_guests_are_at_work_and_no_more() {
    let (_origin, _side, _dir, gateway) = scene(", limits: {guests-max: 2, exchange-timeout: 20s}").await;
    let mut waiting = Vec::new();
    // Of three on two workers that take one each, one is over.
    let overloaded = async || gateway.metric("tidegate_plugin_errors_total", "kind=\"plugin_overloaded\"").await >= 1.0;
    for _ in 0..3 {
        let mut client = gateway.http1().await;
        waiting
            .push(tokio::spawn(async move { client.try_send(request(Method::GET, "/wait")).await.map(|a| a.status) }));
    }
    soon("one is refused", async || {
        let mut refused = false;
        for task in &mut waiting {
            if task.is_finished() {
                refused = true;
            }
        }
        refused || overloaded().await
    })
    .await;
    assert!(gateway.metric("tidegate_plugin_guests", "").await <= 2.0);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_component_that_fails_again_and_again_is_left_alone() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    let mut client = gateway.http1().await;
    for _ in 0..30 {
        assert_eq!(client.get("/trap").await.status, 503);
    }
    let instantiated = gateway.metric("tidegate_plugin_instantiations_total", "").await;
    assert_eq!(instantiated, 20.0, "after 20 failures in a row it is not started");
}
