//! What is compressed and what is left alone, that nothing waits, and that nobody is kept waiting.

use std::{
    collections::VecDeque,
    io::Read as _,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::*;
use crate::{config::spec::CompressLevels, error::Error, exchange::testing};

fn spec() -> spec::Compress {
    spec::Compress {
        codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
        types: vec!["text/*".parse().unwrap(), "application/*+json".parse().unwrap()],
        body_bytes_min: 100,
        levels: CompressLevels::default(),
    }
}

// What comes of a response with these fields to a request with these.
fn through(method: Method, asked: &[(&str, &str)], status: u16, fields: &[(&str, &str)], body: Body) -> Response {
    let mut request = testing::request(method, "/");
    for (name, value) in asked {
        request.head.headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    let visit = Compress::new(&spec()).begin(&request.exchange);
    let Wait::Ready(Ok(ControlFlow::Continue(_))) = Rc::clone(&visit).request(request) else { panic!("it passes") };
    let mut response = Response::empty(StatusCode::from_u16(status).unwrap());
    for (name, value) in fields {
        response.head.headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    response.body = body;
    let Wait::Ready(Ok(response)) = visit.response(response) else { panic!("it is there") };
    response
}

fn text() -> String {
    "all that is gold does not glitter\n".repeat(100)
}

fn read(coding: &str, bytes: &[u8]) -> String {
    let mut plain = String::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_string(&mut plain).unwrap()),
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_string(&mut plain).unwrap()),
        "zstd" => plain = String::from_utf8(zstd::stream::decode_all(bytes).unwrap()).unwrap(),
        other => panic!("{other}"),
    }
    plain
}

async fn collect(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_body_comes_in_the_coding_that_is_accepted() {
    for coding in ["gzip", "br", "zstd"] {
        let fields = [("content-type", "text/html; charset=utf-8"), ("content-length", "3400"), ("etag", "\"v1\"")];
        let response = through(Method::GET, &[("accept-encoding", coding)], 200, &fields, Body::full(text()));
        let headers = &response.head.headers;
        let said = ["content-encoding", "vary", "etag"].map(|name| headers[name].to_str().unwrap());
        assert_eq!(said, [coding, "Accept-Encoding", "W/\"v1\""]);
        assert!(!headers.contains_key("content-length"));
        let bytes = collect(response.body).await;
        assert!(bytes.len() < text().len() / 5, "{coding}: {}", bytes.len());
        assert_eq!(read(coding, &bytes), text());
    }
}

#[test]
fn what_must_stay_as_it_is_does() {
    const HTML: (&str, &str) = ("content-type", "text/html");
    let (gzip, long) = (("accept-encoding", "gzip"), || Body::full(text()));
    let (only, refusing) = ([gzip], [gzip, ("cache-control", "no-transform")]);
    // Fields of the request, status, fields of the response, body, whether `Vary` is added all the same.
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a [(&'a str, &'a str)], Body, bool);
    let cases: Vec<Case<'_>> = vec![
        (&[], 200, &[HTML], long(), true),
        (&[("accept-encoding", "gzip;q=0")], 200, &[HTML], long(), true),
        (&[("accept-encoding", "deflate, identity")], 200, &[HTML], long(), true),
        (&only, 200, &[("content-type", "image/png")], long(), false),
        (&only, 200, &[], long(), false),
        (&only, 200, &[HTML], Body::full("short"), false),
        (&only, 200, &[HTML, ("content-encoding", "br")], long(), false),
        (&only, 200, &[HTML, ("cache-control", "public, no-transform")], long(), false),
        (&refusing, 200, &[HTML], long(), false),
        (&only, 206, &[HTML, ("content-range", "bytes 0-3399/9000")], long(), false),
        (&only, 204, &[HTML], Body::empty(), false),
        (&only, 304, &[HTML], Body::empty(), false),
        (&only, 200, &[HTML], Body::empty(), false),
    ];
    for (asked, status, fields, body, varies) in cases {
        let response = through(Method::GET, asked, status, fields, body);
        let encoding = response.head.headers.get("content-encoding").filter(|value| *value != "br");
        assert_eq!(
            (encoding, response.head.headers.contains_key("vary")),
            (None, varies),
            "{asked:?} {status} {fields:?}"
        );
    }
    let ok = through(Method::GET, &[gzip], 200, &[("content-type", "application/problem+json")], long());
    assert_eq!(ok.head.headers["content-encoding"], "gzip");
    let varied = [HTML, ("vary", "origin, accept-encoding")];
    let ok = through(Method::GET, &[gzip], 200, &varied, long());
    assert_eq!(ok.head.headers.get_all("vary").iter().count(), 1);
}

#[test]
fn a_head_and_a_304_say_what_a_get_would() {
    let (gzip, html) = (("accept-encoding", "gzip"), ("content-type", "text/html"));
    let fields = [html, ("content-length", "3400"), ("etag", "\"v1\""), ("accept-ranges", "bytes")];
    let head = through(Method::HEAD, &[gzip], 200, &fields, Body::empty()).head.headers;
    assert_eq!(["content-encoding", "etag"].map(|name| head[name].to_str().unwrap()), ["gzip", "W/\"v1\""]);
    assert!(!head.contains_key("content-length") && !head.contains_key("accept-ranges"));
    let short = through(Method::HEAD, &[gzip], 200, &[html, ("content-length", "99")], Body::empty()).head.headers;
    assert_eq!((short.get("content-encoding"), short["content-length"].to_str().unwrap()), (None, "99"));
    let unchanged = through(Method::GET, &[gzip], 304, &[("etag", "\"v1\"")], Body::empty()).head.headers;
    assert_eq!(unchanged["etag"], "W/\"v1\"");
}

/// Frames as they are taken out; `None` is a wait.
struct Script(VecDeque<Option<Frame<Bytes>>>);

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.0.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn what_is_there_is_sent_before_more_is_waited_for() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-digest", HeaderValue::from_static("1"));
    let event = |text: &'static str| Some(Frame::data(Bytes::from_static(text.as_bytes())));
    for coding in Coding::ALL {
        let script = vec![
            event("data: one\n\n"),
            None,
            None,
            event("data: two\n\n"),
            None,
            Some(Frame::trailers(trailers.clone())),
        ];
        let coder = Coder::new(coding, &CompressLevels::default(), &Worker::new(0)).unwrap();
        let mut body = Compressed::new(Body::stream(Script(script.into())), coder);
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let (mut sent, mut pending, mut ends) = (Vec::new(), 0, None);
        let mut sizes = Vec::new();
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                // It makes way for others: on a busy machine its turn is over at once.
                Poll::Pending if woken.0.swap(false, Relaxed) => {}
                Poll::Pending => {
                    pending += 1;
                    sizes.push(sent.len());
                }
                Poll::Ready(Some(frame)) => match frame.unwrap().into_data() {
                    Ok(data) => sent.extend(data),
                    Err(frame) => ends = frame.into_trailers().ok(),
                },
                Poll::Ready(None) => break,
            }
        }
        assert_eq!(read(coding.name(), &sent), "data: one\n\ndata: two\n\n");
        // One wait of each is taken up by a flush; the second wait of the first event finds nothing to flush.
        assert!(pending >= 1 && sizes[0] > 0, "{coding:?}: {sizes:?}");
        assert_eq!(ends.as_ref(), Some(&trailers));
    }
}

#[test]
fn a_long_body_makes_way_for_others() {
    let long: Vec<u8> = (0..8u32 << 20).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let coder = Coder::new(Coding::Gzip, &CompressLevels::default(), &Worker::new(0)).unwrap();
    let mut body = Compressed::new(Body::full(long), coder);
    let mut cx = Context::from_waker(Waker::noop());
    let (mut turns, mut largest) = (0, 0);
    loop {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Pending => turns += 1,
            Poll::Ready(Some(frame)) => largest = largest.max(frame.unwrap().into_data().unwrap().len()),
            Poll::Ready(None) => break,
        }
    }
    assert!(turns > 10, "{turns}");
    assert!(largest < 64 << 10, "{largest}");
}
