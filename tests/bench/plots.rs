//! The plots of `docs/performance.md`: which numbers of a part become which chart. Measures nothing.

use serde_json::Value;

use crate::plot::{Chart, Shape};

/// The plots of a part, by the name of their file.
pub(crate) fn of(part: &str, result: &Value) -> Vec<(&'static str, Chart)> {
    match part {
        "proxy" => vec![("request", request(result))],
        "users" => vec![("latency", latency(result)), ("chain", chain(result))],
        "protocols" => {
            vec![("protocols", beside("CPU time a request of 1 kB by protocol, µs", "protocol", &small(result)))]
        }
        "connections" => {
            vec![("connections", beside("CPU time of a connection with one request, µs", "name", rows(result)))]
        }
        "steady" => vec![("reloads", reloads(result))],
        _ => Vec::new(),
    }
}

fn request(result: &Value) -> Chart {
    let rows = rows(result).iter().map(|row| (text(row, "name"), values(row, &["user_us", "kernel_us"]))).collect();
    Chart {
        title: "CPU time a request, plain proxying over HTTP/1.1, µs".to_owned(),
        series: ["user space", "kernel"].map(str::to_owned).into(),
        rows,
        shape: Shape::Stacked,
    }
}

fn latency(result: &Value) -> Chart {
    let rows = result["latencies"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let rows = rows.map(|row| {
        (format!("{}, {} %", text(row, "name"), row["percent"]), values(row, &["p50_us", "p99_us", "p999_us"]))
    });
    Chart {
        title: "Latency at a share of what each can do (open loop), µs, logarithmic".to_owned(),
        series: ["p50", "p99", "p99.9"].map(str::to_owned).into(),
        rows: rows.collect(),
        shape: Shape::Logarithmic,
    }
}

fn chain(result: &Value) -> Chart {
    let rows = rows(&result["chain"]).iter().map(|row| (text(row, "name"), values(row, &["cpu_us"])));
    Chart {
        title: "CPU time a request, a chain of three plugins beside others, µs".to_owned(),
        series: vec!["CPU".to_owned()],
        rows: rows.collect(),
        shape: Shape::Beside,
    }
}

/// Each window's figure, with its neighbour's.
fn reloads(result: &Value) -> Chart {
    let windows = |at: usize| result["cpu_us"][at].as_array().map_or(&[][..], Vec::as_slice);
    let rows = windows(0).iter().zip(windows(1)).enumerate();
    let rows = rows.map(|(at, (still, moved))| (format!("pair {}", at + 1), vec![still.as_f64(), moved.as_f64()]));
    Chart {
        title: "CPU time a request in windows without and with ten reloads a second, µs".to_owned(),
        series: ["without", "with"].map(str::to_owned).into(),
        rows: rows.collect(),
        shape: Shape::Beside,
    }
}

/// The gateway and the two others.
fn beside(title: &str, name: &str, rows: &[Value]) -> Chart {
    let of = |row: &Value| [0, 1, 2].map(|at| row["cpu_us"][at].as_f64()).to_vec();
    Chart {
        title: title.to_owned(),
        series: ["Tidegate", "nginx", "HAProxy"].map(str::to_owned).into(),
        rows: rows.iter().map(|row| (text(row, name), of(row))).collect(),
        shape: Shape::Beside,
    }
}

/// Rows of small bodies: large ones would leave nothing to be seen of them.
fn small(result: &Value) -> Vec<Value> {
    rows(result).iter().filter(|row| row["bytes"].as_u64().is_some_and(|bytes| bytes <= 1_000)).cloned().collect()
}

fn rows(result: &Value) -> &[Value] {
    result["rows"].as_array().map_or(&[], Vec::as_slice)
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

fn values(row: &Value, fields: &[&str]) -> Vec<Option<f64>> {
    fields.iter().map(|field| row[*field].as_f64()).collect()
}
