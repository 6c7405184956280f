//! Tests of what is asked, and of what an answer does.

use std::sync::Mutex;

use futures_util::{FutureExt, future::LocalBoxFuture};
use http::{Method, StatusCode};

use super::*;
use crate::exchange::testing;

/// Notes what it is asked, and answers with a status and fields.
struct Answering(Mutex<Vec<(Method, String, HeaderMap)>>, StatusCode, HeaderMap);

impl Call for Answering {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        assert!(request.body.is_empty());
        let asked = (request.head.method.clone(), request.head.uri.to_string(), request.head.headers.clone());
        self.0.lock().unwrap().push(asked);
        let mut response = Response::empty(self.1);
        response.head.headers = self.2.clone();
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn fields(text: &str) -> HeaderMap {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

fn said(headers: &HeaderMap) -> String {
    let mut said: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
    said.sort();
    said.join(" ")
}

fn names(text: &str) -> Vec<HeaderName> {
    text.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

fn spec(request: Option<&str>, upstream: &str, client: &str) -> spec::ForwardAuth {
    spec::ForwardAuth {
        upstream: "auth".into(),
        asks: AuthQuestion::Path("/verify?x=1".into()),
        body_bytes_max: 0,
        timeout: Duration::from_secs(5),
        request_headers: request.map(names),
        upstream_headers: spec::AllOr {
            all: upstream == "*",
            named: if upstream == "*" { vec![] } else { names(upstream) },
        },
        client_headers: names(client),
    }
}

#[tokio::test]
async fn the_question_has_no_body_and_only_the_fields_that_go_with_it() {
    let always = "x-forwarded-for=192.0.2.1 x-forwarded-method=PUT x-forwarded-uri=/a?b=c";
    let sent = "x-forwarded-for=192.0.2.1 x-forwarded-uri=/forged cookie=c content-type=text/plain content-length=3 \
                if-none-match=e range=bytes x-a=1";
    let cases = [
        (None, format!("cookie=c {always} x-a=1")),
        (Some("cookie"), format!("cookie=c {always}")),
        (Some(""), always.into()),
    ];
    for (request_headers, expected) in cases {
        let call = Arc::new(Answering(Mutex::default(), StatusCode::NO_CONTENT, HeaderMap::new()));
        let step = ForwardAuth::new(&spec(request_headers, "", ""), call.clone());
        let mut request = testing::request(Method::PUT, "/a?b=c");
        request.head.headers = fields(sent);
        request.body = Body::full("abc");
        let flow = step.begin(&request.exchange).request(request).settle().await.unwrap();
        let ControlFlow::Continue(request) = flow else { panic!("it does not pass") };
        assert_eq!(said(&request.head.headers), said(&fields(sent)), "the request itself stays as it is");
        assert!(!request.body.is_empty());
        let asked = call.0.lock().unwrap().pop().unwrap();
        assert_eq!((asked.0, asked.1.as_str(), said(&asked.2)), (Method::GET, "/verify?x=1", said(&fields(&expected))));
    }
}

#[tokio::test]
async fn fields_of_the_answer_go_both_ways() {
    let answer = fields("x-user=alice x-group=a x-group=b set-cookie=s x-other=1");
    let call = Arc::new(Answering(Mutex::default(), StatusCode::OK, answer));
    let step = ForwardAuth::new(&spec(None, "x-user x-group x-gone", "set-cookie x-user"), call);
    let mut request = testing::request(Method::GET, "/");
    request.head.headers = fields("x-user=forged x-gone=forged x-kept=1");
    let visit = step.begin(&request.exchange);
    let flow = Rc::clone(&visit).request(request).settle().await.unwrap();
    let ControlFlow::Continue(request) = flow else { panic!("it does not pass") };
    assert_eq!(said(&request.head.headers), "x-group=a x-group=b x-kept=1 x-user=alice");
    let mut response = Response::empty(StatusCode::OK);
    response.head.headers = fields("set-cookie=own x-user=upstream");
    let response = visit.response(response).settle().now_or_never().unwrap().unwrap();
    assert_eq!(said(&response.head.headers), "set-cookie=own set-cookie=s x-user=alice");
}

#[tokio::test]
async fn any_other_answer_is_the_clients() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FOUND, StatusCode::NOT_MODIFIED, StatusCode::BAD_GATEWAY] {
        let call = Arc::new(Answering(Mutex::default(), status, fields("location=/login")));
        let step = ForwardAuth::new(&spec(None, "", ""), call);
        let request = testing::request(Method::GET, "/");
        let flow = step.begin(&request.exchange).request(request).settle().await.unwrap();
        let ControlFlow::Break(response) = flow else { panic!("{status} passes") };
        assert_eq!((response.head.status, said(&response.head.headers)), (status, "location=/login".into()));
    }
}
