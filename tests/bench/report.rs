//! From measurements to tables, on the terminal and in `docs/performance.md`. Measures nothing.

use std::{fs, path::Path};

use serde_json::Value;

const MARK: [&str; 2] = ["<!-- results: written by `make bench` -->", "<!-- end of results -->"];

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(50, values)
}

/// The value that `percent` of all are not above.
pub(crate) fn percentile(percent: usize, values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// One part as Markdown.
pub(crate) fn table(part: &str, result: &Value) -> String {
    match part {
        "proxy" => proxy(result),
        "protocols" => protocols(result),
        "idle" => idle(result),
        "plugins" => plugins(result),
        "abis" => abis(result),
        "generation" => generation(result),
        "scale" => scale(result),
        "reload" => reload(result),
        _ => etcd(result),
    }
}

/// Writes all parts to `docs/performance.md`, between its marks, and the raw numbers beside it.
pub(crate) fn write(results: &Value) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").join("docs");
    let page = fs::read_to_string(docs.join("performance.md")).expect("docs/performance.md is there");
    let (before, rest) = page.split_once(MARK[0]).expect("docs/performance.md has its marks");
    let (_, after) = rest.split_once(MARK[1]).expect("docs/performance.md has its marks");
    let parts = results.as_object().expect("results are by part").iter();
    let tables: Vec<_> = parts.map(|(part, result)| table(part, result)).collect();
    let page = format!("{before}{}\n\n{}\n{}{after}", MARK[0], tables.join("\n"), MARK[1]);
    fs::write(docs.join("performance.md"), page).expect("docs can be written");
    let raw = serde_json::to_string_pretty(results).expect("numbers serialise");
    fs::write(docs.join("performance.json"), raw + "\n").expect("docs can be written");
}

fn proxy(result: &Value) -> String {
    let mut text = format!(
        "### Plain proxying\n\nCPU time a request, µs: HTTP/1.1 kept alive both ways, {} connections, one worker, a response \
         of 64 bytes.\n\n| | CPU | user | kernel |\n|---|---|---|---|\n",
        result["connections"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let [cpu, user, kernel] = ["cpu_us", "user_us", "kernel_us"].map(|field| number(&row[field], 1));
        text += &format!("| {} | {cpu} | {user} | {kernel} |\n", row["name"].as_str().unwrap_or_default());
    }
    let [bare, equal] = ["ratio", "ratio_same_fields"].map(|field| number(&result[field], 2));
    text + &format!(
        "\nTidegate to the better of the two: **{bare}** (aim: at most 1.15); where they tell origin and client what the \
         gateway tells (`X-Forwarded-*`, `Forwarded`, `Via`, `traceparent`): **{equal}**. To Envoy, bare: **{}**.\n",
        number(&result["ratio_envoy"], 2)
    )
}

fn protocols(result: &Value) -> String {
    let mut text = "### Protocols and bodies\n\nCPU time a request, µs, by what the client speaks and the bytes of the response's \
        body; HTTP/1.1 in cleartext to the origin, one worker (aim: no more than the better of the two).\n\n\
        | protocol | bytes | Tidegate | nginx | HAProxy | to the better |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = beside(&row["cpu_us"], 1);
        let name = row["protocol"].as_str().unwrap_or_default();
        text += &format!("| {name} | {} | {} | **{}** |\n", row["bytes"], cells, number(&row["ratio"], 2));
    }
    text
}

fn idle(result: &Value) -> String {
    let mut text = format!(
        "### Idle connections\n\nMemory in use that an idle connection takes, bytes, {} open at once after one exchange each, one \
         worker.\n\n| protocol | Tidegate | nginx | HAProxy | to the better |\n|---|---|---|---|---|\n",
        result["connections"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = beside(&row["bytes"], 0);
        let name = row["protocol"].as_str().unwrap_or_default();
        text += &format!("| {name} | {} | **{}** |\n", cells, number(&row["ratio"], 2));
    }
    text
}

fn plugins(result: &Value) -> String {
    let mut text = "### Plugins\n\nCPU time a request by copies of a plugin in the chain, µs.\n\n\
        | plugin | 0 | 4 | 8 | 16 | slope | aim |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = cells(&row["cpu_us"], 1);
        let name = row["name"].as_str().unwrap_or_default();
        let slope = number(&row["slope_us"], 2);
        text += &format!("| {name} | {} | **{slope}** | {} |\n", cells, number(&row["aim_us"], 1));
    }
    text + &shipped(&result["shipped"])
}

fn abis(result: &Value) -> String {
    let mut text = "### Plugins by their interface\n\nA plugin that reads one header and sets one: CPU time a request by copies in the \
        chain, µs.\n\n| | interface | 0 | 4 | 8 | 16 | slope | aim |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["rows"].as_array().into_iter().flatten() {
        let [name, abi] = ["name", "abi"].map(|field| row[field].as_str().unwrap_or_default());
        let (slope, aim) = (number(&row["slope_us"], 2), number(&row["aim_us"], 1));
        text += &format!("| {name} | {abi} | {} | **{slope}** | {aim} |\n", cells(&row["cpu_us"], 1));
    }
    text
}

fn shipped(result: &Value) -> String {
    let mut text = "\nThe plugins that ship: CPU time a request as above; module and memory of a guest, KiB.\n\n\
        | plugin | 0 | 4 | 8 | 16 | slope | module | guest |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let kib = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |bytes| format!("{:.0}", bytes / 1024.0));
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = cells(&row["cpu_us"], 1);
        let name = row["name"].as_str().unwrap_or_default();
        let (module, guest) = (kib(&row["module_bytes"]), kib(&row["guest_bytes"]));
        let slope = number(&row["slope_us"], 2);
        text += &format!("| {name} | {} | **{slope}** | {module} | {guest} |\n", cells);
    }
    let routes = &result["routes"];
    if routes.is_null() {
        return text;
    }
    text + &format!(
        "\n{} routes, each with a `rate-limit` of its own: **{} bytes** a route beyond the same routes without, **{}** guests.\n",
        routes["routes"],
        number(&routes["bytes_per_route"], 0),
        routes["guests"],
    )
}

fn generation(result: &Value) -> String {
    format!(
        "### Taking the generation\n\nns, on two threads at once: take, pin and release of a worker's own snapshot: **{}** \
         (aim: at most 5); `ArcSwap::load_full` and release: {}.\n",
        number(&result["take_pin_release_ns"], 1),
        number(&result["arc_swap_load_full_ns"], 1),
    )
}

fn scale(result: &Value) -> String {
    let mut text = format!(
        "### Scale of the table\n\nFinding a route by host and prefix, ns, of {} look-ups all over the table (aim: p99 300 at 100,000, \
         flat); memory of a route beyond a gateway with ten, bytes (aim: 1,024); from the start of the process until it \
         listens, s (aim: 1).\n\n| routes | hosts | median | p99 | memory | load | load of nginx |\n|---|---|---|---|---|---|---|\n",
        result["lookups"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let [median, p99, bytes] =
            ["match_median_ns", "match_p99_ns", "bytes_per_route"].map(|field| number(&row[field], 0));
        let [load, nginx] = ["load_s", "nginx_load_s"].map(|field| number(&row[field], 2));
        let (routes, hosts) = (&row["routes"], &row["hosts"]);
        text += &format!("| {routes} | {hosts} | {median} | **{p99}** | **{bytes}** | **{load}** | {nginx} |\n");
    }
    text
}

fn reload(result: &Value) -> String {
    format!(
        "### Reload\n\nFrom a rename to the first response on the new generation, ms, the 10 ms of quiet included, {} saves: \
         median **{}**, p99 **{}** (aim: 30), most {}.\n",
        result["saves"],
        number(&result["median_ms"], 1),
        number(&result["p99_ms"], 1),
        number(&result["max_ms"], 1),
    )
}

fn etcd(result: &Value) -> String {
    let mut text = format!(
        "### etcd\n\nFrom a `put` of one route to the first response on the new generation, ms, {} puts, one key a route \
         (aim: p99 20 at 10,000); CPU time of the gateway a change, ms (aim: flat).\n\n\
         | routes | median | p99 | most | CPU a change |\n|---|---|---|---|---|\n",
        result["puts"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let [median, p99, most] = ["median_ms", "p99_ms", "max_ms"].map(|field| number(&row[field], 1));
        text += &format!("| {} | {median} | **{p99}** | {most} | {} |\n", row["routes"], number(&row["cpu_ms"], 2));
    }
    let cold = &result["cold_start"];
    text + &format!(
        "\nFrom the start of a process to its first response, etcd gone, from the last good tree with {} plugins ({} KiB of \
         modules), ms: median **{}**, most {} (aim: 1,000).\n",
        cold["plugins"],
        cold["bytes"].as_u64().unwrap_or_default() / 1024,
        number(&cold["median_ms"], 0),
        number(&cold["max_ms"], 0),
    )
}

/// The numbers of a list, as cells of a row.
fn cells(values: &Value, digits: usize) -> String {
    let cells: Vec<_> = values.as_array().into_iter().flatten().map(|value| number(value, digits)).collect();
    cells.join(" | ")
}

/// The gateway's cell and those of the two others, of which there may be none.
fn beside(values: &Value, digits: usize) -> String {
    [0, 1, 2].map(|at| number(&values[at], digits)).join(" | ")
}

fn number(value: &Value, digits: usize) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
