//! Clients that are bound to an endpoint by a cookie.

use tidegate_tests::{Answer, Gateway};

use super::{Scene, asked, origin};

fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_cookie_binds_a_client_through_reloads_and_in_front_of_other_gateways() {
    let scene = Scene::new(3);
    let affinity = "affinity: {cookie: sticky, ttl: 1h, path: /app, same-site: strict, secret: s3cret}";
    let gateway = scene.start(&format!("endpoints: {{all}}, {affinity}")).await;
    let mut client = gateway.http1().await;
    let first = client.get("/app").await;
    let owner = origin(&first);
    let line = first.header("set-cookie");
    assert!(line.ends_with("; Path=/app; Max-Age=3600; HttpOnly; SameSite=Strict"), "{line}");
    let bound = cookie(&first);
    let port = |text: &str| scene.origins.iter().any(|origin| text.contains(&origin.address().port().to_string()));
    assert!(bound.starts_with("sticky=") && !port(&bound), "{bound}");
    let fields = [("cookie", &*bound)];
    for _ in 0..9 {
        let again = client.send(asked("/app", &fields)).await;
        assert_eq!(origin(&again), owner);
        assert!(!again.headers.contains_key("set-cookie"), "it is bound already");
    }
    for balance in ["least-request", "peak-ewma", "{hash: client-ip}"] {
        scene.write(&format!("endpoints: ['{{c}}', '{{b}}', '{{a}}'], balance: {balance}, {affinity}"));
        gateway.apply().await;
        for _ in 0..5 {
            assert_eq!(origin(&gateway.http1().await.send(asked("/app", &fields)).await), owner, "{balance}");
        }
    }
    let other = Gateway::start(&scene.dir).await;
    assert_eq!(origin(&other.http1().await.send(asked("/app", &fields)).await), owner);
}

#[tokio::test]
async fn a_client_whose_endpoint_is_gone_is_bound_anew_and_one_without_weight_keeps_its_own() {
    let scene = Scene::new(2);
    let gateway = scene.start("endpoints: {all}, affinity: {}").await;
    let mut client = gateway.http1().await;
    let mut cookies = std::collections::BTreeMap::new();
    for _ in 0..2 {
        let answer = client.get("/").await;
        cookies.insert(origin(&answer), cookie(&answer));
    }
    scene.write("endpoints: [{address: '{a}', weight: 0}, '{b}'], affinity: {}");
    gateway.apply().await;
    let ask = async |cookie: &str| gateway.http1().await.send(asked("/", &[("cookie", cookie)])).await;
    for _ in 0..4 {
        assert_eq!(origin(&ask(&cookies["a"]).await), "a", "it keeps those who are bound to it");
        assert_eq!(origin(&ask("other=1").await), "b", "and takes nobody new");
    }
    scene.write("endpoints: ['{b}'], affinity: {}");
    gateway.apply().await;
    let moved = ask(&cookies["a"]).await;
    assert_eq!((origin(&moved), cookie(&moved)), ("b".to_owned(), cookies["b"].clone()));
}
