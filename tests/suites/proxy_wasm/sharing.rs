//! What outlives an exchange: shared data, queues, metrics, ticks, properties; and what a reload leaves of it.

use tidegate_tests::{
    ConfigDir, Gateway, Origin, WEB,
    proxy_wasm::{CONTINUE, callback, guest, on_request, request_headers, told},
    soon,
};

use super::{scene, write};

const SHOW: &str = "(call $show (i32.const 0) @\"x-shared\" (call $shared @\"k\" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))";

#[tokio::test]
async fn data_is_shared_by_plugins_of_one_vm_name_and_by_no_others() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("write.wat", &on_request(&format!("(drop (call $share @\"k\" @\"shared\" (i32.const 0))) {CONTINUE}")));
    dir.write("read.wat", &on_request(&format!("{SHOW} {CONTINUE}")));
    let yaml = format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  writer: {{module: write.wat, proxy-wasm: {{vm-id: us}}}}
  reader: {{module: read.wat, proxy-wasm: {{vm-id: us}}}}
  other: {{module: read.wat}}
routes:
  - {{id: write, path: /write, middleware: [writer], upstream: origin}}
  - {{id: read, path: /read, middleware: [reader], upstream: origin}}
  - {{id: other, path: /other, middleware: [other], upstream: origin}}
"
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/read").await.echoed("x-shared"), ["b"], "there is nothing yet");
    client.get("/write").await;
    // On whichever worker.
    for _ in 0..8 {
        assert_eq!(gateway.http1().await.get("/read").await.echoed("x-shared"), ["shared"]);
        assert_eq!(gateway.http1().await.get("/other").await.echoed("x-shared"), ["b"]);
    }
}

#[tokio::test]
async fn of_two_who_change_data_that_they_read_one_is_told_that_it_changed() {
    let does = format!(
        "(drop (call $share @\"k\" @\"1\" (i32.const 0)))
         (drop (call $shared @\"k\" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
         (call $tell @\"x-first\" (call $share @\"k\" @\"2\" (i32.load (i32.const 0x8008))))
         (call $tell @\"x-second\" (call $share @\"k\" @\"3\" (i32.load (i32.const 0x8008))))
         {SHOW} {CONTINUE}"
    );
    let (_origin, _dir, gateway) = scene(&on_request(&does), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.echoed("x-first"), answer.echoed("x-second")), (vec!["a".into()], vec!["i".into()]));
    assert_eq!(answer.echoed("x-shared"), ["2"]);
}

#[tokio::test]
async fn an_item_of_a_queue_is_told_to_whoever_registered_it() {
    let body = callback(
        "proxy_on_configure",
        "$root $size",
        "(drop (call $register @\"q\" (i32.const 0x8010))) (i32.const 1)",
    ) + &told(
        "proxy_on_queue_ready",
        "$root $queue",
        "(if (i32.eqz (call $dequeue (local.get $queue) (i32.const 0x8000) (i32.const 0x8004)))
               (then (drop (call $share @\"k\" (call $given) (call $given_length) (i32.const 0)))))",
    ) + &request_headers(&format!(
        "(call $tell @\"x-resolved\" (call $resolve @\"us\" @\"q\" (i32.const 0x8010)))
             (call $tell @\"x-unknown\" (call $resolve @\"us\" @\"r\" (i32.const 0x8014)))
             (call $tell @\"x-queued\" (call $enqueue (i32.load (i32.const 0x8010)) @\"item\"))
             {SHOW} {CONTINUE}"
    ));
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &body), ", proxy-wasm: {vm-id: us}").await;
    let mut client = gateway.http1().await;
    let answer = client.get("/").await;
    let told = |name| answer.echoed(name).concat();
    assert_eq!((told("x-resolved"), told("x-unknown"), told("x-queued")), ("a".into(), "b".into(), "a".into()));
    soon("the item was told", async || client.get("/").await.echoed("x-shared") == ["item"]).await;
}

#[tokio::test]
async fn metrics_of_a_plugin_are_counted_over_all_workers() {
    let define = "(drop (call $define (i32.const 0) @\"seen\" (i32.const 0x7ff0)))
        (drop (call $define (i32.const 1) @\"level\" (i32.const 0x7ff4)))
        (drop (call $define (i32.const 2) @\"sizes\" (i32.const 0x7ff8))) (i32.const 1)";
    let count = format!(
        "(drop (call $increment (i32.load (i32.const 0x7ff0)) (i64.const 2)))
         (call $tell @\"x-down\" (call $increment (i32.load (i32.const 0x7ff0)) (i64.const -1)))
         (drop (call $record (i32.load (i32.const 0x7ff4)) (i64.const 7)))
         (drop (call $increment (i32.load (i32.const 0x7ff4)) (i64.const -2)))
         (drop (call $record (i32.load (i32.const 0x7ff8)) (i64.const 5)))
         (drop (call $metric (i32.load (i32.const 0x7ff4)) (i32.const 0x8020)))
         (call $tell @\"x-level\" (i32.load (i32.const 0x8020)))
         (call $tell @\"x-none\" (call $metric (i32.const 99) (i32.const 0x8020)))
         {CONTINUE}"
    );
    let body = callback("proxy_on_configure", "$root $size", define) + &request_headers(&count);
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &body), "").await;
    for _ in 0..6 {
        let answer = gateway.http1().await.get("/").await;
        let told = |name| answer.echoed(name).concat();
        assert_eq!((told("x-down"), told("x-level"), told("x-none")), ("c".into(), "f".into(), "b".into()));
    }
    let text = gateway.ask(http::Method::GET, "/metrics").await.text();
    let has = |name: &str, value: &str| {
        text.lines().any(|line| line.contains(&format!("\"{name}\"")) && line.ends_with(value))
    };
    assert!(has("seen", " 12") && has("level", " 5"), "{text}");
}

#[tokio::test]
async fn the_well_known_attributes_are_told() {
    let names = [
        ("x-path", "request\\00path", "/a/b?c=d"),
        ("x-url-path", "request\\00url_path", "/a/b"),
        ("x-query", "request\\00query", "c=d"),
        ("x-method", "request\\00method", "GET"),
        ("x-scheme", "request\\00scheme", "http"),
        ("x-protocol", "request\\00protocol", "HTTP/1.1"),
        ("x-field", "request\\00headers\\00x-given", "given"),
        ("x-plugin", "plugin_name", "plugin"),
        ("x-root", "plugin_root_id", "root"),
        ("x-vm", "plugin_vm_id", "vm"),
        ("x-route", "xds\\00route_name", "all"),
        ("x-own", "mine", "set"),
        ("x-unknown", "request\\00nothing", "b"),
    ];
    let mut does = "(drop (call $set_property @\"mine\" @\"set\"))".to_owned();
    for (field, path, _) in names {
        does += &format!(
            "(call $show (i32.const 0) @\"{field}\" (call $property @\"{path}\" (i32.const 0x8000) (i32.const 0x8004)))\n"
        );
    }
    does += "(call $show (i32.const 0) @\"x-source\" (call $property @\"source\\00address\" (i32.const 0x8000) (i32.const 0x8004)))";
    let later = format!(
        "(call $show (i32.const 2) @\"x-upstream\" (call $property @\"upstream\\00address\" (i32.const 0x8000) (i32.const 0x8004)))
         (call $show (i32.const 2) @\"x-cluster\" (call $property @\"xds\\00cluster_name\" (i32.const 0x8000) (i32.const 0x8004)))
         (call $show (i32.const 2) @\"x-still\" (call $property @\"request\\00path\" (i32.const 0x8000) (i32.const 0x8004)))
         (drop (call $property @\"response\\00code\" (i32.const 0x8000) (i32.const 0x8004)))
         (if (i64.eq (i64.load (call $given)) (i64.const 200)) (then (drop (call $replace (i32.const 2) @\"x-code\" @\"200\"))))
         {CONTINUE}"
    );
    let body = request_headers(&(does + CONTINUE)) + &callback("proxy_on_response_headers", "$id $fields $end", &later);
    let (origin, _dir, gateway) = scene(&guest("0_2_1", &body), ", proxy-wasm: {root-id: root, vm-id: vm}").await;
    let mut request = tidegate_tests::request(http::Method::GET, "/a/b?c=d");
    request.headers_mut().insert("x-given", "given".parse().unwrap());
    let answer = gateway.http1().await.send(request).await;
    for (field, path, expected) in names {
        assert_eq!(answer.echoed(field), [expected], "{path}");
    }
    assert!(answer.echoed("x-source").concat().starts_with("127.0.0.1:"));
    assert_eq!(answer.header("x-upstream"), origin.address().to_string());
    assert_eq!(
        (answer.header("x-cluster"), answer.header("x-still"), answer.header("x-code")),
        ("origin", "/a/b?c=d", "200")
    );
}

#[tokio::test]
async fn a_vm_lives_through_a_reload_that_does_not_change_it_and_a_changed_plugin_gets_a_new_one() {
    let count = format!(
        "(global.set $count (i32.add (global.get $count) (i32.const 1)))
         (drop (call $replace (i32.const 0) @\"x-count\" (call $digits (global.get $count)))) {CONTINUE}"
    );
    let body = "(global $count (mut i32) (i32.const 0))\n".to_owned() + &request_headers(&count);
    let (_origin, dir, gateway) = scene(&guest("0_2_1", &body), "").await;
    let mut client = gateway.http1().await;
    for number in 1..=3 {
        assert_eq!(client.get("/").await.echoed("x-count"), [number.to_string()]);
    }
    dir.write("more.yaml", "upstreams: {other: {endpoints: ['127.0.0.1:1']}}\n");
    gateway.apply().await;
    assert_eq!(client.get("/").await.echoed("x-count"), ["4"], "the VM is the same");
    write(&dir, ", config: changed");
    gateway.apply().await;
    assert_eq!(client.get("/").await.echoed("x-count"), ["1"], "the plugin is another");
}
