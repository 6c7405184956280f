//! The steps that ship, and the order in which a request meets them.

use http::Method;
use tidegate_tests::{ConfigDir, Gateway, Origin, request, soon};

const CONFIGURATION: &str = "
gateway: {middleware: [outermost]}
listeners:
  web: {address: '127.0.0.1:0', middleware: [middle]}
upstreams:
  origin: {endpoints: ['{origin}']}
  shadow: {endpoints: ['{shadow}']}
middleware:
  outermost: {headers: {request: {add: {x-order: gateway}}, response: {add: {x-order: gateway}}}}
  middle: {headers: {request: {add: {x-order: listener}}, response: {add: {x-order: listener}}}}
  inner: {headers: {request: {add: {x-order: route}}, response: {add: {x-order: route}}}}
  edits:
    headers:
      request: {remove: [x-gone], set: {x-set: new}, add: {x-added: [one, two]}}
      response: {remove: [x-origin], set: {content-type: text/plain}, add: {x-added: three}}
  both: {chain: [inner, edits]}
  inside: {rewrite: {host: inside.example, path: {prefix: /v2}}}
  whole: {rewrite: {path: /fixed}}
  gone: {respond: {status: 410, headers: {x-why: moved}, body: 'gone for good'}}
  copy: {mirror: {upstream: shadow}}
routes:
  - {id: plain, path: /*, middleware: [inner], upstream: origin}
  - {id: edits, path: /edits, middleware: [edits], upstream: origin}
  - {id: chain, path: /chain, middleware: [both], upstream: origin}
  - {id: rewrite, path: /old/*, middleware: [inside], upstream: origin}
  - {id: fixed, path: /whole/*, middleware: [whole], upstream: origin}
  - {id: gone, path: /gone, middleware: [inner, gone]}
  - {id: mirrored, path: /mirrored, middleware: [copy], upstream: origin}
  - {id: moved, path: /moved/*, middleware: [{redirect: {scheme: https, host: new.example, path: {prefix: /to}, status: 301}}]}
  - {id: weighted, path: /weighted, targets: [{upstream: origin, weight: 3}, {upstream: shadow, weight: 1}]}
";

async fn scene() -> (Origin, Origin, ConfigDir, Gateway) {
    let (origin, shadow) = (Origin::start(), Origin::named("shadow"));
    let dir = ConfigDir::new().with("origin", origin.address()).with("shadow", shadow.address());
    dir.write("gateway.yaml", CONFIGURATION);
    let gateway = Gateway::start(&dir).await;
    (origin, shadow, dir, gateway)
}

#[tokio::test]
async fn steps_run_from_the_gateways_to_the_routes_and_back() {
    let (_origin, _shadow, _dir, gateway) = scene().await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/").await;
        assert_eq!(answer.echoed("x-order"), ["gateway", "listener", "route"]);
        let back: Vec<_> = answer.headers.get_all("x-order").iter().collect();
        assert_eq!(back, ["route", "listener", "gateway"]);
    }
}

#[tokio::test]
async fn header_fields_are_removed_set_and_added() {
    let (_origin, _shadow, _dir, gateway) = scene().await;
    for path in ["/edits", "/chain"] {
        let mut ask = request(Method::GET, path);
        for (name, value) in [("x-gone", "1"), ("x-set", "old"), ("x-added", "zero")] {
            ask.headers_mut().append(name, value.parse().unwrap());
        }
        let answer = gateway.http1().await.send(ask).await;
        assert_eq!(answer.echoed("x-gone"), Vec::<String>::new());
        assert_eq!(answer.echoed("x-set"), ["new"]);
        assert_eq!(answer.echoed("x-added"), ["zero", "one", "two"]);
        assert_eq!((answer.header("x-origin"), answer.header("content-type")), ("", "text/plain"));
        assert_eq!(answer.header("x-added"), "three");
    }
}

#[tokio::test]
async fn a_redirect_names_the_new_place_and_asks_no_upstream() {
    let (origin, _shadow, _dir, gateway) = scene().await;
    let answer = gateway.http1().await.get("/moved/a/b?c=d").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (301, "https://new.example/to/a/b?c=d"));
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_rewrite_changes_what_the_upstream_is_asked() {
    let (_origin, _shadow, _dir, gateway) = scene().await;
    let answer = gateway.http1().await.get("/old/a?c=d").await;
    assert_eq!(answer.echo()["target"], "/v2/a?c=d");
    assert_eq!(answer.echoed("host"), ["inside.example"]);
    assert_eq!(gateway.http2().await.get("/whole/x?c=d").await.echo()["target"], "/fixed?c=d");
}

#[tokio::test]
async fn a_fixed_response_passes_the_steps_before_it() {
    let (origin, _shadow, _dir, gateway) = scene().await;
    let answer = gateway.http1().await.get("/gone").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-why"), answer.text().as_str()),
        (410, "moved", "gone for good")
    );
    assert_eq!(answer.headers.get_all("x-order").iter().collect::<Vec<_>>(), ["route", "listener", "gateway"]);
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_mirror_gets_a_copy_and_changes_nothing() {
    let (_origin, shadow, _dir, gateway) = scene().await;
    let mut hold = shadow.hold("/mirrored");
    let body = "a body to copy";
    let answer = gateway.http1().await.send(request(Method::POST, "/mirrored").map(|_| body.into())).await;
    assert_eq!((&answer.echo()["origin"], &answer.echo()["body_bytes"]), (&"origin".into(), &body.len().into()));
    let mut copy = hold.next().await;
    assert_eq!(copy.whole().await.unwrap().bytes, body.as_bytes());
    assert_eq!(copy.head.method(), "POST");
    // An answer that never comes holds nobody up.
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}

const ASKED: usize = 800;

#[tokio::test]
async fn a_mirror_gets_its_share_and_no_body_over_its_bound() {
    let (origin, shadow, dir, gateway) = scene().await;
    let shadows: Vec<_> = (0..4).map(|number| Origin::named(&number.to_string())).collect();
    let shares = ["0", "100", "25", "0.5"];
    let mut text = CONFIGURATION.split("routes:").next().unwrap().replace("{shadow}", &shadow.address().to_string());
    text = text.replace("{origin}", &origin.address().to_string()).replace("upstreams:", "upstreams:\n  MORE");
    let upstreams: String =
        shadows.iter().enumerate().map(|(at, it)| format!("  s{at}: {{endpoints: ['{}']}}\n", it.address())).collect();
    text = text.replace("  MORE\n", &upstreams);
    text.push_str("routes:\n");
    for (at, share) in shares.iter().enumerate() {
        let mirror = format!("{{mirror: {{upstream: s{at}, percent: {share}, body-bytes-max: 1KiB}}}}");
        text.push_str(&format!("  - {{id: r{at}, path: /share/{at}, middleware: [{mirror}], upstream: origin}}\n"));
    }
    dir.write("gateway.yaml", &text);
    gateway.apply().await;
    let mut client = gateway.http1().await;
    for (at, share) in shares.iter().enumerate() {
        for _ in 0..ASKED {
            assert_eq!(client.get(&format!("/share/{at}")).await.status, 200);
        }
        let share = share.parse::<f64>().unwrap() / 100.0;
        let (mean, spread) = (ASKED as f64 * share, 6.0 * (ASKED as f64 * share * (1.0 - share)).sqrt());
        let near = || (shadows[at].requests() as f64 - mean).abs() <= spread;
        soon(&format!("{at} has its share of {mean} within {spread}"), async || near()).await;
    }
    // A body over the bound goes to its own upstream alone.
    let before = shadows[1].requests();
    for bytes in [2000, 1024] {
        let answer = client.send(request(Method::POST, "/share/1").map(|_| vec![b'x'; bytes].into())).await;
        assert_eq!(answer.echo()["body_bytes"], bytes);
    }
    soon("the shorter one is copied", async || shadows[1].requests() > before).await;
    assert_eq!(shadows[1].requests(), before + 1);
}

#[tokio::test]
async fn targets_are_used_by_weight() {
    let (origin, shadow, _dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    for _ in 0..400 {
        client.get("/weighted").await;
    }
    let (most, few) = (origin.requests(), shadow.requests());
    assert_eq!(most + few, 400);
    assert!((50..=150).contains(&few), "{few} of 400 went to the target with a quarter of the weight");
    soon("both are counted", async || gateway.metric("tidegate_upstream_requests_total", "shadow").await == few as f64)
        .await;
}
