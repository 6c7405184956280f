//! Calls that go well, and what they carry: messages of all sizes, both directions at a time, statuses, deadlines.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tidegate_tests::{
    grpc::{Caller, Echo, Said},
    soon,
};
use tokio::sync::mpsc;
use tonic::{Code, Request};

use super::{before, log};

fn said(number: u64) -> Said {
    Said { text: String::new(), number }
}

#[tokio::test]
async fn every_kind_of_call_passes() {
    let echo = Echo::start().await;
    let (dir, gateway) = before(&echo, "").await;
    let mut caller = Caller::connect(gateway.web()).await;
    assert_eq!(caller.say("hello").await.unwrap(), "hello");
    let large = "x".repeat(3_000_000);
    assert_eq!(caller.say(&large).await.unwrap(), large);
    let counted: Vec<_> = caller.count("", 1000).await.unwrap().map(|said| said.unwrap().number).collect().await;
    assert_eq!(counted, (0..1000).collect::<Vec<_>>());
    assert_eq!(
        caller.sum(stream::iter((0..1000).map(said))).await.unwrap(),
        Said { text: "1000".into(), number: 499_500 }
    );
    let chatted: Vec<_> =
        caller.chat(stream::iter((0..100).map(said))).await.unwrap().map(|said| said.unwrap().number).collect().await;
    assert_eq!(chatted, (0..100).collect::<Vec<_>>());
    soon("all are logged", async || log(&dir).len() == 5).await;
    assert!(log(&dir).iter().all(|line| line["grpc_status"] == 0 && line["status"] == 200));
}

#[tokio::test]
async fn both_directions_of_a_call_interleave() {
    let echo = Echo::start().await;
    let (_dir, gateway) = before(&echo, "").await;
    let mut caller = Caller::connect(gateway.web()).await;
    let (sender, mut messages) = mpsc::unbounded_channel();
    let stream = stream::poll_fn(move |cx| messages.poll_recv(cx));
    // The head of the answer comes before the first message is sent.
    let mut answers = caller.chat(stream).await.unwrap();
    for number in 0..50 {
        sender.send(said(number)).unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(said(number)));
    }
    drop(sender);
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test]
async fn many_small_messages_pass_as_fast_as_they_come() {
    let echo = Echo::start().await;
    let (_dir, gateway) = before(&echo, "").await;
    let mut caller = Caller::connect(gateway.web()).await;
    let counted = caller.sum(stream::iter((0..100_000).map(|_| said(1)))).await.unwrap();
    assert_eq!(counted, Said { text: "100000".into(), number: 100_000 });
    let answers = caller.count("", 100_000).await.unwrap();
    assert_eq!(answers.fold(0_u64, async |count, said| count + u64::from(said.is_ok())).await, 100_000);
}

#[tokio::test]
async fn statuses_and_texts_of_a_service_pass_as_they_are() {
    let echo = Echo::start().await;
    let (dir, gateway) = before(&echo, "").await;
    let mut caller = Caller::connect(gateway.web()).await;
    let status = caller.say("fail").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not so: 50% ä"));
    let mut answers = caller.count("broken", 2).await.unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(said(0)));
    assert_eq!(answers.message().await.unwrap(), Some(said(1)));
    assert_eq!(answers.message().await.unwrap_err().code(), Code::DataLoss);
    let missing = caller.say_at("/test.Echo/Missing", Request::new(said(0))).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::Unimplemented, "/test.Echo/Missing"));
    soon("all are logged", async || log(&dir).len() == 3).await;
    assert_eq!(log(&dir).iter().map(|line| line["grpc_status"].as_u64().unwrap()).collect::<Vec<_>>(), [9, 15, 12]);
}

#[tokio::test]
async fn a_deadline_is_kept_and_passed_on_reduced() {
    let echo = Echo::start().await;
    let (_dir, gateway) = before(&echo, "").await;
    let mut caller = Caller::connect(gateway.web()).await;
    let mut request = Request::new(Said { text: "timeout".into(), number: 0 });
    request.metadata_mut().insert("grpc-timeout", "60S".parse().unwrap());
    let arrived = caller.say_at("/test.Echo/Say", request).await.unwrap().into_inner().text;
    let micros: u64 = arrived.strip_suffix('u').unwrap().parse().unwrap();
    assert!(micros < 60_000_000, "{arrived}");
    let mut request = Request::new(Said { text: "timeout".into(), number: 0 });
    request.metadata_mut().remove("grpc-timeout");
    assert_eq!(caller.say_at("/test.Echo/Say", request).await.unwrap().into_inner().text, "");
}

#[tokio::test]
async fn a_stream_outlives_reloads() {
    let echo = Echo::start().await;
    let (dir, gateway) = before(&echo, "").await;
    let mut caller = Caller::connect(gateway.web()).await;
    let (sender, mut messages) = mpsc::unbounded_channel();
    let mut answers = caller.chat(stream::poll_fn(move |cx| messages.poll_recv(cx))).await.unwrap();
    for number in 0..5 {
        dir.write("more.yaml", &format!("routes: [{{id: more, path: /more/{number}, upstream: echo}}]\n"));
        gateway.reload().await;
        sender.send(said(number)).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), answers.message()).await.unwrap();
        assert_eq!(answer.unwrap(), Some(said(number)));
    }
}
