//! Plugins that ask for the chunks of a body within one call.

use http_body::{Body as _, Frame};
use tokio::sync::mpsc;

use super::*;
use crate::error::Kind;

/// A body that the test feeds: a chunk, or why it breaks off; it ends when the sender is dropped.
struct Fed(mpsc::UnboundedReceiver<Result<Bytes, Error>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.poll_recv(cx).map(|next| next.map(|next| next.map(Frame::data)))
    }
}

fn fed() -> (mpsc::UnboundedSender<Result<Bytes, Error>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::stream(Fed(receiver)))
}

async fn next(body: &mut Body) -> Bytes {
    body.frame().await.expect("there is more").expect("it did not break off").into_data().expect("it is data")
}

/// Answers at once with the request's own body.
struct Mirror;

impl Call for Mirror {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async move {
            let mut response = Response::empty(StatusCode::OK);
            response.body = request.body;
            Ok(response)
        })
    }
}

#[test]
fn one_call_sees_a_whole_body_in_chunks() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-pull"), |_| ()).await;
        let long = "x".repeat(200_000);
        for (sent, expected) in [
            (chunks(&["ab", "", "cd", "e"]), "ABCDE".to_owned()),
            (chunks(&["one"]), "ONE".into()),
            (Body::full(long.clone()), long.to_uppercase()),
        ] {
            let got = bench.send(&[&plugin], bench.post(sent)).await;
            assert_eq!((&got.body, got.error()), (&expected, None));
        }
        assert_eq!(bench.guests().free(), 1, "the guest came back each time");
    });
}

#[test]
fn a_chunk_is_asked_for_only_when_the_reader_asks_here_too() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-pull"), |_| ()).await;
        let polled = Rc::new(RefCell::new(0));
        let body = Body::stream(Chunks(["a", "b", "c"].map(Bytes::from).into(), Rc::clone(&polled)));
        let mut response = chain(&[&plugin]).run(bench.post(body), &end(Mirror)).await;
        assert_eq!((next(&mut response.body).await.as_ref(), *polled.borrow()), (&b"A"[..], 1));
        assert_eq!((next(&mut response.body).await.as_ref(), *polled.borrow()), (&b"B"[..], 2));
    });
}

#[test]
fn both_bodies_go_on_while_each_waits_for_the_other() {
    on_worker(async {
        let bench = Bench::new();
        // Twice over: a request's body and a response's, in both of two plugins.
        let one = bench.plugin("one", guest!("upper-pull"), |_| ()).await;
        let two = bench.plugin("two", guest!("upper-pull"), |_| ()).await;
        let (sender, body) = fed();
        sender.send(Ok("a".into())).unwrap();
        let mut response = chain(&[&one, &two]).run(bench.post(body), &end(Mirror)).await;
        for (sent, expected) in [("b", "A"), ("c", "B"), ("d", "C")] {
            assert_eq!(next(&mut response.body).await, expected);
            sender.send(Ok(sent.into())).unwrap();
        }
        drop(sender);
        assert_eq!(response.body.collect().await.unwrap().to_bytes(), "D");
        assert_eq!(bench.guests().free(), 4);
    });
}

#[test]
fn waiting_for_a_chunk_is_not_the_plugins_time() {
    on_worker(async {
        let bench = Bench::new();
        let limit = |spec: &mut spec::Plugin| spec.limits.call_timeout = Duration::from_millis(50);
        let plugin = bench.plugin("upper", guest!("upper-pull"), limit).await;
        let (sender, body) = fed();
        sender.send(Ok("a".into())).unwrap();
        let mut response = chain(&[&plugin]).run(bench.post(body), &end(Mirror)).await;
        assert_eq!(next(&mut response.body).await, "A");
        let waited = tokio::time::timeout(Duration::from_millis(200), response.body.frame()).await;
        assert!(waited.is_err(), "nothing comes");
        sender.send(Ok("b".into())).unwrap();
        assert_eq!(next(&mut response.body).await, "B");
    });
}

#[test]
fn a_plugin_is_told_that_a_body_broke_off_and_its_guest_lives() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-pull"), |_| ()).await;
        let (sender, body) = fed();
        sender.send(Ok("a".into())).unwrap();
        sender.send(Err(Error::new(Kind::ClientGone, "the client went away"))).unwrap();
        let mut response = chain(&[&plugin]).run(bench.post(body), &end(Mirror)).await;
        assert_eq!(next(&mut response.body).await, "A");
        let broken = response.body.frame().await.unwrap().unwrap_err();
        assert_eq!(broken.kind(), Kind::ClientGone);
        drop(response);
        assert_eq!(bench.guests().free(), 2, "one that saw the request's body, and one the response's");
    });
}

#[test]
fn a_body_that_nobody_reads_to_its_end_takes_its_guest_with_it() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-pull"), |_| ()).await;
        let mut response = chain(&[&plugin]).run(bench.post(chunks(&["a", "b"])), &end(Mirror)).await;
        assert!(!response.body.is_end_stream());
        assert_eq!(next(&mut response.body).await, "A");
        drop(response);
        assert_eq!(bench.guests().free(), 0);
        assert_eq!(bench.send(&[&plugin], bench.post(chunks(&["a", "b"]))).await.body, "AB");
    });
}
