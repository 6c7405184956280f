//! How many requests an upstream takes in the whole process, who waits, and when it takes none.

use std::time::Duration;

use http::Method;
use serde_json::Value;
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Held, Hold, Origin, Raw, eventually, request, soon};
use tokio::task::JoinHandle;

struct Scene {
    origin: Origin,
    dir: ConfigDir,
    gateway: Gateway,
}

impl Scene {
    /// With an upstream of one endpoint that has `settings`.
    async fn new(settings: &str) -> Self {
        let origin = Origin::start();
        let mut dir = ConfigDir::new().with("origin", origin.address());
        let log = dir.beside("access.log");
        dir.name("log", log.display());
        let text = format!(
            "gateway: {{access-log: {{to: '{{log}}'}}}}
listeners: {{web: {{address: '127.0.0.1:0'}}}}
upstreams:
  users: {{endpoints: ['{{origin}}'], {settings}}}
routes:
  - {{id: all, upstream: users}}
  - {{id: hurried, path: /hurried/*, upstream: users, timeout: 300ms}}
"
        );
        dir.write("gateway.yaml", &text);
        let gateway = Gateway::start(&dir).await;
        Self { origin, dir, gateway }
    }

    async fn get(&self, path: &str) -> Answer {
        self.gateway.http1().await.get(path).await
    }

    fn background(&self, path: &str) -> JoinHandle<Answer> {
        let (web, path) = (self.gateway.web(), path.to_owned());
        tokio::spawn(async move { Client::http1(web).await.send(request(Method::GET, &path)).await })
    }

    // A request that waits in the queue, which then has `length`.
    async fn waiting(&self, path: &str, length: usize) -> JoinHandle<Answer> {
        let waiting = self.background(path);
        soon("it waits", async || self.queue().await == length).await;
        waiting
    }

    async fn queue(&self) -> usize {
        self.gateway.metric("tidegate_upstream_queue_requests", "").await as usize
    }

    async fn breaker(&self) -> usize {
        self.gateway.metric("tidegate_upstream_breaker_state", "").await as usize
    }

    async fn kind(&self, path: &str) -> String {
        let file = self.dir.beside("access.log");
        let find = async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["path"] == path)
        };
        let line = eventually("the line is logged", Duration::from_secs(20), find).await;
        assert_eq!(line["upstream"], "users", "{line}");
        line["error"].as_str().unwrap_or_default().to_owned()
    }
}

async fn done(mut held: Held, waiting: JoinHandle<Answer>) {
    held.answer(200, "done").await;
    drop(held);
    assert_eq!(waiting.await.unwrap().status, 200);
}

// Requests under way, as many as there may be.
async fn fill(scene: &Scene, hold: &mut Hold, count: usize) -> Vec<(Held, JoinHandle<Answer>)> {
    let mut under_way = Vec::new();
    for _ in 0..count {
        let waiting = scene.background("/held");
        under_way.push((hold.next().await, waiting));
    }
    under_way
}

#[tokio::test]
async fn more_requests_than_are_allowed_are_answered_503_with_a_kind_of_their_own() {
    let scene = Scene::new("requests-max: 2").await;
    let mut hold = scene.origin.hold("/held");
    let mut under_way = fill(&scene, &mut hold, 2).await;
    assert_eq!(scene.get("/more").await.status, 503);
    assert_eq!(scene.kind("/more").await, "upstream_requests_max");
    let (held, waiting) = under_way.remove(0);
    done(held, waiting).await;
    soon("there is room", async || scene.get("/room").await.status == 200).await;
    // A response counts to its last byte.
    let (mut held, _waiting) = under_way.remove(0);
    held.begin(200, "").await;
    held.chunk("half").await;
    let again = fill(&scene, &mut hold, 1).await;
    assert_eq!(scene.get("/still").await.status, 503);
    held.end("").await;
    held.keep();
    soon("its end makes room", async || scene.get("/after").await.status == 200).await;
    drop(again);
}

#[tokio::test]
async fn requests_wait_in_the_order_of_their_arrival() {
    let scene = Scene::new("requests-max: 1, queue: {requests-max: 3, timeout: 20s}").await;
    let mut hold = scene.origin.hold("/held");
    let mut now = fill(&scene, &mut hold, 1).await;
    let paths = ["/first", "/second", "/third"];
    let mut holds = paths.map(|path| scene.origin.hold(path));
    let mut waiting = Vec::new();
    for (number, path) in paths.into_iter().enumerate() {
        waiting.push(scene.waiting(path, number + 1).await);
    }
    assert_eq!(scene.get("/fourth").await.status, 503);
    assert_eq!(scene.kind("/fourth").await, "upstream_queue_full");
    for (number, waiting) in waiting.into_iter().enumerate() {
        let (held, answer) = now.remove(0);
        done(held, answer).await;
        now.push((holds[number].next().await, waiting));
        assert!(holds[number + 1..].iter().all(Hold::is_empty), "the others wait still");
    }
    let (held, answer) = now.remove(0);
    done(held, answer).await;
    let waits = scene.gateway.metric("tidegate_upstream_queue_duration_seconds_count", "").await;
    assert_eq!((scene.queue().await, waits), (0, 3.0));
}

#[tokio::test]
async fn who_waits_too_long_is_told_and_who_goes_away_gives_up_its_place() {
    let scene = Scene::new("requests-max: 1, queue: {timeout: 300ms}").await;
    let mut hold = scene.origin.hold("/held");
    let mut now = fill(&scene, &mut hold, 1).await;
    assert_eq!(scene.get("/late").await.status, 503);
    assert_eq!(scene.kind("/late").await, "upstream_queue_timeout");
    scene.dir.edit("gateway.yaml", "timeout: 300ms}}", "timeout: 20s}}");
    scene.gateway.apply().await;
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send("GET /gone HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
    soon("it waits", async || scene.queue().await == 1).await;
    let next = scene.waiting("/next", 2).await;
    raw.reset();
    soon("it gave up", async || scene.queue().await == 1).await;
    let (held, answer) = now.remove(0);
    done(held, answer).await;
    assert_eq!(next.await.unwrap().status, 200);
    assert_eq!(scene.kind("/gone").await, "client_gone");
}

#[tokio::test]
async fn a_reload_keeps_who_waits_and_a_changed_limit_lets_them_in() {
    let scene = Scene::new("requests-max: 1, queue: {timeout: 20s}").await;
    let mut hold = scene.origin.hold("/held");
    let now = fill(&scene, &mut hold, 1).await;
    let first = scene.waiting("/waits", 1).await;
    scene.dir.edit("gateway.yaml", "requests-max: 1,", "requests-max: 3,");
    scene.gateway.apply().await;
    assert_eq!(scene.queue().await, 1);
    assert_eq!(scene.get("/new").await.status, 200, "the first request on the new generation brings its limit");
    assert_eq!(first.await.unwrap().status, 200);
    scene.dir.edit("gateway.yaml", "requests-max: 3,", "requests-max: 1,");
    scene.gateway.apply().await;
    let again = scene.waiting("/again", 1).await;
    for (held, answer) in now {
        done(held, answer).await;
    }
    assert_eq!(again.await.unwrap().status, 200, "what is under way is counted across generations");
}

#[tokio::test]
async fn a_breaker_opens_refuses_tries_and_closes() {
    let scene = Scene::new("breaker: {consecutive-errors: 3, open-time: 300ms, probes: 2}").await;
    for number in 0..3 {
        assert_eq!(scene.breaker().await, 0, "before failure {number}");
        assert_eq!(scene.get("/status/500").await.status, 500);
    }
    assert_eq!(scene.breaker().await, 2);
    let sent = scene.origin.requests();
    let refused = scene.get("/refused").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    assert_eq!(scene.kind("/refused").await, "upstream_breaker_open");
    assert_eq!(scene.origin.requests(), sent, "nothing was sent");
    // Trials that succeed close it; with one that fails it is open again.
    soon("a trial is let through", async || scene.get("/status/500").await.status == 500).await;
    assert_eq!(scene.breaker().await, 2);
    soon("trials succeed", async || scene.get("/").await.status == 200).await;
    soon("it is closed", async || scene.get("/").await.status == 200 && scene.breaker().await == 0).await;
    assert_eq!(scene.gateway.metric("tidegate_upstream_breaker_openings_total", "").await, 2.0);
}

#[tokio::test]
async fn a_breaker_opens_on_a_share_of_failures() {
    let scene = Scene::new("breaker: {error-percent: 50, requests-min: 10, open-time: 20s}").await;
    for number in 0..9 {
        let path = if number % 3 == 0 { "/" } else { "/status/500" };
        assert_ne!(scene.get(path).await.status, 503, "too few yet");
    }
    assert_eq!(scene.get("/status/404").await.status, 404, "no failure");
    assert_eq!(scene.breaker().await, 0);
    assert_eq!(scene.get("/status/500").await.status, 500);
    assert_eq!((scene.breaker().await, scene.get("/").await.status.as_u16()), (2, 503));
}

#[tokio::test]
async fn an_exchange_whose_time_is_up_is_a_failure_and_one_whose_client_goes_is_none() {
    let scene = Scene::new("breaker: {consecutive-errors: 2, open-time: 20s}").await;
    let mut hold = scene.origin.hold("/hurried/held");
    for _ in 0..4 {
        let mut raw = Raw::connect(scene.gateway.web()).await;
        let mut gone = scene.origin.hold("/gone");
        raw.send("GET /gone HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
        let mut held = gone.next().await;
        raw.reset();
        held.gone().await;
    }
    assert_eq!(scene.breaker().await, 0);
    for _ in 0..2 {
        let answer = scene.background("/hurried/held");
        let mut held = hold.next().await;
        assert_eq!(answer.await.unwrap().status, 504);
        held.gone().await;
    }
    soon("it is open", async || scene.breaker().await == 2).await;
}

#[tokio::test]
async fn a_response_that_breaks_off_is_a_failure_and_one_that_nobody_wants_is_none() {
    let scene = Scene::new("breaker: {consecutive-errors: 2, open-time: 20s}").await;
    let mut hold = scene.origin.hold("/broken");
    for wanted in [false, false, true, true] {
        let mut raw = Raw::connect(scene.gateway.web()).await;
        raw.send("GET /broken HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
        let mut held = hold.next().await;
        held.begin(200, "").await;
        held.chunk("half").await;
        assert_eq!(raw.head().await.status(), 200);
        if wanted {
            assert_eq!(scene.breaker().await, 0);
            held.reset();
            raw.rest().await;
        } else {
            raw.reset();
            held.gone().await;
        }
    }
    soon("it is open", async || scene.breaker().await == 2).await;
    assert_eq!(scene.get("/").await.status, 503);
}

#[tokio::test]
async fn a_whole_response_ends_a_row_of_failures() {
    let scene = Scene::new("breaker: {consecutive-errors: 2, open-time: 20s}").await;
    for _ in 0..3 {
        assert_eq!(scene.get("/status/500").await.status, 500);
        assert_eq!(scene.get("/chunks/3").await.status, 200);
    }
    assert_eq!(scene.breaker().await, 0);
}

#[tokio::test]
async fn a_reload_keeps_an_open_breaker() {
    let scene = Scene::new("breaker: {consecutive-errors: 1, open-time: 20s}").await;
    assert_eq!(scene.get("/status/500").await.status, 500);
    scene.dir.edit("gateway.yaml", "consecutive-errors: 1, ", "consecutive-errors: 5, ");
    scene.gateway.apply().await;
    assert_eq!(scene.get("/").await.status, 503);
    scene.dir.edit("gateway.yaml", ", breaker: {consecutive-errors: 5, open-time: 20s}", "");
    scene.gateway.apply().await;
    assert_eq!(scene.get("/").await.status, 200);
}
