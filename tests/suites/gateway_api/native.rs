//! What the native form has of it: sections of listeners, steps of targets, targets that fail.

use tidegate_tests::{Client, ConfigDir, Gateway, Origin};

const CONFIGURATION: &str = "
listeners:
  web:
    address: '127.0.0.1:0'
    public-port: 80
    middleware: [{headers: {response: {set: {x-listener: web}}}}]
    sections:
      shop: {host: '*.shop.test', middleware: [{headers: {response: {set: {x-section: shop}}}}]}
      books: {host: books.shop.test}
      rest: {}
upstreams: {a: {endpoints: ['{a}']}, b: {endpoints: ['{b}']}}
routes:
  - {id: everywhere, listeners: web, path: /all, upstream: a}
  - {id: shop, listeners: web/shop, path: /shop, upstream: a}
  - {id: books, listeners: [web/books], path: /books, upstream: b}
  - {id: rest, listeners: web/rest, path: /rest, upstream: b}
  - {id: moved, listeners: web/rest, path: /moved, middleware: [{redirect: {host: new.test}}]}
  - id: targets
    listeners: web/rest
    path: /targets
    targets:
      - {upstream: a, middleware: [{headers: {request: {set: {x-target: a}}, response: {set: {x-by: a}}}}]}
      - {upstream: b, weight: 2, middleware: [{rewrite: {path: /elsewhere}}]}
      - {fails: 503, because: it is to fail}
      - {middleware: [{redirect: {host: answer.test}}]}
";

#[tokio::test]
async fn a_section_isolates_its_hosts_and_a_route_of_the_listener_is_in_all_of_them() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let dir = ConfigDir::new().with("a", a.address()).with("b", b.address());
    dir.write("gateway.yaml", CONFIGURATION);
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    let cases = [
        ("one.shop.test", "shop"),
        ("a.b.shop.test", "shop"),
        ("books.shop.test", "books"),
        ("shop.test", "rest"),
        ("other.test", "rest"),
    ];
    for (host, section) in cases {
        for path in ["all", "shop", "books", "rest"] {
            let answer = client.get(&format!("http://{host}/{path}")).await;
            let expected = if path == "all" || path == section { 200 } else { 404 };
            assert_eq!(answer.status.as_u16(), expected, "{host} {path}");
            assert_eq!(answer.header("x-listener"), "web");
            assert_eq!(answer.header("x-section"), if section == "shop" { "shop" } else { "" }, "{host} {path}");
        }
    }
    let moved = client.get("http://other.test/moved").await;
    assert_eq!(moved.header("location"), "http://new.test/moved", "the port that clients connect to is 80");
}

#[tokio::test]
async fn a_target_has_steps_of_its_own_and_may_fail_or_answer() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let dir = ConfigDir::new().with("a", a.address()).with("b", b.address());
    dir.write("gateway.yaml", CONFIGURATION);
    let gateway = Gateway::start(&dir).await;
    let mut client = Client::http1(gateway.web()).await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let answer = client.get("http://other.test/targets").await;
        seen.push(match (answer.status.as_u16(), answer.header("x-origin")) {
            (200, "a") => {
                assert_eq!((answer.header("x-by"), answer.echoed("x-target")), ("a", vec!["a".to_owned()]));
                "a"
            }
            (200, "b") => {
                assert_eq!((answer.header("x-by"), answer.echo()["target"].as_str()), ("", Some("/elsewhere")));
                "b"
            }
            (302, "") => "redirect",
            (503, "") => "fails",
            other => panic!("{other:?}"),
        });
    }
    for (target, count) in [("a", 2), ("b", 4), ("redirect", 2), ("fails", 2)] {
        assert_eq!(seen.iter().filter(|own| **own == target).count(), count, "{target}: {seen:?}");
    }
}
