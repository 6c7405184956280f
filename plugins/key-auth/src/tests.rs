//! The plugin on the test host.

use sha2::{Digest, Sha256};
use tidegate_guest::testing::{ClientRequest, Exchange, Host, Loaded, Value, json};

use super::*;

fn hash(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn consumers() -> Value {
    json!([
        { "name": "jane", "key-sha256": hash("jane's key") },
        { "name": "joe", "key-sha256": hash("joe+key").to_uppercase() },
        { "name": "jane", "key-sha256": hash("jane's next key") },
    ])
}

fn load(more: Value) -> Loaded<KeyAuth> {
    let mut settings = json!({ "consumers": consumers() });
    let fields = settings.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    Host::new().load(settings).unwrap()
}

fn consumer(exchange: &Exchange) -> Option<&str> {
    exchange.attribute("plugin.consumer")
}

#[test]
fn a_key_that_is_known_passes_and_names_its_consumer() {
    let plugin = load(json!({}));
    for (key, name) in [("jane's key", "jane"), ("joe+key", "joe"), ("jane's next key", "jane")] {
        let exchange = plugin.send(ClientRequest::get("/").header("X-API-Key", key));
        assert_eq!((exchange.status(), consumer(&exchange)), (200, Some(name)));
        assert_eq!(exchange.forwarded.unwrap().header("x-api-key"), None, "the upstream has no use for it");
    }
}

#[test]
fn any_other_key_and_none_are_answered_with_a_challenge() {
    let plugin = load(json!({ "realm": "pets" }));
    let long = "k".repeat(5000);
    let hash = hash("jane's key");
    for key in [None, Some(""), Some("jane's ke"), Some("jane's key "), Some(&*long), Some(&*hash)] {
        let request = ClientRequest::get("/");
        let request = match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        };
        let exchange = plugin.send(request);
        assert_eq!((exchange.status(), exchange.header("www-authenticate")), (401, Some("Key realm=\"pets\"")));
        assert!(exchange.forwarded.is_none() && consumer(&exchange).is_none(), "{key:?}");
    }
}

#[test]
fn two_keys_in_one_place_are_none() {
    let plugin = load(json!({ "query": "key", "header": "x-api-key" }));
    let two = ClientRequest::get("/").header("x-api-key", "jane's key").header("x-api-key", "joe+key");
    assert_eq!(plugin.send(two).status(), 401);
    assert_eq!(plugin.send(ClientRequest::get("/?key=joe%2bkey&key=x")).status(), 401);
}

#[test]
fn a_key_in_the_query_is_decoded_and_taken_out() {
    let plugin = load(json!({ "query": "key" }));
    let cases = [
        ("/a?key=joe%2Bkey", None),
        ("/a?key=joe+key&b=c", Some("b=c")),
        ("/a?b=%41&k%65y=joe+key&d", Some("b=%41&d")),
    ];
    for (target, query) in cases {
        let exchange = plugin.send(ClientRequest::get(target));
        assert_eq!((exchange.status(), consumer(&exchange)), (200, Some("joe")), "{target}");
        assert_eq!(exchange.forwarded.unwrap().query.as_deref(), query, "{target}");
    }
    assert_eq!(plugin.send(ClientRequest::get("/a?keys=joe+key")).status(), 401);
    let in_header = ClientRequest::get("/a").header("x-api-key", "jane's key");
    assert_eq!(plugin.send(in_header).status(), 401, "with a query and no header set, only the query counts");
}

#[test]
fn no_client_speaks_for_a_consumer() {
    let plugin = load(json!({ "consumer-header": "x-consumer", "anonymous": "guest" }));
    let forged = |request: ClientRequest| request.header("X-Consumer", "root").header("x-consumer", "admin");
    let known = plugin.send(forged(ClientRequest::get("/").header("x-api-key", "jane's key")));
    assert_eq!(known.forwarded.unwrap().header_values("x-consumer"), ["jane"]);
    let unknown = plugin.send(forged(ClientRequest::get("/")));
    assert_eq!(unknown.forwarded.unwrap().header_values("x-consumer"), ["guest"]);
    let wrong = plugin.send(forged(ClientRequest::get("/").header("x-api-key", "x")));
    assert_eq!(wrong.status(), 401, "a wrong key is not anonymous");
}

#[test]
fn the_key_is_passed_on_where_that_is_asked_for() {
    let plugin = load(json!({ "keep-key": true, "header": "authorization" }));
    let exchange = plugin.send(ClientRequest::get("/").header("authorization", "joe+key"));
    assert_eq!(exchange.forwarded.unwrap().header("authorization"), Some("joe+key"));
}

#[test]
fn what_is_wrong_with_the_settings_is_said_all_at_once_and_where() {
    let hash = hash("a");
    let settings = json!({
        "consumers": [
            { "name": "", "key-sha256": hash },
            { "name": "b", "key-sha256": "abc" },
            { "name": "c", "key-sha256": hash },
            { "name": "d", "key-sha256": "g".repeat(64) },
        ],
        "header": "no header",
        "consumer-header": "",
        "realm": "a\"b",
    });
    let problems = Host::new().load::<KeyAuth>(settings).err().unwrap();
    let places: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    let expected = [
        "/header",
        "/consumer-header",
        "/realm",
        "/consumers/0/name",
        "/consumers/1/key-sha256",
        "/consumers/2/key-sha256",
        "/consumers/3/key-sha256",
    ];
    assert_eq!(places, expected);
    assert!(problems[5].message.contains("/consumers/0/key-sha256"), "{}", problems[5].message);
    let empty = Host::new().load::<KeyAuth>(json!({ "consumers": [] })).err().unwrap();
    assert_eq!(empty[0].pointer, "/consumers");
    let unknown = Host::new().load::<KeyAuth>(json!({ "consumers": [{ "name": "a", "key": "b" }] })).err().unwrap();
    assert_eq!(unknown[0].pointer, "/consumers/0/key");
}

#[test]
fn a_header_that_is_not_a_plugins_to_change_is_refused_when_the_settings_are_read() {
    for name in ["host", "Content-Length", "transfer-encoding", "connection", "upgrade", "te"] {
        for field in ["consumer-header", "header"] {
            let settings = json!({ "consumers": consumers(), field: name });
            let problems = Host::new().load::<KeyAuth>(settings).err().unwrap_or_default();
            let places: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
            assert_eq!(places, [format!("/{field}")], "{name}");
        }
    }
}

#[test]
fn refusals_and_passes_are_counted() {
    let host = Host::new();
    let plugin = host.load::<KeyAuth>(json!({ "consumers": consumers() })).unwrap();
    plugin.send(ClientRequest::get("/").header("x-api-key", "joe+key"));
    plugin.send(ClientRequest::get("/"));
    plugin.send(ClientRequest::get("/"));
    assert_eq!((host.counter("accepted"), host.counter("refused")), (1, 2));
}
