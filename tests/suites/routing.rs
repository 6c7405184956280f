//! Routing through the whole gateway: the specification of `tests/tables/routes.txt`, written as configurations and asked
//! over sockets, on tables that follow one another as reloads.

use http::{HeaderName, Method};
use serde_json::{Map, Value, json};
use tidegate_tests::{Client, ConfigDir, Gateway, request};

const CASES: &str = include_str!("../tables/routes.txt");

#[tokio::test]
async fn requests_take_the_routes_that_the_specification_says() {
    let dir = ConfigDir::new();
    dir.write("gateway.json", &configuration(&[]).to_string());
    let gateway = Gateway::start(&dir).await;
    let (mut title, mut rows, mut applied, mut asked) = ("", Vec::new(), false, 0);
    let mut client = gateway.http1().await;
    for (number, line) in CASES.lines().enumerate() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("==", name) => (title, rows, applied) = (name, Vec::new(), false),
            ("row", row) => {
                rows.push(route(row));
                applied = false;
            }
            ("ask", ask) => {
                if !applied {
                    dir.write("gateway.json", &configuration(&rows).to_string());
                    let attempt = gateway.reload().await;
                    assert_ne!(attempt["outcome"], "refused", "line {}: {title}: {attempt:#}", number + 1);
                    applied = true;
                }
                check(&mut client, ask, &format!("line {}: {title}: {ask}", number + 1)).await;
                asked += 1;
            }
            _ => {}
        }
    }
    assert!(asked >= 90, "only {asked} requests were asked for");
    gateway.only(gateway.status().await["generation"].as_u64().unwrap()).await;
}

async fn check(client: &mut Client, ask: &str, case: &str) {
    let (ask, expected) = ask.split_once(" -> ").unwrap();
    let mut words = ask.split_whitespace();
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let mut head = request(method.parse::<Method>().unwrap(), &format!("http://{target}"));
    for field in words {
        let (name, value) = field.split_once('=').unwrap();
        head.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let answer = client.send(head).await;
    match expected.trim() {
        "-" => assert_eq!(answer.status, 404, "{case}"),
        id => assert_eq!((answer.status.as_u16(), answer.header("x-route")), (200, id), "{case}"),
    }
}

fn configuration(routes: &[Value]) -> Value {
    json!({
        "listeners": {"web": {"address": "127.0.0.1:0", "path": {
            "dot-segments": "keep", "empty-segments": "keep", "encoded-slashes": "keep", "encoded-controls": "keep",
        }}},
        "routes": routes,
    })
}

fn route(row: &str) -> Value {
    let mut words = row.split_whitespace();
    let (id, path) = (words.next().unwrap(), words.next().unwrap());
    let step = json!({"respond": {"headers": {"x-route": id}}});
    let mut route = json!({"id": id, "path": path, "middleware": [step]});
    let (mut hosts, mut headers, mut query) = (Vec::new(), Map::new(), Map::new());
    for word in words {
        let (condition, value) = word.split_once('=').unwrap();
        let pattern = value.strip_prefix('~').map_or_else(|| json!(value), |regex| json!({"regex": regex}));
        match condition.split_once(':').unwrap_or((condition, "")) {
            ("host", _) => hosts.push(value),
            ("method", _) => route["method"] = json!(value),
            ("header", name) => drop(headers.insert(name.to_lowercase(), pattern)),
            ("query", name) => drop(query.insert(name.to_owned(), pattern)),
            _ => panic!("`{word}` is no condition"),
        }
    }
    for (field, value) in [("hosts", json!(hosts)), ("headers", json!(headers)), ("query", json!(query))] {
        if value.as_array().is_none_or(|list| !list.is_empty()) && value.as_object().is_none_or(|map| !map.is_empty()) {
            route[field] = value;
        }
    }
    route
}
