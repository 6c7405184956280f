//! What is copied, what is not, and that the original notices neither.

use std::{cell::RefCell, collections::VecDeque};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::task::LocalSet;

use super::*;
use crate::{
    error::Kind,
    exchange::{Response, testing},
    filter::{Action, Chain, Origin, Step},
};

thread_local! {
    static SEEN: RefCell<Vec<(&'static str, String)>> = RefCell::default();
}

/// Reads the whole body and notes it under its name.
#[derive(Clone)]
struct Reader(&'static str, Result<StatusCode, Kind>);

impl Call for Reader {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async move {
            let target = format!("{} {}{}", request.head.method, request.authority, request.head.uri);
            let body = request.body.collect().await?.to_bytes();
            SEEN.with_borrow_mut(|seen| seen.push((self.0, format!("{target} {}", String::from_utf8_lossy(&body)))));
            self.1.map(Response::empty).map_err(|kind| Error::new(kind, "reader"))
        })
    }
}

fn mirror(to: Arc<dyn Call>, percent: f64, body_bytes_max: usize) -> Mirror {
    let spec = spec::Mirror { upstream: "shadow".into(), percent, body_bytes_max };
    Mirror::new(&spec, to, Arc::new(MirrorSeries::new(1)))
}

fn streamed(chunks: &[&'static str]) -> Body {
    let frames: VecDeque<_> =
        chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))).collect();
    Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
}

// Runs until every copy is through.
fn run(
    mirror: Mirror,
    request: Box<Request>,
    end: &(impl Call + Clone + 'static),
) -> (StatusCode, [u64; 5], Vec<(&'static str, String)>) {
    let end: Arc<dyn Call> = Arc::new(end.clone());
    let series = Arc::clone(&mirror.target.series);
    let chain = Chain::new([Step { name: "m".into(), origin: Origin::Route, action: Action::Edit(Arc::new(mirror)) }]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (local, exchange) = (LocalSet::new(), Rc::clone(&request.exchange));
    let mirrors = exchange.worker.locals.of::<Mirrors>();
    let before = mirrors.under_way.get();
    let response = local.block_on(&runtime, chain.run(request, &end));
    runtime.block_on(local);
    assert_eq!(mirrors.under_way.get(), before, "every copy is through");
    (response.head.status, MirrorOutcome::ALL.map(|outcome| series.count(outcome)), SEEN.take())
}

#[test]
fn a_copy_has_head_and_body_and_its_answer_is_ignored() {
    let (end, to) = (Reader("end", Ok(StatusCode::OK)), Arc::new(Reader("copy", Ok(StatusCode::IM_A_TEAPOT))));
    for (body, text) in [(Body::empty(), ""), (Body::full("abc"), "abc"), (streamed(&["ab", "", "cde"]), "abcde")] {
        let mut request = testing::request(Method::PUT, "http://a.test/x?y");
        request.body = body;
        let (status, counts, mut seen) = run(mirror(to.clone(), 100.0, 5), request, &end);
        seen.sort_unstable();
        let expected = format!("PUT a.test/x?y {text}");
        assert_eq!(seen, [("copy", expected.clone()), ("end", expected)]);
        assert_eq!((status, counts), (StatusCode::OK, [1, 0, 0, 0, 0]));
    }
}

#[test]
fn a_copy_that_fails_is_counted_and_nothing_more() {
    let (end, to) = (Reader("end", Ok(StatusCode::OK)), Arc::new(Reader("copy", Err(Kind::UpstreamConnect))));
    let request = testing::request(Method::GET, "/");
    let exchange = Rc::clone(&request.exchange);
    let (status, counts, _) = run(mirror(to, 100.0, 5), request, &end);
    assert_eq!((status, counts), (StatusCode::OK, [0, 0, 0, 0, 1]));
    assert!(exchange.record.read(|recorded| recorded.error.is_none()));
}

#[test]
fn a_body_over_the_limit_is_not_mirrored() {
    let (end, to) = (Reader("end", Ok(StatusCode::OK)), Arc::new(Reader("copy", Ok(StatusCode::OK))));
    for body in [Body::full("abcdef"), streamed(&["abc", "def"])] {
        let mut request = testing::request(Method::PUT, "/");
        request.body = body;
        let (status, counts, seen) = run(mirror(to.clone(), 100.0, 5), request, &end);
        assert_eq!(seen, [("end", "PUT test.example/ abcdef".to_owned())]);
        assert_eq!((status, counts), (StatusCode::OK, [0, 0, 1, 0, 0]));
    }
}

/// Answers without reading.
#[derive(Clone)]
struct Hasty;

impl Call for Hasty {
    fn call(&self, _request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(std::future::ready(Ok(Response::empty(StatusCode::OK))))
    }
}

#[test]
fn a_body_that_is_never_read_is_not_mirrored() {
    let to = Arc::new(Reader("copy", Ok(StatusCode::OK)));
    let mut request = testing::request(Method::PUT, "/");
    request.body = streamed(&["abc"]);
    let (_, counts, seen) = run(mirror(to, 100.0, 5), request, &Hasty);
    assert_eq!((counts, seen), ([0, 0, 0, 1, 0], vec![]));
}

#[test]
fn no_share_and_no_tunnel_is_copied() {
    let (end, to) = (Reader("end", Ok(StatusCode::OK)), Arc::new(Reader("copy", Ok(StatusCode::OK))));
    let (_, _, seen) = run(mirror(to.clone(), 0.0, 5), testing::request(Method::GET, "/"), &end);
    assert_eq!(seen.len(), 1);
    let mut request = testing::request(Method::GET, "/");
    request.upgrade = Some(HeaderValue::from_static("websocket"));
    let (_, _, seen) = run(mirror(to, 100.0, 5), request, &end);
    assert_eq!(seen.len(), 1);
}

#[test]
fn about_the_share_is_picked() {
    let mirrors = Mirrors { random: Cell::new(1), ..Mirrors::default() };
    let picked = (0..100_000).filter(|_| mirrors.picks(12.5)).count();
    assert!((12_000..13_000).contains(&picked), "{picked}");
}

#[test]
fn so_many_copies_at_a_time_and_no_more() {
    let (end, to) = (Reader("end", Ok(StatusCode::OK)), Arc::new(Reader("copy", Ok(StatusCode::OK))));
    let request = testing::request(Method::GET, "/");
    let mirrors = request.exchange.worker.locals.of::<Mirrors>();
    let slots: Vec<_> = std::iter::from_fn(|| mirrors.slot()).collect();
    assert_eq!(slots.len(), MIRRORS_MAX);
    let (status, counts, seen) = run(mirror(to, 100.0, 5), request, &end);
    assert_eq!((status, counts, seen.len()), (StatusCode::OK, [0, 1, 0, 0, 0], 1));
    drop(slots);
    assert!(mirrors.slot().is_some());
}
