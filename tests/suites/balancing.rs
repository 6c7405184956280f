//! Which endpoint takes a request, and what is known of endpoints, from outside: several origins behind one upstream.

mod affinity;
mod dns;
mod ejection;
mod health;
mod policies;
mod standing;

use std::collections::BTreeMap;

use http::{Method, Request};
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Origin, request};

/// Origins called `a`, `b`, `c`…, in a directory where `{a}`, `{b}`… are their addresses and `{all}` a list of them.
struct Scene {
    origins: Vec<Origin>,
    dir: ConfigDir,
}

impl Scene {
    fn new(count: usize) -> Self {
        let origins: Vec<_> = ('a'..).take(count).map(|name| Origin::named(&name.to_string())).collect();
        let mut dir = ConfigDir::new();
        for (name, origin) in ('a'..).zip(&origins) {
            dir.name(&name.to_string(), origin.address());
        }
        let all: Vec<_> = origins.iter().map(|origin| format!("'{}'", origin.address())).collect();
        dir.name("all", format!("[{}]", all.join(", ")));
        Self { origins, dir }
    }

    /// Writes an upstream `users` of these settings, with a route to it for everything.
    fn write(&self, upstream: &str) {
        let text = format!(
            "listeners: {{web: {{address: '127.0.0.1:0'}}}}\nupstreams:\n  users: {{{upstream}}}\n\
             routes: [{{id: all, path: /*, upstream: users}}]\n"
        );
        self.dir.write("gateway.yaml", &text);
    }

    /// A gateway with such an upstream.
    async fn start(&self, upstream: &str) -> Gateway {
        self.write(upstream);
        Gateway::start(&self.dir).await
    }
}

/// A GET with these fields.
fn asked(target: &str, fields: &[(&str, &str)]) -> Request<bytes::Bytes> {
    let mut ask = request(Method::GET, target);
    for (name, value) in fields {
        ask.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    ask
}

/// The origin that answered.
fn origin(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-origin").to_owned()
}

/// How many of `count` requests on one connection each origin answered.
async fn counts(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..count {
        *counts.entry(origin(&client.get("/").await)).or_default() += 1;
    }
    counts
}

/// The state of the endpoints of `users`, in their order.
async fn states(gateway: &Gateway) -> Vec<String> {
    let upstream = gateway.upstream("users").await;
    let endpoints = upstream["endpoints"].as_array().expect("an upstream has endpoints").iter();
    endpoints.map(|endpoint| endpoint["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The part of the requests that each endpoint of `users` is to take, in their order.
async fn shares(gateway: &Gateway) -> Vec<f64> {
    let upstream = gateway.upstream("users").await;
    let endpoints = upstream["endpoints"].as_array().expect("an upstream has endpoints").iter();
    endpoints.map(|endpoint| endpoint["share"].as_f64().unwrap_or_default()).collect()
}
