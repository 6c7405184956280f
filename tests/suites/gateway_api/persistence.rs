//! The tests of session persistence, one function each.

use std::collections::BTreeSet;

use http::{HeaderValue, Method, header};
use tidegate_tests::{Answer, Client, request};

use super::play::Stage;

async fn ask(stage: &Stage, path: &str, cookie: &str) -> Answer {
    let mut ask = request(Method::GET, &format!("http://a.test{path}"));
    if !cookie.is_empty() {
        ask.headers_mut().insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
    }
    // A connection each: nothing but the cookie leads to an endpoint.
    Client::http1(stage.gateway.listener("gateway-80")).await.send(ask).await
}

#[tokio::test]
async fn http_route_session_persistence_cookie() {
    let stage = Stage::set("HTTPRouteSessionPersistenceCookie").await;
    for (path, name, lasts) in [("/session", "tidegate-affinity", false), ("/named", "node", true)] {
        let first = ask(&stage, path, "").await;
        let set = first.header("set-cookie").to_owned();
        let cookie = set.split(';').next().unwrap();
        assert!(cookie.starts_with(&format!("{name}=")), "{set}");
        assert_eq!(set.to_ascii_lowercase().contains("max-age=3600"), lasts, "{set}");
        assert!(!set.to_ascii_lowercase().contains("expires"), "{set}");
        for _ in 0..10 {
            assert_eq!(ask(&stage, path, cookie).await.header("x-origin"), first.header("x-origin"));
        }
        let mut others = BTreeSet::new();
        for _ in 0..20 {
            others.insert(ask(&stage, path, "").await.header("x-origin").to_owned());
        }
        assert!(others.len() > 1, "who has no cookie goes anywhere");
    }
    for path in ["/unbound", "/header"] {
        assert_eq!(ask(&stage, path, "").await.header("set-cookie"), "", "{path}");
    }
}

#[tokio::test]
async fn grpc_route_session_persistence_cookie() {
    let stage = Stage::set("GRPCRouteSessionPersistenceCookie").await;
    let first = stage.send("grpc://a.test/s/m").await;
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("tidegate-affinity="), "{cookie}");
    let counts = || ["g1", "g2"].map(|name| stage.http2_origins[name].requests());
    let before = counts();
    assert_eq!(before.iter().sum::<usize>(), 1);
    for _ in 0..10 {
        stage.send(&format!("grpc://a.test/s/m; cookie: {cookie}")).await;
    }
    assert_eq!(counts(), before.map(|count| count * 11), "all of them are where the first one was");
}
