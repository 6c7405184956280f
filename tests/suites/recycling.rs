//! Guests that are worn, by `guest-calls-max` and `guest-bytes-max`, and what is counted of guests, in every ABI.

use tidegate_tests::{
    Gateway, WEB, guests,
    http_wasm::{self, NEXT, handlers},
    plugin,
    proxy_wasm::{CONTINUE, callback, guest, request_headers},
    soon,
};

use crate::proxy_wasm::scene;

// Says in `x-count` how many responses its VM has seen.
fn counting() -> String {
    let count = "(i32.store (i32.const 0x9000) (i32.add (i32.load (i32.const 0x9000)) (i32.const 1)))
        (drop (call $replace (i32.const 2) @\"x-count\" (call $digits (i32.load (i32.const 0x9000)))))";
    let response = callback("proxy_on_response_headers", "$id $fields $end", &format!("{count} {CONTINUE}"));
    guest("0_2_1", &(request_headers(CONTINUE) + &response))
}

async fn count(client: &mut tidegate_tests::Client, path: &str) -> u64 {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200);
    answer.header("x-count").parse().unwrap()
}

#[tokio::test]
async fn a_worn_vm_ends_with_its_exchanges_and_a_fresh_one_takes_new_ones() {
    let (origin, _dir, gateway) = scene(&counting(), ", limits: {guest-calls-max: 20}").await;
    let mut held = origin.hold("/held");
    let mut client = gateway.http1().await;
    assert_eq!(count(&mut client, "/").await, 1);
    let waiting = tokio::spawn(async move {
        let seen = count(&mut client, "/held").await;
        (seen, client)
    });
    let mut kept = held.next().await;
    // On the same worker, as likely as not: what matters is that some VM is worn meanwhile.
    let mut others = [gateway.http1().await, gateway.http1().await, gateway.http1().await];
    soon("fresh VMs take new exchanges", async || {
        for other in &mut others {
            count(other, "/").await;
        }
        gateway.metric("tidegate_plugin_instantiations_total", "").await >= 5.0
    })
    .await;
    kept.answer(200, "late").await;
    kept.keep();
    let (seen, mut client) = waiting.await.unwrap();
    assert!(seen >= 2, "it came back to the VM that it began in");
    let mut before = 0;
    soon("a count begins anew", async || {
        let now = count(&mut client, "/").await;
        std::mem::replace(&mut before, now) >= now
    })
    .await;
    soon("worn VMs are gone", async || gateway.metric("tidegate_plugin_guests", "").await == 2.0).await;
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "").await, 0.0);
}

#[tokio::test]
async fn a_worn_guest_of_http_wasm_serves_no_further_exchange() {
    let (_origin, dir, gateway) = scene(&handlers(NEXT, ""), ", limits: {guest-calls-max: 3}").await;
    let made = async || gateway.metric("tidegate_plugin_instantiations_total", "").await;
    let mut client = gateway.http1().await;
    for _ in 0..12 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!((5.0..=8.0).contains(&made().await), "four guests for twelve calls, and those that wait: {}", made().await);
    dir.edit("gateway.yaml", "guest-calls-max: 3", "guest-bytes-max: 64KiB");
    gateway.apply().await;
    let before = made().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!(made().await >= before + 3.0, "each has two pages, which is too much");
}

#[tokio::test]
async fn memory_is_counted_for_guests_of_every_interface_until_they_are_gone() {
    let growing = http_wasm::guest(
        &(http_wasm::on_request(&format!("(drop (memory.grow (i32.const 6))) {NEXT}")) + &http_wasm::on_response("")),
    );
    let (_origin, dir, gateway) = scene(&growing, "").await;
    let memory = async || gateway.metric("tidegate_plugin_guest_memory_bytes", "").await;
    assert_eq!(memory().await, 4.0 * 65536.0, "a guest of two pages on each worker");
    let mut client = gateway.http1().await;
    client.get("/").await;
    assert_eq!(memory().await, 10.0 * 65536.0);
    // A component has memory for as long as it has an exchange.
    dir.write_bytes("app.wasm", &plugin("wasi-http-probe"));
    dir.edit("gateway.yaml", "guest.wat", "app.wasm");
    gateway.apply().await;
    soon("the guests before are gone", async || memory().await == 0.0).await;
    let waiting = tokio::spawn(async move { client.get("/wait").await.status });
    soon("a component has memory", async || memory().await >= 65536.0).await;
    dir.edit("gateway.yaml", "module: app.wasm", "module: app.wasm, limits: {exchange-timeout: 100ms}");
    gateway.apply().await;
    waiting.abort();
    soon("and gives it back", async || memory().await == 0.0).await;
}

#[tokio::test]
async fn memory_is_counted_for_tables() {
    let dir = tidegate_tests::ConfigDir::new();
    dir.write("table.wat", guests::TABLE);
    let steps = "middleware: {a: {respond: {body: a}}, b: {respond: {body: b}}}";
    let routes = "routes: [{id: all, middleware: a}]";
    dir.write("gateway.yaml", &format!("{WEB}{steps}\ntables: {{main: {{module: table.wat}}}}\n{routes}\n"));
    let gateway = Gateway::start(&dir).await;
    assert_eq!(gateway.metric("tidegate_table_guest_memory_bytes", "table=\"main\"").await, 4.0 * 65536.0);
    dir.edit("gateway.yaml", "tables: {main: {module: table.wat}}", "");
    gateway.apply().await;
    soon("it is given back", async || gateway.metric("tidegate_table_guest_memory_bytes", "").await == 0.0).await;
}

#[tokio::test]
async fn what_wears_guests_is_refused_where_each_serves_one_exchange() {
    let dir = tidegate_tests::ConfigDir::new();
    dir.write_bytes("app.wasm", &plugin("wasi-http-probe"));
    let plugin = "middleware: {app: {module: app.wasm, limits: {guest-calls-max: 3}}}";
    dir.write("gateway.yaml", &format!("{WEB}{plugin}\nroutes: [{{id: all, middleware: app}}]\n"));
    let why = Gateway::try_start(&dir).await.unwrap_err();
    assert!(why.contains("has a fresh one for each"), "{why}");
}
