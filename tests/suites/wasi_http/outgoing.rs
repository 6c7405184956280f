//! Requests that a component sends: along the rest of the chain, to upstreams that are granted, and nowhere else.

use http::Method;
use tidegate_tests::{Answer, Gateway, Raw, request, streamed};

use super::{bodies::piece, scene};

#[tokio::test]
async fn a_request_to_its_own_authority_or_to_next_goes_on_along_the_chain() {
    let (origin, side, _dir, gateway) = scene("").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for target in ["/next/a?b=c", "/named/a?b=c"] {
            let mut asked = request(Method::PUT, target);
            *asked.body_mut() = "a body".into();
            asked.headers_mut().insert("x-client", "1".parse().unwrap());
            let answer = client.send(asked).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-by")), (200, "wasi"), "{}", answer.text());
            let echo = answer.echo();
            assert_eq!((echo["method"].as_str(), echo["target"].as_str()), (Some("PUT"), Some(target)));
            assert_eq!(echo["body_bytes"], 6);
            assert_eq!((answer.echoed("x-client"), answer.echoed("x-passed")), (vec!["1".into()], vec!["wasi".into()]));
            assert_eq!(answer.echoed("host"), ["test.example"]);
            assert_eq!(client.get(target).await.echoed("transfer-encoding").len(), 0, "no body is none to the origin");
            let head = client.send(request(Method::HEAD, target)).await;
            assert_eq!((head.status.as_u16(), head.header("x-by"), head.body.len()), (200, "wasi", 0));
        }
    }
    assert_eq!((origin.requests(), side.requests()), (12, 0));
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "").await, 0.0);
    tidegate_tests::soon("all guests are gone", async || gateway.metric("tidegate_plugin_guests", "").await == 0.0)
        .await;
}

#[tokio::test]
async fn bodies_and_trailers_stream_through_a_component_in_the_middle() {
    let (origin, _side, _dir, gateway) = scene("").await;
    let mut hold = origin.hold("/next");
    let (sender, body) = streamed();
    let client = gateway.http2().await;
    let mut another = client.another();
    let asked = tokio::spawn(async move { another.open(request(Method::POST, "/next").map(|_| body)).await.unwrap() });
    assert!(sender.send("up").await);
    let mut held = hold.next().await;
    assert_eq!(held.piece().await.unwrap().unwrap(), b"up");
    sender.trailer("x-up", "1").await;
    let whole = held.whole().await.unwrap();
    assert!(format!("{whole:?}").contains("x-up"), "{whole:?}");
    held.begin(200, "trailer: x-down\r\n").await;
    held.chunk("down").await;
    let mut response = asked.await.unwrap();
    assert_eq!(piece(&mut response).await, "down");
    held.end("x-down: 2\r\n").await;
    assert_eq!(Answer::read(response).await.unwrap().trailers["x-down"], "2");
}

#[tokio::test]
async fn what_fails_along_the_chain_is_a_response_to_the_component() {
    let (origin, _side, _dir, gateway) = scene("").await;
    origin.stop();
    let answer = gateway.http1().await.get("/next").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-by")), (502, "wasi"));
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "").await, 0.0);
}

#[tokio::test]
async fn a_switch_of_protocols_passes_through_a_component() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    let mut raw = Raw::connect(gateway.web()).await;
    raw.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n").await;
    assert_eq!(raw.response("GET").await.unwrap().head.status(), 101);
    raw.send("as it is").await;
    assert_eq!(raw.exactly(8).await, b"as it is");
}

#[tokio::test]
async fn the_rest_of_the_chain_is_asked_for_once_and_need_not_be_waited_for() {
    let (origin, _side, _dir, gateway) = scene("").await;
    let mut client = gateway.http1().await;
    let text = client.get("/twice").await.text();
    assert!(text.starts_with("[Ok(200), Err(ErrorCode::HttpRequestDenied"), "{text}");
    let answer = client.get("/ahead").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (203, "did not wait"));
    // What it asked for may have been on its way, and ended with its answer.
    assert!((1..=2).contains(&origin.requests()));
}

#[tokio::test]
async fn upstreams_are_called_by_name_and_hosts_by_authority_where_they_are_granted() {
    let (origin, side, _dir, gateway) =
        scene(", grants: {upstreams: [side], hosts: ['{side}', 'https://elsewhere.test']}").await;
    let mut client = gateway.http1().await;
    let address = side.address().to_string();
    for authority in ["side", "SIDE:80", &address] {
        let answer = client.get(&format!("/to/http/{authority}/x")).await;
        let echo = answer.echo();
        assert_eq!((answer.status.as_u16(), echo["origin"].as_str()), (200, Some("side")), "{authority}");
        assert_eq!(answer.echoed("host"), [authority.to_owned()]);
        assert_eq!(answer.echoed("traceparent").len(), 1);
    }
    assert_eq!((origin.requests(), side.requests()), (0, 3));
    assert_eq!(client.get("/many/5").await.text(), "5");
    assert_eq!(client.get("/many/20").await.text(), "16", "the limit of calls");
}

#[tokio::test]
async fn what_is_not_granted_is_refused_and_reaches_nobody() {
    let (origin, side, _dir, gateway) = scene(", grants: {hosts: ['{side}']}").await;
    let mut client = gateway.http1().await;
    let address = side.address();
    let elsewhere = [
        "http/side".to_owned(),
        "http/origin".to_owned(),
        format!("http/{}", origin.address()),
        format!("https/{address}"),
        format!("http/{}:1", address.ip()),
        "http/localhost".to_owned(),
    ];
    for authority in &elsewhere {
        let answer = client.get(&format!("/to/{authority}/x")).await;
        assert_eq!((answer.status.as_u16(), answer.text().contains("HttpRequestDenied")), (502, true), "{authority}");
    }
    assert_eq!((origin.requests(), side.requests()), (0, 0));
    // A client that names what is granted does not decide where a request goes.
    let ambiguous = client.send(request(Method::GET, &format!("http://{address}/next"))).await;
    assert!(ambiguous.text().contains("HttpRequestDenied"), "{}", ambiguous.text());
    assert_eq!((origin.requests(), side.requests()), (0, 0));
}

#[tokio::test]
async fn a_component_sets_its_own_bound_on_waiting() {
    let (origin, _side, _dir, gateway) = scene("").await;
    let mut hold = origin.hold("/");
    let gateway: &Gateway = &gateway;
    let asked = async { gateway.http1().await.get("/slow").await.text() };
    let held = async {
        let mut held = hold.next().await;
        held.gone().await;
    };
    // The rest of the chain ends with the exchange that it was asked for in.
    let (text, ()) = tokio::join!(asked, held);
    assert!(text.contains("HttpResponseTimeout") && text.ends_with("true"), "{text}");
}
