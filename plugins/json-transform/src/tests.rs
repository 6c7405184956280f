//! The plugin on the test host.

use tidegate_guest::testing::{ClientRequest, Host, Loaded, UpstreamResponse, Value, json};

use super::*;

fn load(settings: Value) -> Loaded<JsonTransform> {
    Host::new().load(settings).unwrap()
}

fn sent(body: impl Into<Vec<u8>>) -> ClientRequest {
    ClientRequest::post("/", body).header("content-type", "application/json")
}

/// What the steps make of a request's body.
fn through(steps: Value, body: &str) -> String {
    let exchange = load(json!({ "request": steps })).send(sent(body));
    exchange.forwarded.unwrap_or_else(|| panic!("{body}: {}", exchange.response.text())).text()
}

#[test]
fn steps_change_what_their_paths_lead_to_and_nothing_else() {
    let cases = [
        (json!([{ "remove": "/b" }]), r#"{"a":1.0,"b":2,"c":"ü\u00fc"}"#, r#"{"a":1.0,"c":"ü\u00fc"}"#),
        (json!([{ "remove": "/a/*/b" }]), r#"{"a":[{"b":1,"c":2},{"b":3},4]}"#, r#"{"a":[{"c":2},{},4]}"#),
        (json!([{ "remove": "/**/b" }]), r#"{"b":1,"a":{"b":{"b":2},"c":[{"b":3}]}}"#, r#"{"a":{"c":[{}]}}"#),
        (json!([{ "remove": "/a/1" }]), r#"{"a":[1,2,3]}"#, r#"{"a":[1,3]}"#),
        (json!([{ "remove": "/a/*" }]), r#"{"a":[1,2,3],"b":{}}"#, r#"{"a":[],"b":{}}"#),
        (json!([{ "remove": "/a~1b" }]), r#"{"a/b":1,"c":2}"#, r#"{"c":2}"#),
        (json!([{ "remove": "/ab" }]), r#"{"a\u0062":1,"ab":2,"c":3}"#, r#"{"c":3}"#),
        (json!([{ "rename": "/a", "to": "z" }]), r#"{"a":1,"b":2,"z":3}"#, r#"{"z":1,"b":2}"#),
        (json!([{ "rename": "/*/a", "to": "b\"" }]), r#"[{"a":1},{"a":[]}]"#, r#"[{"b\"":1},{"b\"":[]}]"#),
        (json!([{ "mask": "/a" }]), r#"{"a":"secret","b":1}"#, r#"{"a":"***","b":1}"#),
        (json!([{ "mask": "/*", "keep-last": 2 }]), r#"["12345",12345,"abc",null]"#, r#"["***45","***45","***",null]"#),
        (json!([{ "mask": "/**/pin" }]), r#"{"pin":{"a":1},"b":[{"pin":1}]}"#, r#"{"pin":"***","b":[{"pin":"***"}]}"#),
        (json!([{ "add": "/a", "value": 2 }]), r#"{"a":1}"#, r#"{"a":2}"#),
        (json!([{ "add": "/a", "value": 2, "if-absent": true }]), r#"{"b":1}"#, r#"{"b":1,"a":2}"#),
        (json!([{ "add": "/m/n/o", "value": null }]), "{}", r#"{"m":{"n":{"o":null}}}"#),
        (json!([{ "add": "/a/-", "value": "x" }]), r#"{"a":[1]}"#, r#"{"a":[1,"x"]}"#),
        (
            json!([{ "add": "/*/k", "value": {"x": [1]} }]),
            r#"[{},{"k":1},2]"#,
            r#"[{"k":{"x":[1]}},{"k":{"x":[1]}},2]"#,
        ),
        (
            json!([{ "rename": "/a", "to": "b" }, { "mask": "/b" }, { "add": "/c", "value": true }]),
            r#"{"a":"x"}"#,
            r#"{"b":"***","c":true}"#,
        ),
    ];
    for (steps, body, expected) in cases {
        assert_eq!(through(steps.clone(), body), expected, "{steps} on {body}");
    }
}

#[test]
fn a_body_that_no_step_changes_is_passed_byte_by_byte() {
    let cases = [
        (json!([{ "remove": "/x" }]), "{ \"a\" : 1 }\n"),
        (json!([{ "remove": "/a/7" }]), "{ \"a\" : [1] }"),
        (json!([{ "rename": "/x", "to": "y" }]), "[ 1 ]"),
        (json!([{ "mask": "/a" }]), "{ \"a\" : null }"),
        (json!([{ "add": "/a", "value": 2, "if-absent": true }]), "{ \"a\" : null }"),
        (json!([{ "add": "/a/b", "value": 2 }]), "{ \"a\" : 5 }"),
        (json!([{ "remove": "/a" }]), " 5 "),
        (json!([{ "remove": "/a" }]), ""),
    ];
    for (steps, body) in cases {
        assert_eq!(through(steps, body), body);
    }
}

#[test]
fn lengths_tags_and_digests_are_put_right_where_a_body_changed() {
    let plugin = load(json!({ "response": [{ "remove": "/a" }] }));
    let answer = |body: &str| {
        UpstreamResponse::new(200)
            .header("content-type", "application/problem+json")
            .header("etag", "\"1\"")
            .header("content-digest", "sha-256=:x:")
            .body(body)
    };
    let changed = plugin.exchange(ClientRequest::get("/"), |_| answer("{\"a\":1}"));
    assert_eq!((changed.text().as_str(), changed.header("content-length")), ("{}", Some("2")));
    assert_eq!((changed.header("etag"), changed.header("content-digest")), (Some("W/\"1\""), None));
    let same = plugin.exchange(ClientRequest::get("/"), |_| answer("{\"b\":1}"));
    assert_eq!((same.header("etag"), same.header("content-digest")), (Some("\"1\""), Some("sha-256=:x:")));
}

#[test]
fn upstreams_are_asked_for_what_can_be_read() {
    let plugin = load(json!({ "response": [{ "remove": "/a" }] }));
    let request = ClientRequest::get("/").header("accept-encoding", "br, gzip").header("range", "bytes=0-5");
    let forwarded = plugin.send(request).forwarded.unwrap();
    assert_eq!((forwarded.header("accept-encoding"), forwarded.header("range")), (Some("identity"), None));
    let request = ClientRequest::get("/").header("accept-encoding", "br").header("range", "bytes=0-5");
    let untouched = load(json!({ "request": [{ "remove": "/a" }] })).send(request).forwarded.unwrap();
    assert_eq!((untouched.header("accept-encoding"), untouched.header("range")), (Some("br"), Some("bytes=0-5")));
}

#[test]
fn other_content_passes_untouched_however_large() {
    let plugin =
        load(json!({ "request": [{ "remove": "/a" }], "response": [{ "remove": "/a" }], "body-bytes-max": 4 }));
    let request = ClientRequest::post("/", "{\"a\":1}").header("content-type", "text/plain");
    let exchange = plugin.exchange(request, |forwarded| {
        assert_eq!(forwarded.text(), "{\"a\":1}");
        UpstreamResponse::new(200).header("content-type", "application/x-ndjson").chunks(["{\"a\":1}\n", "{}\n"])
    });
    assert_eq!(exchange.response.chunks.len(), 2, "it was not even held");
}

#[test]
fn unreadable_bodies_are_refused_or_passed_as_the_settings_say() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let bodies: [&[u8]; 5] = [b"{\"a\":1", b"{'a':1}", b"{\"a\":\"\xff\"}", deep.as_bytes(), b"{\"a\":1}{}"];
    for (setting, request_status, response_status) in [("refuse", 400, 502), ("pass", 200, 200)] {
        let steps = json!([{ "remove": "/a" }]);
        let settings = json!({ "request": steps, "response": steps, "on-unreadable": setting });
        let plugin = load(settings);
        for body in bodies {
            let exchange = plugin.send(sent(body));
            assert_eq!(exchange.status(), request_status, "{setting}");
            assert!(exchange.forwarded.is_none_or(|forwarded| forwarded.body() == body));
            let answer = UpstreamResponse::new(200).header("content-type", "application/json").body(body);
            let exchange = plugin.exchange(ClientRequest::get("/"), |_| answer);
            assert_eq!(exchange.status(), response_status, "{setting}");
            assert_eq!(exchange.response.body() == body, setting == "pass");
        }
        let zipped = plugin.send(sent("x").header("content-encoding", "gzip"));
        assert_eq!(zipped.status(), if setting == "pass" { 200 } else { 415 });
        let answer = || UpstreamResponse::new(200).header("content-type", "application/json").body("x");
        let zipped = plugin.exchange(ClientRequest::get("/"), |_| answer().header("content-encoding", "br"));
        assert_eq!(zipped.status(), response_status);
        let part = UpstreamResponse::new(206).header("content-type", "application/json").body("{\"a\"");
        let part = plugin.exchange(ClientRequest::get("/"), |_| part);
        assert_eq!(part.status(), if setting == "pass" { 206 } else { 502 });
    }
}

#[test]
fn large_bodies_are_refused_or_passed_as_the_settings_say() {
    let body = "{\"a\":\"0123456789\"}";
    for (setting, request_status, response_status) in [("refuse", 413, 502), ("pass", 200, 200)] {
        let steps = json!([{ "remove": "/a" }]);
        let plugin = load(json!({ "request": steps, "response": steps, "on-large": setting, "body-bytes-max": 16 }));
        let exchange = plugin.send(sent(body));
        assert_eq!(exchange.status(), request_status);
        assert!(exchange.forwarded.is_none_or(|forwarded| forwarded.text() == body));
        let answer = UpstreamResponse::new(200).header("content-type", "application/json").body(body);
        assert_eq!(plugin.exchange(ClientRequest::get("/"), |_| answer).status(), response_status);
        // Without a length, the gateway finds out by reading.
        let answer = UpstreamResponse::new(200).header("content-type", "application/json").chunks([body]);
        let status = plugin.exchange(ClientRequest::get("/"), |_| answer).status();
        assert_eq!(status, if setting == "pass" { 200 } else { 503 });
    }
}

#[test]
fn what_is_wrong_with_the_settings_is_said_all_at_once_and_where() {
    let settings = json!({
        "request": [
            { "remove": "a" },
            { "remove": "/a", "mask": "/b" },
            {},
            { "rename": "/a" },
            { "rename": "/*", "to": "b" },
            { "add": "/a" },
            { "remove": "/a", "keep-last": 4 },
        ],
        "body-bytes-max": 0,
    });
    let problems = Host::new().load::<JsonTransform>(settings).err().unwrap();
    let places: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    let expected = [
        "/body-bytes-max",
        "/request/0/remove",
        "/request/1",
        "/request/2",
        "/request/3",
        "/request/4/rename",
        "/request/5",
        "/request/6/keep-last",
    ];
    assert_eq!(places, expected);
    assert_eq!(Host::new().load::<JsonTransform>(json!({})).err().unwrap()[0].pointer, "");
    let unknown = Host::new().load::<JsonTransform>(json!({ "request": [{ "delete": "/a" }] })).err().unwrap();
    assert_eq!(unknown[0].pointer, "/request/0/delete");
}
