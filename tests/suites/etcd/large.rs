//! Large things: ten thousand keys at once, a value as large as etcd takes, a module that is larger.

use std::time::{Duration, Instant};

use tidegate::{etcd::Op, identity::Identity, source::Pointer};
use tidegate_tests::{etcd::Setup, eventually, guests, soon};

use super::stage::{PREFIX, Stage};

const KEYS: usize = 10_000;

#[tokio::test]
async fn a_burst_of_ten_thousand_keys_is_one_generation() {
    let mut stage = Stage::new(Setup::default(), false).await;
    let put = |number: usize| {
        let route = format!(
            "{{\"route_id\": \"r{number}\", \"path\": \"/r{number}\", \"target\": \"127.0.0.1:9\", \"middleware\": []}}"
        );
        Op::put(format!("{PREFIX}routes/r{number}.json"), route)
    };
    let before = stage.gateway.status().await["generation"].as_u64().unwrap();
    let began = Instant::now();
    let all = stage.client.txn(Vec::new(), (0..KEYS).map(put).collect(), Vec::new()).await.unwrap();
    // Ten thousand documents are a while in a build that is not optimised.
    eventually("the burst is a generation", Duration::from_secs(120), async || {
        (stage.gateway.status().await["last_attempt"]["generation"] == before + 1).then_some(())
    })
    .await;
    println!("{} ms from the transaction to the generation", began.elapsed().as_millis());
    let status = stage.gateway.status().await;
    assert_eq!(status["revision"][0]["revision"], all.header.revision);
    assert_eq!(status["last_attempt"]["work"]["parsed_files"], KEYS, "{:#}", status["last_attempt"]["work"]);
    // The change of one of them is one.
    let began = Instant::now();
    let edit = stage.write().await;
    stage.serves(edit).await;
    println!("{} ms from a change of two keys among them to its generation", began.elapsed().as_millis());
    let two = async || stage.gateway.status().await["last_attempt"]["work"]["parsed_files"] == 2;
    soon("only these two were parsed", two).await;
    stage.end().await;
}

#[tokio::test]
async fn a_value_at_the_limit_is_a_document_like_any_other() {
    let mut stage = Stage::new(Setup::default(), false).await;
    // What etcd takes, less what the rest of the request needs.
    let filler = format!("# {}\n", "x".repeat(126)).repeat((1_572_864 - 4096) / 129);
    let route = "routes: [{id: large, path: /large, middleware: [{respond: {status: 200, body: large}}]}]\n";
    stage.client.put(format!("{PREFIX}large.yaml"), format!("{filler}{route}")).await.unwrap();
    let mut client = stage.gateway.http1().await;
    soon("the large document serves", async || client.get("/large").await.text() == "large").await;
    let edit = stage.write().await;
    stage.serves(edit).await;
    stage.end().await;
}

#[tokio::test]
async fn a_module_of_five_megabytes_comes_in_chunks() {
    let mut stage = Stage::new(Setup::default(), false).await;
    let mut module = wat::parse_str(guests::stamp(1)).unwrap();
    custom_section(&mut module, 5 << 20);
    let chunks: Vec<_> = module.chunks(1 << 20).collect();
    let sha256 = Identity::of_bytes(&module);
    let pointer = Pointer { sha256, size: module.len() as u64, chunks: chunks.len() as u64 };
    for (number, chunk) in (0..).zip(&chunks) {
        stage.client.put(format!("{PREFIX}.blobs/{}/{number}", pointer.sha256), chunk.to_vec()).await.unwrap();
    }
    let route = "middleware: {stamp: {module: plugins/stamp.wasm}}\n\
        routes: [{id: stamped, path: /stamped, middleware: [stamp, {respond: {status: 200, body: stamped}}]}]\n";
    let puts = vec![
        Op::put(format!("{PREFIX}plugins/stamp.wasm"), pointer.write()),
        Op::put(format!("{PREFIX}stamp.yaml"), route),
    ];
    stage.client.txn(Vec::new(), puts, Vec::new()).await.unwrap();
    let mut client = stage.gateway.http1().await;
    soon("the module serves", async || client.get("/stamped").await.text() == "stamped").await;
    let compiled = stage.gateway.metric("tidegate_modules_compiled_total", "").await;
    let edit = stage.write().await;
    stage.serves(edit).await;
    assert_eq!(stage.gateway.metric("tidegate_modules_compiled_total", "").await, compiled, "it is not built again");
    stage.end().await;
}

/// Appends a custom section that makes a module this much longer and means nothing.
fn custom_section(module: &mut Vec<u8>, bytes: usize) {
    let mut content = vec![7];
    content.extend(b"padding");
    content.resize(content.len() + bytes, 0x5a);
    module.push(0);
    let mut length = content.len();
    while length >= 0x80 {
        module.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    module.push(length as u8);
    module.extend(content);
}
