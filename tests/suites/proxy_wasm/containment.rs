//! Guests that fail: whose exchanges suffer, what is made anew, and that nothing else notices.

use tidegate_tests::{
    proxy_wasm::{CONTINUE, callback, guest, on_request, request_headers, set, told},
    soon,
};

use super::scene;

/// Fails as the field `x-do` says, and otherwise says how many requests its VM has seen.
fn unruly() -> String {
    let is = |word: &str, does: &str| {
        let first = word.as_bytes()[0];
        format!("(if (i32.eq (local.get $first) (i32.const {first})) (then {does}))\n")
    };
    let does = format!(
        "(local $first i32)
         {}
         (if (i32.eqz (call $get (i32.const 0) @\"x-do\" (i32.const 0x8000) (i32.const 0x8004)))
           (then (local.set $first (i32.load8_u (call $given)))))
         {}{}{}{}{}
         (global.set $count (i32.add (global.get $count) (i32.const 1)))
         (drop (call $replace (i32.const 0) @\"x-count\" (call $digits (global.get $count))))
         {CONTINUE}",
        set(0, "x-touched", "yes"),
        is("trap", "unreachable"),
        is("loop", "(loop $on (br $on))"),
        is("grow", "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"),
        is("deep", "(call $deep)"),
        is("pause", "(return (i32.const 1))"),
    );
    let body = "(global $count (mut i32) (i32.const 0)) (func $deep (call $deep) (call $deep))\n".to_owned();
    guest("0_2_1", &(body + &request_headers(&does)))
}

fn doing(what: &str) -> http::Request<bytes::Bytes> {
    let mut request = tidegate_tests::request(http::Method::GET, "/");
    request.headers_mut().insert("x-do", what.parse().unwrap());
    request
}

#[tokio::test]
async fn a_guest_that_fails_is_never_used_again_and_its_vm_is_made_anew() {
    let (origin, _dir, gateway) = scene(&unruly(), ", limits: {call-timeout: 300ms, memory-bytes-max: 1MiB}").await;
    let mut client = gateway.http1().await;
    for what in ["trap", "loop", "grow", "deep"] {
        assert_eq!(client.get("/").await.echoed("x-count"), ["1"], "before {what}");
        assert_eq!(client.get("/").await.echoed("x-count"), ["2"], "before {what}");
        let before = origin.requests();
        let answer = client.send(doing(what)).await;
        assert_eq!((answer.status.as_u16(), origin.requests()), (503, before), "{what}");
        assert!(!answer.text().contains("unreachable"), "the client is not told why");
    }
    assert_eq!(client.get("/").await.echoed("x-count"), ["1"]);
    assert_eq!(gateway.metric("tidegate_plugin_traps_total", "plugin=\"plugin\"").await, 3.0);
}

#[tokio::test]
async fn where_the_policy_is_open_the_request_goes_on_as_it_was() {
    let (_origin, _dir, gateway) = scene(&unruly(), ", on-failure: open, limits: {call-timeout: 300ms}").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for what in ["trap", "loop"] {
            let answer = client.send(doing(what)).await;
            assert_eq!((answer.status.as_u16(), answer.echoed("x-touched").len()), (200, 0), "{what}");
        }
        assert_eq!(client.get("/").await.echoed("x-touched"), ["yes"]);
    }
}

#[tokio::test]
async fn a_failure_ends_the_paused_exchanges_of_its_vm_at_once() {
    let (_origin, _dir, gateway) = scene(&unruly(), "").await;
    // Many, so that each worker has one.
    let mut paused = Vec::new();
    for _ in 0..8 {
        let mut client = gateway.http1().await;
        paused.push(tokio::spawn(async move { client.send(doing("pause")).await.status.as_u16() }));
    }
    soon("all that are paused have ended", async || {
        gateway.http1().await.send(doing("trap")).await;
        paused.iter().all(|paused| paused.is_finished())
    })
    .await;
    for paused in paused {
        assert_eq!(paused.await.unwrap(), 503);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_nothing_from_the_others() {
    let slow = format!(
        "(local $n i32)
         (if (i32.eqz (call $get (i32.const 0) @\"x-do\" (i32.const 0x8000) (i32.const 0x8004)))
           (then (loop $on (br_if $on (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000000))))))
         (global.set $count (i32.add (global.get $count) (i32.const 1)))
         (drop (call $replace (i32.const 0) @\"x-count\" (call $digits (global.get $count)))) {CONTINUE}"
    );
    let body = "(global $count (mut i32) (i32.const 0))\n".to_owned() + &request_headers(&slow);
    let (_origin, _dir, gateway) =
        scene(&guest("0_2_1", &body), ", limits: {call-timeout: 10s, exchange-timeout: 20s}").await;
    let mut stays = gateway.http1().await;
    assert_eq!(stays.get("/").await.echoed("x-count"), ["1"]);
    for _ in 0..4 {
        let mut goes = gateway.http1().await;
        let sent = tokio::time::timeout(std::time::Duration::from_millis(5), goes.send(doing("slow"))).await;
        drop((sent, goes));
    }
    let count: u32 = stays.get("/").await.echoed("x-count").concat().parse().unwrap();
    assert!(count >= 2, "its VM is the one that it was: {count}");
    assert_eq!(gateway.metric("tidegate_plugin_traps_total", "plugin=\"plugin\"").await, 0.0);
}

#[tokio::test]
async fn a_tick_that_fails_costs_the_vm_and_no_exchange() {
    let body = callback("proxy_on_configure", "$root $size", "(drop (call $ticks (i32.const 5))) (i32.const 1)")
        + &told("proxy_on_tick", "$root", "unreachable")
        + &request_headers(&format!("{}{CONTINUE}", set(0, "x-by", "plugin")));
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &body), ", on-failure: open").await;
    soon("ticks have failed", async || gateway.metric("tidegate_plugin_traps_total", "plugin=\"plugin\"").await >= 2.0)
        .await;
    for _ in 0..20 {
        assert_eq!(gateway.http1().await.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn bad_addresses_are_told_and_do_no_harm() {
    let mut does = String::new();
    let calls = [
        "(call $get (i32.const 0) (i32.const -1) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004))",
        "(call $get (i32.const 0) @\"host\" (i32.const -1) (i32.const 0x8004))",
        "(call $pairs (i32.const 0) (i32.const 0x8000) (i32.const -1))",
        "(call $replace (i32.const 0) @\"x-a\" (i32.const 0x1fffe) (i32.const 9))",
        "(call $set_pairs (i32.const 0) (i32.const -4) (i32.const 4))",
        "(call $property (i32.const -1) (i32.const -1) (i32.const 0x8000) (i32.const 0x8004))",
        "(call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const -1))",
        "(call $share (i32.const -1) (i32.const 1) @\"v\" (i32.const 0))",
        "(call $register (i32.const -1) (i32.const 1) (i32.const 0x8010))",
        "(call $define (i32.const 0) @\"m\" (i32.const -2))",
        "(call $foreign (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
        "(call $log (i32.const 2) (i32.const -1) (i32.const -1))",
        "(call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1))",
        "(call $http_call @\"origin\" (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 0x8010))",
    ];
    for (number, call) in calls.iter().enumerate() {
        does += &format!("(call $tell @\"x-{number}\" {call})\n");
    }
    let (_origin, _dir, gateway) = scene(&on_request(&(does + CONTINUE)), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!(answer.status, 200);
    for (number, call) in calls.iter().enumerate() {
        assert_eq!(answer.echoed(&format!("x-{number}")), ["g"], "{call}");
    }
}
