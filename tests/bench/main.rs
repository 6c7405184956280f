//! `tidegate-bench GATEWAY [PART]...`: what the gateway costs, as ratios and slopes from interleaved runs. Prints the
//! tables, and writes them to `docs/performance.md` when every part ran. Run by `make bench`, which pins it.

mod abis;
mod envoy;
mod etcd;
mod generation;
mod idle;
mod load;
mod plugins;
mod protocols;
mod proxies;
mod reload;
mod report;
mod scale;
mod shipped;
mod speech;
mod subject;

use std::{env, path::PathBuf, process::ExitCode};

use serde_json::{Map, Value};

/// The parts, in the order of the tables.
const PARTS: [&str; 9] = ["proxy", "protocols", "idle", "plugins", "abis", "generation", "scale", "reload", "etcd"];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(gateway) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: tidegate-bench GATEWAY [{}]...", PARTS.join("|"));
        return ExitCode::from(2);
    };
    let asked: Vec<String> = arguments.collect();
    if asked == ["taking"] {
        // Our own child, free to use every core.
        println!("{}", generation::measure());
        return ExitCode::SUCCESS;
    }
    let mut results = Map::new();
    for part in PARTS.into_iter().filter(|part| asked.is_empty() || asked.iter().any(|name| name == part)) {
        eprintln!("bench: {part}");
        let result: Value = match part {
            "proxy" => proxies::measure(&gateway),
            "protocols" => protocols::measure(&gateway),
            "idle" => idle::measure(&gateway),
            "plugins" => plugins::measure(&gateway),
            "abis" => abis::measure(&gateway),
            "generation" => generation::in_a_child(),
            "scale" => scale::measure(&gateway),
            "reload" => reload::measure(&gateway),
            _ => etcd::measure(&gateway),
        };
        println!("{}", report::table(part, &result));
        results.insert(part.to_owned(), result);
    }
    if asked.is_empty() {
        report::write(&Value::Object(results));
    }
    ExitCode::SUCCESS
}
