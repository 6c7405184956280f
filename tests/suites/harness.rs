//! The harness against itself, without a gateway between: what a suite relies on must hold before it can blame.

use http::Method;
use tidegate_tests::{Client, Origin, Raw, guests, request, streamed, wire};

#[test]
fn the_guests_are_valid_modules() {
    for text in [guests::NOTHING, guests::HEADER, guests::TALLY, guests::UNRULY, guests::PICKY, &guests::stamp(7)] {
        wat::parse_str(text).unwrap();
    }
}

#[tokio::test]
async fn the_origin_tells_what_it_saw() {
    let origin = Origin::named("left");
    let mut client = Client::http1(origin.address()).await;
    let mut post = request(Method::POST, "/things?of=mine").map(|_| "hello".into());
    post.headers_mut().insert("x-mark", "here".parse().unwrap());
    let answer = client.send(post).await;
    let echo = answer.echo();
    assert_eq!(
        (&echo["origin"], &echo["method"], &echo["target"]),
        (&"left".into(), &"POST".into(), &"/things?of=mine".into())
    );
    assert_eq!((&echo["body_bytes"], &echo["body_digest"]), (&5.into(), &wire::digest(b"hello").into()));
    assert_eq!(answer.echoed("x-mark"), ["here"]);
    assert_eq!(answer.echoed("host"), ["test.example"]);
    client.get("/again").await;
    assert_eq!((origin.accepted(), origin.requests()), (1, 2));
}

#[tokio::test]
async fn a_held_request_is_answered_by_hand() {
    let origin = Origin::start();
    let mut hold = origin.hold("/slow");
    let mut client = Client::http1(origin.address()).await;
    let (sender, body) = streamed();
    let response = tokio::spawn(async move { client.open(request(Method::PUT, "/slow").map(|_| body)).await });
    let mut held = hold.next().await;
    assert!(sender.send("one").await);
    assert_eq!(held.piece().await.unwrap().unwrap(), b"one");
    drop(sender);
    assert_eq!(held.piece().await.unwrap(), None);
    held.begin(200, "trailer: x-end\r\n").await;
    let response = response.await.unwrap().unwrap();
    held.chunk("two").await;
    held.end("x-end: yes\r\n").await;
    let answer = tidegate_tests::Answer::read(response).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.trailers["x-end"].to_str().unwrap()), ("two", "yes"));
}

#[tokio::test]
async fn a_raw_client_reads_what_a_library_would_hide() {
    let origin = Origin::start();
    let mut raw = Raw::connect(origin.address()).await;
    raw.send("GET /hints HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((raw.head().await.status(), raw.response("GET").await.unwrap().head.status()), (103, 200));
    raw.send("GET /chunks/3 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let body = raw.response("GET").await.unwrap().body;
    assert_eq!((body.bytes.len(), body.trailers[0].0.as_str()), (30, "x-digest"));
}
