//! The tests `HTTPRouteExternalAuth*`, one function each. What is asked of a server in HTTP is seen by an origin; the one of
//! gRPC is written out here, with messages of its own.

use http::Method;
use serde_json::json;
use tidegate_tests::{Client, request};

use super::play::Stage;

#[tokio::test]
async fn http_route_external_auth_http() {
    let stage = Stage::set("HTTPRouteExternalAuthHTTP").await;
    stage.ask_all().await;
    let mut hold = stage.origins["v2"].hold("/auth/named/x");
    let web = stage.gateway.listener("gateway-80");
    let asked = tokio::spawn(async move {
        let mut ask = request(Method::PUT, "http://a.test/named/x?q=1").map(|_| "a body".into());
        for (name, value) in [("x-test-header", "hello"), ("x-other", "kept"), ("authorization", "Basic eDp5")] {
            ask.headers_mut().insert(name, value.parse().unwrap());
        }
        Client::http1(web).await.send(ask).await
    });
    let mut held = hold.next().await;
    assert_eq!(held.head.first, "PUT /auth/named/x?q=1 HTTP/1.1");
    let field = |name| held.head.field(name);
    assert_eq!(
        (field("x-test-header"), field("x-other"), field("host")),
        (Some("hello".into()), None, Some("a.test".into()))
    );
    assert_eq!((field("authorization"), field("content-length")), (Some("Basic eDp5".into()), Some("0".into())));
    held.send("HTTP/1.1 200 OK\r\nx-origin: auth\r\ncontent-length: 0\r\n\r\n").await;
    let answer = asked.await.unwrap();
    assert_eq!((answer.echoed("x-origin"), answer.echo()["body_bytes"].clone()), (vec!["auth".into()], json!(6)));
}

#[tokio::test]
async fn http_route_external_auth_http_forward_body() {
    let stage = Stage::set("HTTPRouteExternalAuthHTTP").await;
    let mut client = Client::http1(stage.gateway.listener("gateway-80")).await;
    let body = |bytes: usize| request(Method::POST, "http://a.test/body").map(|_| vec![b'x'; bytes].into());
    let mut hold = stage.origins["v2"].hold("/body");
    let play = async {
        let mut held = hold.next().await;
        assert_eq!(held.whole().await.unwrap().bytes, vec![b'x'; 100]);
        held.answer(200, "").await;
    };
    let (answer, ()) = tokio::join!(client.send(body(100)), play);
    assert_eq!((answer.status.as_u16(), answer.echo()["body_bytes"].clone()), (200, json!(100)));
    let before = stage.origins["v1"].requests();
    assert_eq!(client.send(body(101)).await.status, 413);
    assert_eq!(stage.origins["v1"].requests(), before);
}

#[tokio::test]
async fn http_route_external_auth_grpc() {
    let stage = Stage::set("HTTPRouteExternalAuthGRPC").await;
    let mut client = Client::http1(stage.gateway.listener("gateway-80")).await;
    let ask = |path: &str| {
        let mut ask = request(Method::POST, &format!("http://a.test{path}")).map(|_| "a body".into());
        for (name, value) in
            [("x-user", "forged"), ("x-group", "own"), ("x-gone", "1"), ("x-test", "t"), ("cookie", "c")]
        {
            ask.headers_mut().append(name, value.parse().unwrap());
        }
        ask
    };
    let answer = client.send(ask("/all/allowed?q=1")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-by")), (200, "auth"));
    assert_eq!((answer.echoed("x-user"), answer.echoed("x-gone")), (vec!["alice".into()], vec![]));
    assert_eq!(
        (answer.echoed("x-group").join(","), answer.echo()["body_bytes"].clone()),
        ("own,auth".into(), json!(6))
    );
    let denied = client.send(ask("/all/denied")).await;
    assert_eq!((denied.status.as_u16(), denied.header("x-auth-error")), (403, "access-denied"));
    assert_eq!(denied.text(), "Access denied by external auth server");
    assert_eq!(client.send(ask("/all/broken")).await.status, 502, "who cannot be asked lets nobody pass");
    assert_eq!(client.send(ask("/some/allowed")).await.status, 200);
    let over = request(Method::POST, "http://a.test/some/allowed").map(|_| vec![b'x'; 101].into());
    assert_eq!(client.send(over).await.status, 413);
    assert_eq!(stage.origins["v1"].requests(), 2);
    let asked = stage.authz.asked();
    let [all, .., some] = &asked[..] else { panic!("{asked:?}") };
    let told = (&*all.client, &*all.method, &*all.path, &*all.host, &*all.body);
    assert_eq!(told, ("127.0.0.1", "POST", "/all/allowed?q=1", "a.test", ""));
    assert_eq!((all.headers["cookie"].as_str(), all.headers[":path"].as_str()), ("c", "/all/allowed?q=1"));
    assert_eq!((some.body.as_str(), some.headers.get("cookie")), ("a body", None));
    assert_eq!(some.headers["x-test"], "t");
}
