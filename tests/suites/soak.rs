//! Reloading under load for a while: memory and descriptors stay flat, nothing fails, no response mixes generations.
//! A few seconds in `make test`; `make soak` gives it as long as it is told.

use std::{
    env,
    time::{Duration, Instant},
};

use tidegate_tests::{Client, ConfigDir, Origin, Process, free_address, guests, soon};
use tokio::task::JoinSet;

/// Rounds are compared after this many, when pools and caches are full.
const WARM_UP: u64 = 60;

#[tokio::test]
async fn memory_and_descriptors_stay_flat_under_reloads_and_load() {
    let seconds = env::var("TIDEGATE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let (origin, web) = (Origin::start(), free_address());
    let dir = ConfigDir::new().with("origin", origin.address()).with("web", web);
    write(&dir, 1);
    let (path, admin) = (dir.path().display().to_string(), free_address().to_string());
    let process = Process::start(&["run", "--config", &path, "--admin", &admin, "--workers", "2"]);
    soon("the gateway listens", async || tokio::net::TcpStream::connect(web).await.is_ok()).await;

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kept = [Client::http1(web).await, Client::http2(web).await];
    let (mut round, mut flat) = (1, (0, 0));
    while Instant::now() < end || round < 2 * WARM_UP {
        round += 1;
        write(&dir, round);
        let serves = format!("round {round} serves");
        soon(&serves, async || kept[0].get("/").await.header("x-edit") == round.to_string()).await;
        let mut load = JoinSet::new();
        for _ in 0..8 {
            load.spawn(async move {
                let mut client = Client::http1(web).await;
                for _ in 0..5 {
                    consistent(&client.get("/load").await);
                }
            });
        }
        consistent(&kept[1].get("/kept").await);
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }
        if round == WARM_UP {
            flat = (process.memory_bytes(), process.descriptors());
        }
    }
    let (memory, descriptors) = (process.memory_bytes(), process.descriptors());
    let text = format!("{round} rounds: memory {} -> {memory} bytes, descriptors {} -> {descriptors}", flat.0, flat.1);
    println!("{text}");
    assert!(memory <= flat.0 + flat.0 / 4 + (16 << 20), "{text}");
    assert!(descriptors <= flat.1 + 16, "{text}");
}

fn consistent(answer: &tidegate_tests::Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let module: u64 = answer.echoed("x-module")[0].parse().unwrap();
    let edit: u64 = answer.header("x-edit").parse().unwrap();
    assert_eq!(module, edit / 10, "module and steps are of one generation");
}

fn write(dir: &ConfigDir, edit: u64) {
    let module = edit / 10;
    let name = format!("stamp-{module}.wat");
    if !dir.path().join(&name).exists() {
        let number = u32::try_from(module).expect("a soak ends before that");
        dir.write(&name, &guests::stamp(number));
    }
    dir.write(
        "gateway.yaml",
        &format!(
            "listeners: {{web: {{address: '{{web}}', generation-header: true}}}}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  stamp: {{module: {name}, config: {{edit: {edit}}}}}
routes:
  - {{id: all, path: /*, middleware: [stamp, {{headers: {{response: {{set: {{x-edit: '{edit}'}}}}}}}}], upstream: origin}}
"
        ),
    );
}
