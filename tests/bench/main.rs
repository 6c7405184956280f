//! `tidegate-bench GATEWAY [write|draw] [PART]...`: what the gateway costs, as ratios and slopes from interleaved runs. Prints the
//! tables; with `write`, writes them, their plots and the raw numbers below `docs`, too; with `draw`, measures nothing and draws the
//! plots anew from those numbers. Run by `scripts/bench.sh`, which pins it.

mod abis;
mod connections;
mod endurance;
mod envoy;
mod etcd;
mod extent;
mod generation;
mod go;
mod hostile;
mod idle;
mod instructions;
mod load;
mod open;
mod peers;
mod plot;
mod plots;
mod plugins;
mod protocols;
mod proxies;
mod reload;
mod replaced;
mod report;
mod scale;
mod shipped;
mod speech;
mod start;
mod steady;
mod subject;
mod training;
mod users;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;

/// What is measured together.
struct Part {
    name: &'static str,
    measure: fn(&Path) -> Value,
    /// What was measured, as Markdown.
    table: fn(&Value) -> String,
}

/// All of them, in the order of the tables.
const PARTS: [Part; 15] = [
    Part { name: "proxy", measure: proxies::measure, table: proxies::table },
    Part { name: "users", measure: users::measure, table: users::table },
    Part { name: "protocols", measure: protocols::measure, table: protocols::table },
    Part { name: "connections", measure: connections::measure, table: connections::table },
    Part { name: "idle", measure: idle::measure, table: idle::table },
    Part { name: "plugins", measure: plugins::measure, table: plugins::table },
    Part { name: "abis", measure: abis::measure, table: abis::table },
    Part { name: "hostile", measure: hostile::measure, table: hostile::table },
    Part { name: "generation", measure: |_| generation::in_a_child(), table: generation::table },
    Part { name: "scale", measure: scale::measure, table: scale::table },
    Part { name: "reload", measure: reload::measure, table: reload::table },
    Part { name: "steady", measure: steady::measure, table: steady::table },
    Part { name: "etcd", measure: etcd::measure, table: etcd::table },
    Part { name: "start", measure: start::measure, table: start::table },
    Part { name: "endurance", measure: endurance::measure, table: endurance::table },
];

/// Asks for the results to be written.
const WRITE: &str = "write";
/// Asks for the load that a build is laid out by; not a part, because nothing is measured.
const TRAIN: &str = "train";
/// Asks for plots of what was written before.
const DRAW: &str = "draw";
/// Asks for instructions instead; not a part, because they are of the tests' profile and held to what is committed.
const INSTRUCTIONS: &str = "instructions";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let gateway = arguments.next().map(PathBuf::from);
    let asked: Vec<String> = arguments.collect();
    if asked == ["taking"] {
        // Our own child, free to use every core.
        println!("{}", generation::measure());
        return ExitCode::SUCCESS;
    }
    match asked.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [instructions::FIND, times] => {
            instructions::find(times);
            return ExitCode::SUCCESS;
        }
        [TRAIN] => {
            training::run(&gateway.expect("it is named before what is asked"));
            return ExitCode::SUCCESS;
        }
        [INSTRUCTIONS, ref write @ ..] if write.is_empty() || write == [WRITE] => {
            let gateway = gateway.expect("it is named before what is asked");
            return instructions::run(&gateway, !write.is_empty());
        }
        _ => {}
    }
    let is_known = |name: &String| name == WRITE || name == DRAW || PARTS.iter().any(|part| part.name == name);
    let Some(gateway) = gateway.filter(|_| asked.iter().all(is_known)) else {
        let parts = PARTS.map(|part| part.name).join("|");
        eprintln!("usage: tidegate-bench GATEWAY [{WRITE}|{DRAW}] [{parts}]...");
        return ExitCode::from(2);
    };
    let (how, asked): (Vec<_>, Vec<_>) = asked.iter().partition(|name| [WRITE, DRAW].contains(&name.as_str()));
    for Part { name, measure, table } in &PARTS {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        if how.iter().any(|how| *how == DRAW) {
            report::redraw(name);
        } else {
            eprintln!("bench: {name}");
            let result = measure(&gateway);
            let table = table(&result);
            println!("{table}");
            if !how.is_empty() {
                // At once: a part that fails later takes nothing with it.
                report::write(name, &table, result);
            }
        }
    }
    ExitCode::SUCCESS
}
