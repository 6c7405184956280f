//! The policies: keys that stay, keys that move, endpoints that are busy or slow.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_tests::{Client, Gateway, request, soon};

use super::{Scene, asked, counts, origin};

async fn owners(client: &mut Client) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for user in 0..60 {
        let user = format!("user-{user}");
        let answer = client.send(asked("/", &[("x-user", &user)])).await;
        owners.insert(user, origin(&answer));
    }
    owners
}

#[tokio::test]
async fn a_key_stays_with_its_endpoint_in_every_process_and_only_keys_of_a_lost_endpoint_move() {
    let scene = Scene::new(4);
    let gateway = scene.start("endpoints: {all}, balance: {hash: {header: x-user}}").await;
    let before = owners(&mut gateway.http1().await).await;
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 4, "{before:?}");
    assert_eq!(owners(&mut gateway.http1().await).await, before, "from another connection");
    scene.write("endpoints: ['{d}', '{c}', '{b}', '{a}'], balance: {hash: {header: x-user}}, response-timeout: 9s");
    gateway.apply().await;
    assert_eq!(owners(&mut gateway.http1().await).await, before, "after a reload, in another order");
    let other = Gateway::start(&scene.dir).await;
    assert_eq!(owners(&mut other.http1().await).await, before, "in another process");
    scene.write("endpoints: ['{a}', '{b}', '{c}'], balance: {hash: {header: x-user}}");
    gateway.apply().await;
    let after = owners(&mut gateway.http1().await).await;
    for (user, owner) in &before {
        assert_eq!(owner == "d", after[user] != *owner, "{user}");
    }
}

#[tokio::test]
async fn a_key_is_a_header_a_cookie_a_query_the_path_or_the_address() {
    let scene = Scene::new(3);
    let gateway = scene.start("endpoints: {all}, balance: round-robin").await;
    for (keys, spreads) in [
        ("{header: x-user}", true),
        ("{cookie: session}", true),
        ("{query: id}", true),
        ("path", true),
        ("client-ip", false),
        ("[{header: x-none}, {query: id}]", true),
    ] {
        scene.write(&format!("endpoints: {{all}}, balance: {{hash: {keys}}}"));
        gateway.apply().await;
        let mut client = gateway.http1().await;
        let mut seen = BTreeSet::new();
        for user in 0..24 {
            let (target, cookie) = (format!("/{user}?x=1&id={user}"), format!("a=b; session={user}"));
            let fields = [("x-user", &*user.to_string()), ("cookie", &*cookie)];
            let first = origin(&client.send(asked(&target, &fields)).await);
            assert_eq!(origin(&client.send(asked(&target, &fields)).await), first, "{keys}");
            seen.insert(first);
        }
        assert_eq!(seen.len() > 1, spreads, "{keys}: {seen:?}");
    }
}

#[tokio::test]
async fn a_request_without_the_key_goes_to_each_in_turn() {
    let scene = Scene::new(3);
    let gateway = scene.start("endpoints: {all}, balance: {hash: {header: x-user}}").await;
    let counts = counts(&mut gateway.http1().await, 30).await;
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test]
async fn a_bound_on_load_sends_a_key_elsewhere_while_its_endpoint_is_busy() {
    let scene = Scene::new(3);
    let gateway = scene.start("endpoints: {all}, balance: {hash: {header: x-user}, load-max: 125%}").await;
    let owner = origin(&gateway.http1().await.send(asked("/", &[("x-user", "ann")])).await);
    let mut held: BTreeMap<_, _> =
        ["a", "b", "c"].into_iter().zip(scene.origins.iter().map(|origin| origin.hold("/held"))).collect();
    let mut client = gateway.http1().await;
    let first = tokio::spawn(async move { client.send(asked("/held", &[("x-user", "ann")])).await });
    let mut busy = held.get_mut(&*owner).unwrap().next().await;
    let mut client = gateway.http1().await;
    let second = origin(&client.send(asked("/", &[("x-user", "ann")])).await);
    assert_ne!(second, owner, "one of two under way is more than 125% of the average of three");
    busy.answer(200, "").await;
    busy.keep();
    assert_eq!(first.await.unwrap().status, 200);
    soon("the key is back", async || origin(&client.send(asked("/", &[("x-user", "ann")])).await) == owner).await;
}

#[tokio::test]
async fn least_request_avoids_the_endpoint_that_is_busy_on_any_worker() {
    let scene = Scene::new(2);
    let gateway = scene.start("endpoints: {all}, balance: least-request").await;
    let (mut a, mut b) = (scene.origins[0].hold("/held"), scene.origins[1].hold("/held"));
    let mut client = gateway.http1().await;
    let waiting = tokio::spawn(async move { client.get("/held").await });
    let (mut busy, free) = tokio::select! {
        busy = a.next() => (busy, "b"),
        busy = b.next() => (busy, "a"),
    };
    // New connections come to either worker.
    for _ in 0..8 {
        let counts = counts(&mut gateway.http1().await, 5).await;
        assert_eq!(counts.get(free), Some(&5), "{counts:?}");
    }
    busy.answer(200, "").await;
    busy.keep();
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn peak_ewma_avoids_the_endpoint_that_answers_slowly_or_fails() {
    let scene = Scene::new(2);
    let gateway = scene.start("endpoints: {all}, balance: peak-ewma").await;
    let mut client = gateway.http1().await;
    scene.origins[0].fail(Some(503));
    soon("the failing one was asked", async || client.send(request(http::Method::GET, "/")).await.status == 503).await;
    scene.origins[0].fail(None);
    let counts = counts(&mut client, 30).await;
    assert_eq!(counts.get("b"), Some(&30), "a failure counts as a slow answer: {counts:?}");
}
