//! What plugins that others publish need of a host, where guests of our own would not ask for it: found by reading and by running
//! them (`tests/tables/public.txt`).

use tidegate_tests::proxy_wasm::{CONTINUE, on_request};

use super::scene;

#[tokio::test]
async fn a_module_begins_with_the_memory_of_a_firewall_and_the_functions_of_a_large_program_where_nothing_is_said() {
    // 2,100 pages: what Coraza begins with. Programs in Go have an element of their table for each function.
    let guest = on_request(CONTINUE)
        .replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 2100)\n(table 60000 funcref)");
    let (_origin, dir, gateway) = scene(&guest, "").await;
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
    super::write(&dir, ", limits: {memory-bytes-max: 64MiB}");
    let refused = gateway.reload().await;
    assert_eq!(refused["diagnostics"][0]["severity"], "error", "what is said holds: {refused}");
}

#[tokio::test]
async fn a_plugin_defines_a_metric_for_each_of_its_rules() {
    let does = "(local $number i32) (local $status i32)
        (loop $more
          (i32.store16 (i32.const 0x8200) (i32.add (i32.const 0x6161) (i32.add
            (i32.rem_u (local.get $number) (i32.const 26))
            (i32.shl (i32.div_u (local.get $number) (i32.const 26)) (i32.const 8)))))
          (local.set $status (i32.or (local.get $status)
            (call $define (i32.const 0) (i32.const 0x8200) (i32.const 2) (i32.const 0x8000))))
          (local.set $number (i32.add (local.get $number) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $number) (i32.const 500))))
        (call $tell @\"x-defined\" (local.get $status))
        (i32.const 0)";
    let (_origin, _dir, gateway) = scene(&on_request(does), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!(answer.echoed("x-defined"), ["a"], "{}", answer.text());
}

#[tokio::test]
async fn kongs_names_for_the_client_and_the_route_are_known() {
    let show = |field: &str, path: &str| {
        format!(
            "(call $show (i32.const 0) @\"{field}\" (call $property @\"{path}\" (i32.const 0x8000) (i32.const 0x8004)))"
        )
    };
    let does = [show("x-client", "ngx\\00remote_addr"), show("x-route", "kong\\00route_id"), CONTINUE.into()].concat();
    let (_origin, _dir, gateway) = scene(&on_request(&does), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.echoed("x-client"), answer.echoed("x-route")), (vec!["127.0.0.1".into()], vec!["all".into()]));
}
