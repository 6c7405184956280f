//! Interfaces that are drafts, or that few guests have: `wasi:keyvalue`, interim responses; and those that are not there.

use http::Method;
use tidegate_tests::{ConfigDir, Gateway, Raw, WEB, request, tidegate};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::scene;

#[tokio::test]
async fn what_a_component_keeps_is_there_for_the_next_exchange() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/kept/get/a").await.text(), "None Some(false)");
    assert_eq!(client.get("/kept/set/a").await.text(), "Ok(())");
    assert_eq!(gateway.http2().await.get("/kept/get/a").await.text(), "Some(\"kept\") Some(true)");
    assert_eq!(client.get("/kept/elsewhere/a").await.text(), "Some(false)", "buckets share no keys");
    assert_eq!(client.get("/kept/delete/a").await.text(), "true");
    assert_eq!(client.get("/kept/get/a").await.text(), "None Some(false)");
}

#[tokio::test]
async fn what_is_kept_is_counted_compared_and_listed_in_both_drafts() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/kept/count/n").await.text(), "-1 2");
    assert_eq!(client.get("/kept/swap/c").await.text(), "one three");
    assert_eq!(client.get("/kept/delete/c").await.text(), "true");
    assert_eq!(client.get("/kept/delete/n").await.text(), "true");
    let expected = "1000+1 key-1000 [(\"key-0000\", true), (\"none\", false)] [true, false] 0";
    assert_eq!(client.get("/kept/many").await.text(), expected);
}

#[tokio::test]
async fn what_is_kept_is_bounded_as_for_every_plugin() {
    let (_origin, _side, _dir, gateway) = scene(", limits: {kv-bytes-max: 100}").await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/kept/set/a").await.text(), "Ok(())");
    let refused = client.get("/kept/set/b").await.text();
    assert!(refused.contains("kv-bytes-max"), "{refused}");
}

/// The part of `wasi:http` that the guest below has.
const WIT: &str = include_str!("../../guests/informing.wit");
/// Sends two interim responses of the status at hand and answers with 200, or with what the second came to.
const INFORMING: &str = include_str!("../../guests/informing.wat");

fn informing(status: u16) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("informing.wit", WIT).unwrap();
    let world = resolve.select_world(&[package], Some("informing")).unwrap();
    let mut module = wat::parse_str(INFORMING.replace("(i32.const 103)", &format!("(i32.const {status})"))).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

async fn informed(status: u16) -> (ConfigDir, Gateway) {
    let dir = ConfigDir::new();
    dir.write_bytes("app.wasm", &informing(status));
    dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}\nmiddleware: {{app: {{module: app.wasm}}}}\nroutes: [{{id: all, path: /*, middleware: [app]}}]\n"
        ),
    );
    let gateway = Gateway::start(&dir).await;
    (dir, gateway)
}

/// All that is answered to these bytes.
async fn said(gateway: &Gateway, bytes: &str) -> String {
    let mut raw = Raw::connect(gateway.web()).await;
    raw.send(bytes).await;
    String::from_utf8(raw.rest().await).unwrap()
}

#[tokio::test]
async fn interim_responses_of_a_component_come_before_its_answer() {
    let (_dir, gateway) = informed(103).await;
    let text = said(&gateway, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert_eq!(text.matches("HTTP/1.1 103 ").count(), 2, "{text}");
    assert!(at("HTTP/1.1 103 ") < at("HTTP/1.1 200 "), "{text}");
    let old = said(&gateway, "GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "a client of HTTP/1.0 knows none: {old}");
    // A status that is none is an error that the guest sees: it answers with 500 then.
    for status in [200, 101] {
        let (_dir, gateway) = informed(status).await;
        assert_eq!(gateway.http1().await.send(request(Method::GET, "/")).await.status, 500, "{status}");
    }
}

#[test]
fn components_for_other_versions_and_hosts_are_told_what_they_lack() {
    let dir = ConfigDir::new();
    for (name, wat, expected) in [
        (
            "newer",
            "(component (instance $i) (export \"wasi:http/handler@0.3.0\" (instance $i)))",
            "loads: no: made for a version of wasi:http that is not run: wasi:http/handler@0.3.0",
        ),
        (
            "spin",
            "(component (import \"fermyon:spin/sqlite@2.0.0\" (instance (export \"execute\" (func)))) (instance $i)
               (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))",
            "loads: no: imports what is not provided: fermyon:spin/sqlite@2.0.0#execute",
        ),
        ("unknown", "(module (import \"env\" \"strange\" (func)))", "loads: no: "),
    ] {
        dir.write(&format!("{name}.wat"), wat);
        let path = dir.path().join(format!("{name}.wat")).display().to_string();
        // What would not be loaded is told where errors are.
        let text = String::from_utf8(tidegate(&["plugin", "inspect", &path]).stderr).unwrap();
        assert!(text.contains(expected) && text.contains("hint: "), "{name}: {text}");
    }
}
