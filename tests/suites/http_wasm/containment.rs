//! Guests that fail: whose exchanges suffer, what is made anew, and that nothing else notices.

use http::Method;
use tidegate_tests::{
    Client,
    http_wasm::{NEXT, guest, handlers, on_request, on_response, set},
    request, soon,
};

use super::{scene, write};

/// Fails as the field `x-do` says, and otherwise says how many requests its guest has seen.
fn unruly() -> String {
    let is = |word: &str, does: &str| {
        let first = word.as_bytes()[0];
        format!("(if (i32.eq (local.get $n) (i32.const {first})) (then {does}))\n")
    };
    let does = format!(
        "{}
         (if (call $count (call $values (i32.const 0) @\"x-do\" (i32.const 0x8000) (i32.const 64)))
           (then (local.set $n (i32.load8_u (i32.const 0x8000)))))
         {}{}{}{}{}
         (global.set $count (i32.add (global.get $count) (i32.const 1)))
         (call $tell (i32.const 0) @\"x-count\" (global.get $count))
         (call $next_with (local.get $n))",
        set(0, "x-touched", "yes"),
        is("trap", "unreachable"),
        is("loop", "(loop $on (br $on))"),
        is("grow", "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"),
        is("deep", "(call $deep)"),
        is("exit", "(call $exit (i32.const 0))"),
    );
    let response = "(if (i32.eq (local.get $context) (i32.const 97)) (then unreachable))
        (if (i32.eq (local.get $context) (i32.const 98)) (then (loop $on (br $on))))";
    let body = "(global $count (mut i32) (i32.const 0)) (func $deep (call $deep) (call $deep))\n".to_owned()
        + &on_request(&does)
        + &on_response(response);
    guest(&body).replacen(
        "(module",
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))",
        1,
    )
}

fn doing(what: &str) -> http::Request<bytes::Bytes> {
    let mut asked = request(Method::GET, "/");
    asked.headers_mut().insert("x-do", what.parse().unwrap());
    asked
}

#[tokio::test]
async fn a_guest_that_fails_is_never_used_again() {
    let (_origin, _dir, gateway) = scene(&unruly(), ", limits: {call-timeout: 300ms, memory-bytes-max: 1MiB}").await;
    let mut client = gateway.http1().await;
    // In the request's handler, and in the response's: `a` traps, `b` loops.
    for what in ["trap", "loop", "grow", "deep", "exit", "after", "behind"] {
        assert_eq!(client.get("/").await.echoed("x-count"), ["1"], "before {what}");
        assert_eq!(client.get("/").await.echoed("x-count"), ["2"], "before {what}");
        let answer = client.send(doing(what)).await;
        assert_eq!(answer.status.as_u16(), 503, "{what}");
        assert!(!answer.text().contains("unreachable"), "the client is not told why");
    }
    assert_eq!(client.get("/").await.echoed("x-count"), ["1"]);
    assert_eq!(gateway.metric("tidegate_plugin_traps_total", "plugin=\"plugin\"").await, 5.0);
}

#[tokio::test]
async fn where_the_policy_is_open_the_messages_go_on_as_they_were() {
    let (_origin, _dir, gateway) = scene(&unruly(), ", on-failure: open, limits: {call-timeout: 300ms}").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for what in ["trap", "loop"] {
            let answer = client.send(doing(what)).await;
            assert_eq!((answer.status.as_u16(), answer.echoed("x-touched").len()), (200, 0), "{what}");
        }
        for what in ["after", "behind"] {
            let answer = client.send(doing(what)).await;
            assert_eq!((answer.status.as_u16(), answer.echoed("x-touched").len()), (200, 1), "{what}");
        }
        assert_eq!(client.get("/").await.echoed("x-touched"), ["yes"]);
    }
    // A body that the guest has read before it failed is there again.
    let read = "(drop (call $read_all (i32.const 0) (i32.const 2))) (call $write (i32.const 0) @\"other\") unreachable";
    let (_origin, _dir, gateway) = scene(&handlers(read, ""), ", on-failure: open").await;
    let mut post = request(Method::POST, "/");
    *post.body_mut() = "whole body".into();
    let echo = gateway.http1().await.send(post).await.echo();
    assert_eq!(echo["body_digest"], tidegate_tests::wire::digest(b"whole body"));
}

#[tokio::test]
async fn each_exchange_has_a_fresh_guest_where_that_is_asked_for() {
    let (_origin, dir, gateway) = scene(&unruly(), ", isolation: per-request").await;
    let mut client = gateway.http1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.echoed("x-count"), ["1"]);
    }
    // A plugin that did not change keeps its guests through a reload; one that changed has others.
    write(&dir, "");
    gateway.apply().await;
    for count in ["1", "2"] {
        assert_eq!(client.get("/").await.echoed("x-count"), [count]);
    }
    dir.edit("gateway.yaml", "id: all", "id: every");
    gateway.apply().await;
    assert_eq!(client.get("/").await.echoed("x-count"), ["3"]);
    write(&dir, ", config: other");
    gateway.apply().await;
    assert_eq!(client.get("/").await.echoed("x-count"), ["1"]);
}

#[tokio::test]
async fn no_more_guests_are_out_than_may_be() {
    let (origin, _dir, gateway) = scene(&handlers(NEXT, "nop"), ", limits: {guests-max: 2}").await;
    let mut hold = origin.hold("/held");
    let address = gateway.web();
    let ask = || tokio::spawn(async move { Client::http1(address).await.get("/held").await.status.as_u16() });
    // One for each of two workers: of many, at most two get through, and the others are told so.
    let asked: Vec<_> = (0..8).map(|_| ask()).collect();
    soon("all but those that are held are answered", async || {
        asked.iter().filter(|asked| asked.is_finished()).count() >= 6
    })
    .await;
    while let Ok(mut held) = tokio::time::timeout(std::time::Duration::from_millis(200), hold.next()).await {
        held.answer(200, "").await;
    }
    let mut statuses = Vec::new();
    for asked in asked {
        statuses.push(asked.await.unwrap());
    }
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((1..=2).contains(&served) && statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_nothing_from_the_others() {
    let (_origin, _dir, gateway) = scene(&unruly(), ", limits: {call-timeout: 10s, exchange-timeout: 20s}").await;
    let mut stays = gateway.http1().await;
    assert_eq!(stays.get("/").await.status, 200);
    for _ in 0..4 {
        let mut goes = gateway.http1().await;
        let sent = tokio::time::timeout(std::time::Duration::from_millis(5), goes.send(doing("loop"))).await;
        drop((sent, goes));
        assert_eq!(stays.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn bad_addresses_are_traps_and_do_no_harm() {
    let calls = [
        "(drop (call $config (i32.const -1) (i32.const 99)))",
        "(call $log (i32.const 2) (i32.const -1) (i32.const -1))",
        "(drop (call $method (i32.const 0x1fffe) (i32.const 99)))",
        "(call $set_method (i32.const -1) (i32.const 3))",
        "(drop (call $uri (i32.const -1) (i32.const 99)))",
        "(call $set_uri (i32.const 0x1ffff) (i32.const 2))",
        "(drop (call $version (i32.const -4) (i32.const 99)))",
        "(drop (call $source (i32.const -4) (i32.const 99)))",
        "(drop (call $names (i32.const 0) (i32.const -4) (i32.const -1)))",
        "(drop (call $values (i32.const 0) (i32.const -1) (i32.const 2) (i32.const 0x8000) (i32.const 9)))",
        "(drop (call $values (i32.const 0) @\"host\" (i32.const -1) (i32.const 99)))",
        "(call $set (i32.const 0) @\"x\" (i32.const -1) (i32.const -1))",
        "(call $add (i32.const 0) (i32.const -1) (i32.const 9) @\"x\")",
        "(call $remove (i32.const 0) (i32.const -9) (i32.const 10))",
        "(drop (call $read (i32.const 0) (i32.const 0x1fff0) (i32.const 0x100)))",
        "(call $write (i32.const 1) (i32.const -1) (i32.const -1))",
    ];
    let (origin, dir, gateway) = scene(&handlers(NEXT, ""), ", config: text").await;
    for call in calls {
        dir.write("guest.wat", &handlers(&format!("{call} {NEXT}"), ""));
        gateway.apply().await;
        assert_eq!(gateway.http1().await.get("/").await.status, 503, "{call}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn giants_are_refused() {
    // A value over 64 KiB, more than 256 fields, a target that is too long.
    let giants = [
        "(call $set (i32.const 0) @\"x\" (i32.const 0) (i32.const 0x10001))",
        "(loop $on (call $tell (i32.const 0x0) @\"x\" (local.get $n)) (call $add (i32.const 0) @\"y\" @\"1\") (br $on))",
        "(call $set_uri (i32.const 0x8000) (i32.const 0x17fff))",
    ];
    let (origin, dir, gateway) = scene(&handlers(NEXT, ""), "").await;
    for giant in giants {
        dir.write("guest.wat", &handlers(&format!("{giant} {NEXT}"), ""));
        gateway.apply().await;
        assert_eq!(gateway.http1().await.get("/").await.status, 503, "{giant}");
    }
    assert_eq!(origin.requests(), 0);
}
