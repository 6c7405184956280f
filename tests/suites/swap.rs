//! One exchange, one generation: what happens to exchanges that a swap finds under way, and to the generation that they
//! hold.

use std::time::Duration;

use http::Method;
use tidegate_tests::{Answer, ConfigDir, Gateway, Origin, WEB, request, soon, streamed};
use tokio::net::TcpStream;

struct Scene {
    origin: Origin,
    dir: ConfigDir,
    gateway: Gateway,
}

/// A gateway on generation 1, whose steps say `x-edit: 1` both ways.
async fn scene() -> Scene {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("gateway.yaml", &configuration(1));
    let gateway = Gateway::start(&dir).await;
    Scene { origin, dir, gateway }
}

fn configuration(edit: u64) -> String {
    format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  mark: {{headers: {{request: {{set: {{x-edit: '{edit}'}}}}, response: {{set: {{x-edit: '{edit}'}}}}}}}}
routes:
  - {{id: all, path: /*, middleware: [mark], upstream: origin}}
"
    )
}

impl Scene {
    /// Makes `generation` serve, whose steps say its number.
    async fn swap(&self, generation: u64) {
        self.dir.write("gateway.yaml", &configuration(generation));
        assert_eq!(self.gateway.apply().await, generation);
    }

    async fn exchanges_on(&self, generation: u64) -> Option<u64> {
        let status = self.gateway.status().await;
        let live = status["live_generations"].as_array().expect("a status has them").iter();
        live.filter(|live| live["generation"] == generation).find_map(|live| live["exchanges"].as_u64())
    }
}

#[tokio::test]
async fn an_exchange_that_streams_both_ways_over_a_swap_ends_on_its_generation() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/stream");
    let mut started = Vec::new();
    for mut client in [scene.gateway.http1().await, scene.gateway.http2().await] {
        let (sender, body) = streamed();
        let open = request(Method::POST, "/stream").map(|_| body);
        let response = tokio::spawn(async move { (client.open(open).await.unwrap(), client) });
        let mut held = hold.next().await;
        assert!(sender.send("before").await);
        assert_eq!(held.piece().await.unwrap().unwrap(), b"before");
        held.begin(200, "trailer: x-end\r\n").await;
        held.chunk("before").await;
        let (response, client) = response.await.unwrap();
        started.push((client, sender, held, response));
    }

    scene.swap(2).await;
    for mut client in [scene.gateway.http1().await, scene.gateway.http2().await] {
        let after = client.get("/after").await;
        assert_eq!((after.generation(), after.header("x-edit")), (2, "2"));
        assert_eq!(after.echoed("x-edit"), ["2"]);
    }

    for (client, sender, mut held, response) in started {
        assert!(sender.send("after").await, "{client:?}: the request body still flows");
        assert_eq!(held.piece().await.unwrap().unwrap(), b"after");
        drop(sender);
        assert_eq!(held.piece().await.unwrap(), None, "{client:?}: the request body ends well");
        held.chunk("after").await;
        held.end("x-end: yes\r\n").await;
        let answer = Answer::read(response).await.unwrap();
        assert_eq!((answer.generation(), answer.header("x-edit")), (1, "1"), "{client:?}");
        assert_eq!(answer.text(), "beforeafter", "{client:?}");
    }
    scene.gateway.only(2).await;
}

#[tokio::test]
async fn a_response_that_begins_after_the_swap_passes_the_steps_of_the_generation_that_its_request_began_on() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/slow");
    let mut client = scene.gateway.http1().await;
    let answer = tokio::spawn(async move { client.get("/slow").await });
    let mut held = hold.next().await;
    assert_eq!(held.head.field("x-edit").unwrap(), "1");
    scene.swap(2).await;
    held.answer(200, "late").await;
    let answer = answer.await.unwrap();
    assert_eq!((answer.generation(), answer.header("x-edit")), (1, "1"));
}

#[tokio::test]
async fn the_next_request_of_a_kept_connection_is_on_the_next_generation() {
    let scene = scene().await;
    let mut clients = [scene.gateway.http1().await, scene.gateway.http2().await];
    for generation in 1..20 {
        for client in &mut clients {
            assert_eq!(client.get("/").await.generation(), generation, "{client:?}");
        }
        scene.swap(generation + 1).await;
    }
}

#[tokio::test]
async fn an_old_generation_lives_as_long_as_its_last_exchange_and_is_freed_within_a_second_then() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/slow");
    let mut client = scene.gateway.http1().await;
    let answer = tokio::spawn(async move { client.get("/slow").await });
    let mut held = hold.next().await;
    scene.swap(2).await;
    scene.swap(3).await;
    assert_eq!(scene.exchanges_on(1).await, Some(1));
    held.answer(200, "done").await;
    assert_eq!(answer.await.unwrap().generation(), 1);
    scene.gateway.only(3).await;
}

#[tokio::test]
async fn an_old_generation_is_freed_when_the_client_of_its_last_exchange_hangs_up() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/slow");
    for (mut client, generation) in [(scene.gateway.http1().await, 2), (scene.gateway.http2().await, 3)] {
        let what = format!("{client:?}");
        let open = tokio::spawn(async move { client.try_send(request(Method::GET, "/slow")).await });
        let mut held = hold.next().await;
        scene.swap(generation).await;
        assert_eq!(scene.exchanges_on(generation - 1).await, Some(1), "{what}");
        open.abort();
        held.gone().await;
        scene.gateway.only(generation).await;
    }
}

#[tokio::test]
async fn an_old_generation_is_freed_when_the_client_leaves_in_the_middle_of_a_response() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/slow");
    let mut client = scene.gateway.http1().await;
    let (sender, body) = streamed();
    drop(sender);
    let open = request(Method::GET, "/slow").map(|_| body);
    let response = tokio::spawn(async move { (client.open(open).await.unwrap(), client) });
    let mut held = hold.next().await;
    held.begin(200, "").await;
    held.chunk("some").await;
    let (response, client) = response.await.unwrap();
    scene.swap(2).await;
    drop((response, client));
    // Whoever writes into a connection that is gone finds out.
    soon("the gateway lets go of the origin", async || held.try_send("4\r\nmore\r\n").await.is_err()).await;
    scene.gateway.only(2).await;
}

#[tokio::test]
async fn a_generation_that_nobody_uses_is_freed_at_the_swap_on_idle_workers_too() {
    let scene = scene().await;
    for generation in 2..10 {
        scene.swap(generation).await;
        scene.gateway.only(generation).await;
    }
}

#[tokio::test]
async fn exchanges_of_a_generation_with_an_age_limit_end_that_long_after_it_was_replaced() {
    let limited = |edit| format!("gateway: {{generation-age-max: 50ms}}\n{}", configuration(edit));
    let scene = scene().await;
    let mut hold = scene.origin.hold("/slow");
    for (mut generation, http2) in [(1, false), (3, true)] {
        generation += 1;
        scene.dir.write("gateway.yaml", &limited(generation));
        assert_eq!(scene.gateway.apply().await, generation);
        let client = async || if http2 { scene.gateway.http2().await } else { scene.gateway.http1().await };
        let (mut waiting, mut streaming) = (client().await, client().await);
        let waiting = tokio::spawn(async move { waiting.get("/slow").await });
        let unanswered = hold.next().await;
        let streaming = tokio::spawn(async move { streaming.try_send(request(Method::GET, "/slow")).await });
        let mut begun = hold.next().await;
        begun.begin(200, "").await;
        begun.chunk("some").await;
        scene.swap(generation + 1).await;
        let answer = waiting.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.generation()), (503, generation));
        assert!(streaming.await.unwrap().is_err(), "what has begun breaks off");
        scene.gateway.only(generation + 1).await;
        drop(unanswered);
    }
}

#[tokio::test]
async fn an_equal_tree_swaps_nothing() {
    let scene = scene().await;
    scene.dir.write("gateway.yaml", &format!("# the same, with a comment\n{}", configuration(1)));
    let attempt = scene.gateway.reload().await;
    assert_eq!((&attempt["outcome"], &attempt["generation"]), (&"unchanged".into(), &1.into()));
    assert_eq!(scene.gateway.live().await, [1]);
}

#[tokio::test]
async fn shutdown_takes_no_new_connection_and_lets_exchanges_end() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/slow");
    let mut client = scene.gateway.http1().await;
    let web = scene.gateway.web();
    let answer = tokio::spawn(async move { client.get("/slow").await });
    let mut held = hold.next().await;
    let end = tokio::spawn(scene.gateway.shutdown(Duration::from_secs(20)));
    soon("nobody can connect any more", async || TcpStream::connect(web).await.is_err()).await;
    held.answer(200, "to the end").await;
    assert_eq!(answer.await.unwrap().text(), "to the end");
    assert!(end.await.unwrap(), "everything ended before the deadline");
}
