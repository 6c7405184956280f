//! What a plugin in the chain costs: the slope of CPU time a request over chains of 0, 4, 8 and 16 copies. Of two guests in
//! the text format here, and of the plugins that ship in `shipped`.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tidegate_tests::guests;

use crate::{
    load,
    report::{cells, median, number},
    shipped,
    subject::Subject,
};

pub(crate) const COPIES: [usize; 4] = [0, 4, 8, 16];
const ROUNDS: usize = 5;
pub(crate) const SPAN: Duration = Duration::from_millis(1_200);

/// What is measured of one plugin.
struct Case {
    /// As the table names it.
    title: &'static str,
    /// In the configuration.
    name: &'static str,
    module: &'static str,
    /// Its `limits`, as YAML.
    limits: &'static str,
    /// What it may cost, in µs.
    aim: f64,
}

const CASES: [Case; 4] = [
    Case { title: "reads one header and sets one", name: "header", module: "header", limits: "{}", aim: 1.5 },
    Case { title: "does nothing", name: "nothing", module: "nothing", limits: "{}", aim: 0.5 },
    Case {
        title: "reads one header and sets one, called at once",
        name: "prompt-header",
        module: "header",
        limits: "{call-timeout: 2ms}",
        aim: 1.5,
    },
    Case {
        title: "does nothing, called at once",
        name: "prompt-nothing",
        module: "nothing",
        limits: "{call-timeout: 2ms}",
        aim: 0.5,
    },
];

/// Interleaved rounds over all chains; medians and slopes.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let configuration = configuration(&origin.to_string());
        let files = [
            ("gateway.yaml", configuration.as_str()),
            ("plugins/header.wat", guests::HEADER),
            ("plugins/nothing.wat", guests::NOTHING),
        ];
        let subject = Subject::gateway(gateway, &files);
        let mut costs = vec![Vec::new(); CASES.len() * COPIES.len()];
        for _ in 0..ROUNDS {
            for (plugin, Case { name, .. }) in CASES.iter().enumerate() {
                for (chain, copies) in COPIES.iter().enumerate() {
                    let used = || subject.used().user + subject.used().kernel;
                    let span = load::span(subject.address, &format!("/{name}/{copies}"), SPAN, used).await;
                    costs[plugin * COPIES.len() + chain].push(span.cost / span.exchanges as f64);
                }
            }
        }
        let rows = CASES.iter().zip(costs.chunks(COPIES.len())).map(|(Case { title, aim, .. }, costs)| {
            let cpu: Vec<_> = costs.iter().map(|rounds| median(rounds.iter().copied())).collect();
            json!({ "name": title, "cpu_us": cpu, "slope_us": slope(&cpu), "aim_us": aim, "rounds_us": costs })
        });
        let rows: Vec<_> = rows.collect();
        drop(subject);
        json!({ "rows": rows, "shipped": shipped::measure(gateway, origin).await })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = "### Plugins\n\nCPU time a request by copies of a plugin in the chain, µs.\n\n\
        | plugin | 0 | 4 | 8 | 16 | slope | aim |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = cells(&row["cpu_us"], 1);
        let name = row["name"].as_str().unwrap_or_default();
        let slope = number(&row["slope_us"], 2);
        text += &format!("| {name} | {} | **{slope}** | {} |\n", cells, number(&row["aim_us"], 1));
    }
    text + &shipped::table(&result["shipped"])
}

fn configuration(origin: &str) -> String {
    let mut text =
        format!("listeners:\n  web: {{address: '{{listen}}'}}\nupstreams:\n  origin: {{endpoints: ['{origin}']}}\n");
    text += "middleware:\n";
    for Case { name, module, limits, .. } in CASES {
        for copy in 1..=16 {
            // Different configurations, so that the copies are plugins of their own.
            text += &format!(
                "  {name}-{copy}: {{module: plugins/{module}.wat, config: {{copy: {copy}}}, limits: {limits}}}\n"
            );
        }
    }
    text += "routes:\n";
    for Case { name, .. } in CASES {
        for copies in COPIES {
            let chain: Vec<_> = (1..=copies).map(|copy| format!("{name}-{copy}")).collect();
            let chain = chain.join(", ");
            text += &format!(
                "  - {{id: {name}-{copies}, path: /{name}/{copies}, middleware: [{chain}], upstream: origin}}\n"
            );
        }
    }
    text
}

/// Of the least-squares line through the costs.
pub(crate) fn slope(costs: &[f64]) -> f64 {
    let copies = COPIES.map(|copies| copies as f64);
    let count = copies.len() as f64;
    let (mean, middle) = (copies.iter().sum::<f64>() / count, costs.iter().sum::<f64>() / count);
    let rise: f64 = copies.iter().zip(costs).map(|(at, cost)| (at - mean) * (cost - middle)).sum();
    rise / copies.iter().map(|at| (at - mean).powi(2)).sum::<f64>()
}
