//! Requests that are sent again, or to several endpoints at once: when, how often, where to, and when not. The origins
//! are real and misbehave by hand.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Held, Hold, Origin, request, soon, streamed};

/// A gateway before two origins, whose upstream has `settings`; `{a}` and `{b}` are the origins, `{nobody}` refuses.
struct Scene {
    a: Origin,
    b: Origin,
    dir: ConfigDir,
    gateway: Gateway,
    _nobody: socket2::Socket,
}

/// A bound socket that nobody listens on: whoever connects is refused.
fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

impl Scene {
    /// With `users: {<upstream>}` and one route to it that has `{<route>}`, too.
    async fn new(upstream: &str, route: &str) -> Self {
        let (a, b) = (Origin::named("a"), Origin::named("b"));
        let (socket, address) = nobody();
        let mut dir = ConfigDir::new().with("a", a.address()).with("b", b.address()).with("nobody", address);
        let log = dir.beside("access.log");
        dir.name("log", log.display());
        let text = format!(
            "gateway: {{access-log: {{to: '{{log}}'}}}}
listeners: {{web: {{address: '127.0.0.1:0'}}}}
upstreams:
  users: {{{upstream}}}
routes:
  - {{id: all, upstream: users{route}}}
"
        );
        dir.write("gateway.yaml", &text);
        let gateway = Gateway::start(&dir).await;
        Self { a, b, dir, gateway, _nobody: socket }
    }

    async fn get(&self, path: &str) -> Answer {
        self.gateway.http1().await.get(path).await
    }

    fn background(&self, request: Request<Bytes>) -> tokio::task::JoinHandle<Answer> {
        let web = self.gateway.web();
        tokio::spawn(async move { Client::http1(web).await.send(request).await })
    }

    async fn logged(&self, path: &str) -> serde_json::Value {
        let file = self.dir.beside("access.log");
        let find = async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find(|line| line["path"] == path)
        };
        tidegate_tests::eventually("the line is logged", Duration::from_secs(20), find).await
    }

    async fn retries(&self, labels: &str) -> f64 {
        self.gateway.metric("tidegate_upstream_retries_total", labels).await
    }

    async fn withheld(&self, reason: &str) -> f64 {
        self.gateway.metric("tidegate_upstream_retries_withheld_total", &format!("reason=\"{reason}\"")).await
    }
}

const BOTH: &str = "endpoints: ['{a}', '{b}']";

/// The request, at whichever of the two origins it arrives.
async fn either(a: &mut Hold, b: &mut Hold) -> (Held, bool) {
    tokio::select! {
        held = a.next() => (held, true),
        held = b.next() => (held, false),
    }
}

fn post(path: &str, body: &'static str) -> Request<Bytes> {
    request(Method::POST, path).map(|_| body.into())
}

#[tokio::test]
async fn a_failed_try_is_made_again_on_another_endpoint() {
    let scene = Scene::new(&format!("{BOTH}, retry: {{}}"), "").await;
    let (mut a, mut b) = (scene.a.hold("/again"), scene.b.hold("/again"));
    for case in ["reset", "garbage", "502", "503"] {
        let answer = scene.background(request(Method::GET, "/again"));
        let (mut held, was_a) = either(&mut a, &mut b).await;
        match case {
            "reset" => held.reset(),
            "garbage" => held.send("SSH-2.0-OpenSSH\r\n\r\n").await,
            status => held.answer(status.parse().unwrap(), "no").await,
        }
        let mut other = if was_a { b.next().await } else { a.next().await };
        other.answer(200, "from the other").await;
        assert_eq!(answer.await.unwrap().text(), "from the other", "{case}");
    }
    assert_eq!(scene.logged("/again").await["attempts"], 2);
    for (reason, count) in [("reset", 2.0), ("status", 2.0)] {
        let labels = format!("reason=\"{reason}\",outcome=\"answered\"");
        assert_eq!(scene.retries(&labels).await, count, "{reason}");
    }
}

#[tokio::test]
async fn the_last_answer_is_passed_on_when_there_is_no_more_to_try() {
    let scene =
        Scene::new(&format!("{BOTH}, retry: {{on: 5xx, attempts: 3, back-off: {{base: 1ms, max: 2ms}}}}"), "").await;
    let answer = scene.get("/status/500").await;
    assert_eq!((answer.status.as_u16(), scene.a.requests() + scene.b.requests()), (500, 4));
    assert!(scene.a.requests() == 2 && scene.b.requests() == 2, "endpoints take turns");
    assert_eq!(
        (scene.logged("/status/500").await["attempts"].as_u64(), scene.withheld("attempts").await),
        (Some(4), 1.0)
    );
    assert_eq!(scene.get("/status/404").await.status, 404);
    assert_eq!(scene.a.requests() + scene.b.requests(), 5);
}

#[tokio::test]
async fn what_is_not_listed_is_not_retried() {
    let scene = Scene::new(&format!("{BOTH}, retry: {{on: [409, connect-failure]}}"), "").await;
    for (path, tries) in [("/status/503", 1), ("/status/409", 3)] {
        let before = scene.a.requests() + scene.b.requests();
        scene.get(path).await;
        assert_eq!(scene.a.requests() + scene.b.requests() - before, tries, "{path}");
    }
}

#[tokio::test]
async fn a_method_with_effects_is_sent_twice_only_where_that_is_asked_for() {
    for (methods, tries) in [("idempotent", 1), ("all", 3), ("[POST]", 3), ("[GET]", 1)] {
        let scene = Scene::new(&format!("{BOTH}, retry: {{methods: {methods}}}"), "").await;
        let answer = scene.background(post("/status/503", "content")).await.unwrap();
        assert_eq!((answer.status.as_u16(), scene.a.requests() + scene.b.requests()), (503, tries), "{methods}");
        assert_eq!(scene.withheld("method").await, if tries == 1 { 1.0 } else { 0.0 }, "{methods}");
    }
}

#[tokio::test]
async fn what_reached_nobody_is_retried_whatever_the_method() {
    let scene = Scene::new("endpoints: ['{nobody}', '{a}'], retry: {}", "").await;
    for _ in 0..4 {
        let answer = scene.background(post("/anything", "content")).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.echo()["body_bytes"].as_u64()), (200, Some(7)));
    }
    assert!(scene.retries("reason=\"connect\",outcome=\"answered\"").await >= 1.0);
}

#[tokio::test]
async fn a_streamed_body_is_sent_again_as_far_as_it_is_kept() {
    let settings = format!("{BOTH}, retry: {{methods: all, body-bytes-max: 1KiB}}");
    let scene = Scene::new(&settings, "").await;
    let (mut a, mut b) = (scene.a.hold("/stream"), scene.b.hold("/stream"));
    for (size, again) in [(600, true), (3000, false)] {
        let (sender, body) = streamed();
        let request = request(Method::POST, "/stream").map(|_| body);
        let mut client = scene.gateway.http1().await;
        let answer = tokio::spawn(async move { Answer::read(client.open(request).await?).await });
        sender.send(vec![b'x'; size]).await;
        let (mut held, was_a) = either(&mut a, &mut b).await;
        assert_eq!(held.piece().await.unwrap().map(|piece| piece.len()), Some(size), "it is sent as it comes");
        held.reset();
        if again {
            let mut other = if was_a { b.next().await } else { a.next().await };
            assert_eq!(other.piece().await.unwrap().map(|piece| piece.len()), Some(size));
            sender.send("the rest").await;
            drop(sender);
            assert_eq!(other.whole().await.unwrap().bytes, b"the rest");
            other.answer(200, "whole").await;
            assert_eq!(answer.await.unwrap().unwrap().text(), "whole");
        } else {
            assert_eq!(answer.await.unwrap().unwrap().status, 502);
            assert_eq!(scene.withheld("body").await, 1.0);
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_again_once_a_byte_was_passed_on() {
    let scene = Scene::new(&format!("{BOTH}, retry: {{}}"), "").await;
    let (mut a, mut b) = (scene.a.hold("/half"), scene.b.hold("/half"));
    let web = scene.gateway.web();
    let answer =
        tokio::spawn(async move { Client::http1(web).await.try_send(request(Method::GET, "/half")).await.is_err() });
    let (mut held, _) = either(&mut a, &mut b).await;
    held.begin(200, "").await;
    held.chunk("half").await;
    held.reset();
    assert!(answer.await.unwrap(), "it breaks off");
    assert_eq!((scene.a.requests() + scene.b.requests(), scene.retries("").await), (1, 0.0));
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for_and_a_long_one_is_passed_on() {
    let settings = "endpoints: ['{a}'], retry: {on: 503, back-off: {base: 1ms, max: 1ms, retry-after-max: 1s}}";
    let scene = Scene::new(settings, "").await;
    let mut hold = scene.a.hold("/busy");
    let busy = |seconds: &str| format!("HTTP/1.1 503 Busy\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n");
    let answer = scene.background(request(Method::GET, "/busy"));
    let mut held = hold.next().await;
    held.send(busy("1")).await;
    held.keep();
    let waiting = std::time::Instant::now();
    hold.next().await.answer(200, "now").await;
    // Not how long it took, but that it was not at once: the origin asked for that.
    assert!(waiting.elapsed() >= Duration::from_millis(900), "{:?}", waiting.elapsed());
    assert_eq!(answer.await.unwrap().text(), "now");
    for long in ["2", "Fri, 31 Dec 2100 23:59:59 GMT"] {
        let answer = scene.background(request(Method::GET, "/busy"));
        hold.next().await.send(busy(long)).await;
        let answer = answer.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, long));
    }
    assert_eq!(scene.withheld("time").await, 2.0);
    // A date that is over is now.
    let answer = scene.background(request(Method::GET, "/busy"));
    hold.next().await.send(busy("Fri, 31 Dec 1999 23:59:59 GMT")).await;
    hold.next().await.answer(200, "then").await;
    assert_eq!(answer.await.unwrap().text(), "then");
}

#[tokio::test]
async fn a_call_that_failed_with_a_listed_status_and_nothing_else_is_made_again() {
    let scene = Scene::new(&format!("{BOTH}, retry: {{on: [unavailable, resource-exhausted]}}"), "").await;
    let (mut a, mut b) = (scene.a.hold("/s/m"), scene.b.hold("/s/m"));
    let call = || {
        let mut call = post("/s/m", "\0\0\0\0\0");
        call.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        call
    };
    let failed = |code: u16| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: {code}\r\ncontent-length: 0\r\n\r\n")
    };
    for code in [14, 8] {
        let answer = scene.background(call());
        let (mut held, was_a) = either(&mut a, &mut b).await;
        assert_eq!(held.whole().await.unwrap().bytes, [0; 5]);
        held.send(failed(code)).await;
        let mut other = if was_a { b.next().await } else { a.next().await };
        assert_eq!(other.whole().await.unwrap().bytes, [0; 5], "the message goes once more");
        other.send(failed(0)).await;
        assert_eq!(answer.await.unwrap().header("grpc-status"), "0", "{code}");
    }
    // Others are passed on, and so is one that comes after a message.
    for (code, late) in [(4, false), (14, true)] {
        let answer = scene.background(call());
        let (mut held, _) = either(&mut a, &mut b).await;
        held.whole().await.unwrap();
        if late {
            held.begin(200, "content-type: application/grpc\r\ntrailer: grpc-status\r\n").await;
            held.chunk([0; 5]).await;
            held.end(&format!("grpc-status: {code}\r\n")).await;
        } else {
            held.send(failed(code)).await;
        }
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("grpc-status"), if late { "" } else { "4" });
    }
    assert!(a.is_empty() && b.is_empty(), "nothing more was asked");
    assert_eq!(scene.retries("reason=\"status\",outcome=\"answered\"").await, 2.0);
}

#[tokio::test]
async fn retries_are_a_share_of_the_traffic_of_the_process() {
    let settings = format!(
        "{BOTH}, retry: {{on: 503, attempts: 5, back-off: {{base: 1ms, max: 1ms}}, budget: {{percent: 50, per-second-min: 0}}}}"
    );
    let scene = Scene::new(&settings, "").await;
    for _ in 0..20 {
        assert_eq!(scene.get("/status/503").await.status, 503);
    }
    let sent = scene.a.requests() + scene.b.requests();
    assert_eq!(sent, 20 + 10, "half as many again");
    assert!(scene.withheld("budget").await >= 10.0);
    // A changed budget finds what was spent already.
    scene.dir.edit("gateway.yaml", "percent: 50", "percent: 60");
    scene.gateway.apply().await;
    scene.get("/status/503").await;
    let more = scene.a.requests() + scene.b.requests() - sent;
    assert_eq!(more, 1 + 2, "six tenths of 21 are 12");
}

#[tokio::test]
async fn a_route_has_terms_of_its_own() {
    let scene = Scene::new(&format!("{BOTH}, retry: {{on: 5xx}}"), ", retry: {attempts: 0}").await;
    scene.get("/status/500").await;
    assert_eq!(scene.a.requests() + scene.b.requests(), 1);
    scene.dir.edit("gateway.yaml", ", retry: {attempts: 0}", ", retry: {on: 404, attempts: 1}");
    scene.gateway.apply().await;
    scene.get("/status/404").await;
    assert_eq!(scene.a.requests() + scene.b.requests(), 3);
}

#[tokio::test]
async fn every_timeout_has_its_kind() {
    let cases = [
        ("response-timeout: 300ms", "", "", 504, "upstream_timeout"),
        ("response-timeout: 10s", ", response-timeout: 300ms", "", 504, "upstream_timeout"),
        ("try-timeout: 300ms", "", "", 504, "upstream_try_timeout"),
        ("try-timeout: 10s", ", try-timeout: 300ms", "", 504, "upstream_try_timeout"),
        ("try-timeout: 1ms", ", try-timeout: unlimited, response-timeout: 300ms", "", 504, "upstream_timeout"),
        ("idle-timeout: 10s", ", idle-timeout: 300ms", "half", 200, "upstream_idle_timeout"),
        ("try-timeout: 300ms", "", "half", 200, "upstream_try_timeout"),
        ("response-timeout: 10s", ", timeout: 300ms", "", 504, "exchange_timeout"),
    ];
    for (upstream, route, sends, status, kind) in cases {
        let scene = Scene::new(&format!("endpoints: ['{{a}}'], {upstream}"), route).await;
        let mut hold = scene.a.hold("/slow");
        let web = scene.gateway.web();
        let answer =
            tokio::spawn(async move { Client::http1(web).await.try_send(request(Method::GET, "/slow")).await });
        let mut held = hold.next().await;
        if !sends.is_empty() {
            held.begin(200, "").await;
            held.chunk(sends).await;
        }
        held.gone().await;
        let line = scene.logged("/slow").await;
        assert_eq!((line["status"].as_u64(), line["error"].as_str()), (Some(status), Some(kind)), "{upstream}{route}");
        match answer.await.unwrap() {
            Ok(answer) => assert_eq!(u64::from(answer.status.as_u16()), status),
            Err(_) => assert_eq!(sends, "half", "{upstream}{route}"),
        }
    }
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_made_again_within_the_time_of_the_exchange() {
    let settings = format!("{BOTH}, try-timeout: 300ms, retry: {{attempts: 5}}");
    let scene = Scene::new(&settings, ", timeout: 20s").await;
    let (mut a, mut b) = (scene.a.hold("/slow"), scene.b.hold("/slow"));
    let answer = scene.background(request(Method::GET, "/slow"));
    let (mut first, _) = either(&mut a, &mut b).await;
    // On a busy machine the time may be up once more.
    let others = tokio::spawn(async move {
        loop {
            let (mut held, _) = either(&mut a, &mut b).await;
            drop(held.try_send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond").await);
        }
    });
    first.gone().await;
    assert_eq!(answer.await.unwrap().text(), "second");
    assert_eq!(scene.retries("reason=\"timeout\",outcome=\"answered\"").await, 1.0);
    others.abort();
}

#[tokio::test]
async fn a_slow_try_is_hedged_and_the_first_answer_wins() {
    let scene = Scene::new(&format!("{BOTH}, hedge: {{after: 300ms}}"), "").await;
    let (mut a, mut b) = (scene.a.hold("/slow"), scene.b.hold("/slow"));
    for second_wins in [true, false] {
        let answer = scene.background(request(Method::GET, "/slow"));
        let (first, was_a) = either(&mut a, &mut b).await;
        let second = if was_a { b.next().await } else { a.next().await };
        let (mut winner, mut loser) = if second_wins { (second, first) } else { (first, second) };
        winner.answer(200, if second_wins { "second" } else { "first" }).await;
        loser.gone().await;
        assert_eq!(answer.await.unwrap().text(), if second_wins { "second" } else { "first" });
    }
    for outcome in ["won", "lost"] {
        let labels = format!("outcome=\"{outcome}\"");
        assert_eq!(scene.gateway.metric("tidegate_upstream_hedges_total", &labels).await, 1.0, "{outcome}");
    }
    assert_eq!(scene.logged("/slow").await["attempts"], 2);
    // No method that has effects: another request that began later is hedged before it.
    let posted = scene.background(post("/slow", "x"));
    let (mut held, was_a) = either(&mut a, &mut b).await;
    let (mut first, mut second) = (scene.a.hold("/clock"), scene.b.hold("/clock"));
    let clock = scene.background(request(Method::GET, "/clock"));
    let (_slow, mut hedge) = tokio::join!(first.next(), second.next());
    hedge.answer(200, "hedged").await;
    assert_eq!(clock.await.unwrap().text(), "hedged");
    held.answer(200, "posted").await;
    assert_eq!(posted.await.unwrap().text(), "posted");
    assert!(if was_a { b.is_empty() } else { a.is_empty() });
}

#[tokio::test]
async fn a_hedge_needs_room_in_the_budget() {
    let settings = format!("{BOTH}, hedge: {{after: 10ms, budget: {{percent: 0, per-second-min: 0}}}}");
    let scene = Scene::new(&settings, "").await;
    let (mut a, mut b) = (scene.a.hold("/slow"), scene.b.hold("/slow"));
    let answer = scene.background(request(Method::GET, "/slow"));
    let (mut held, was_a) = either(&mut a, &mut b).await;
    soon("it is withheld", async || scene.withheld("budget").await == 1.0).await;
    held.answer(200, "alone").await;
    assert_eq!(answer.await.unwrap().text(), "alone");
    assert!(if was_a { b.is_empty() } else { a.is_empty() });
}
