//! Plugins by the interface that they were written for: what one in the chain costs a request, what a fresh guest costs, the
//! memory of a guest, and many exchanges that wait at a time. `chains` beside Envoy and Traefik with the same modules where they
//! are at hand.

pub(crate) mod chains;
mod memory;
mod waiting;

use std::path::Path;

use serde_json::{Value, json};
use tidegate_tests::guests;

use crate::{
    load,
    report::{cells, number},
};

/// A plugin that reads one request header and sets one.
struct Header {
    /// The interface, as the tables name it.
    title: &'static str,
    /// In the configuration.
    name: &'static str,
    /// In the text format.
    module: &'static str,
    /// Whether a fresh guest can be had for each request.
    fresh: bool,
}

const PROXY_WASM: &str = include_str!("../../guests/proxy_wasm/header.wat");
const HTTP_WASM: &str = include_str!("../../guests/http_wasm/header.wat");

const HEADERS: [Header; 3] = [
    Header { title: "native", name: "native", module: guests::HEADER, fresh: true },
    // Its VMs host many exchanges: a guest for each is not what its plugins are made for, and refused.
    Header { title: "proxy-wasm", name: "proxy-wasm", module: PROXY_WASM, fresh: false },
    Header { title: "http-wasm", name: "http-wasm", module: HTTP_WASM, fresh: true },
];

/// A component of `wasi:http`, as `plugins/build.sh` leaves it.
const COMPONENT: &str = "wasi-http-probe";

/// All of it.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        json!({
            "chains": chains::measure(gateway, origin).await,
            "memory": memory::measure(gateway, origin).await,
            "waiting": waiting::measure(gateway, origin).await,
        })
    })
}

/// What [`measure`] found, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let rows = |part: &str| result[part]["rows"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = "### Plugins by their interface\n\nA plugin that reads one header and sets one, by copies in the chain; a fresh guest \
        made, configured, called and dropped for each request where it says so; components of `wasi:http` send the request on \
        (to `next`) and copy both bodies. CPU time a request, µs.\n\n\
        | | interface | 0 | 4 | 8 | 16 | slope | aim |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows("chains") {
        let (slope, aim) = (number(&row["slope_us"], 2), number(&row["aim_us"], 1));
        let (name, abi) = (text(&row["name"]), text(&row["abi"]));
        out += &format!("| {name} | {abi} | {} | **{slope}** | {aim} |\n", cells(&row["cpu_us"], 1));
    }
    let alone = &result["chains"]["alone"];
    out += &format!(
        "\nA component of `wasi:http` that answers by itself, in a fresh guest, beyond the built-in step `respond`: **{} µs** a \
         request ({} and {}; aim: 10).\n",
        number(&alone["beyond_us"], 1),
        number(&alone["component_us"], 1),
        number(&alone["respond_us"], 1),
    );
    out += &format!(
        "\nMemory in use of one more plugin with its guest, KiB, of {} at a time, after requests have touched what they touch:",
        result["memory"]["guests"]
    );
    let guests = rows("memory").into_iter();
    let guests: Vec<_> = guests.map(|row| format!(" {} **{}**", text(&row["abi"]), number(&row["kib"], 1))).collect();
    out += &format!("{}.\n", guests.join(","));
    out += "\nExchanges that wait at a time for a call that their plugin makes (http-wasm, which has none: for the upstream) on one \
        worker, over HTTP/2, all let go at once: memory in use of one, KiB, and beyond one without a plugin.\n\n\
        | interface | asked | waiting | answered with 200 | memory of one | beyond | CPU of one, µs |\n|---|---|---|---|---|---|---|\n";
    for row in rows("waiting") {
        let [asked, waiting, answered] = ["asked", "waiting", "answered"].map(|field| number(&row[field], 0));
        let [kib, beyond, cpu] = ["kib", "beyond_kib", "cpu_us"].map(|field| number(&row[field], 1));
        let abi = text(&row["abi"]);
        out += &format!("| {abi} | {asked} | {waiting} | **{answered}** | {kib} | **{beyond}** | {cpu} |\n");
    }
    out
}
