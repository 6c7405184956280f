//! The plugin `jwt-auth` through the gateway: which tokens pass (`tables/plugins/jwt-auth.txt`), and what becomes of them when their
//! issuer's keys are hard to have (`tables/plugins/jwt-auth-issuers.txt`).

use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};
use tidegate_tests::{
    Answer, Client, ConfigDir, Gateway, Origin, WEB,
    origin::Hold,
    plugin, request, soon,
    tokens::{ALGORITHMS, Signer, base64url, hmac, now},
};
use tokio::task::JoinSet;

const CASES: &str = include_str!("../tables/plugins/jwt-auth.txt");
const ISSUERS: &str = include_str!("../tables/plugins/jwt-auth-issuers.txt");

/// A configuration of one route for each of the middleware, `{name: (settings of the step, path)}`.
fn configuration(dir: &ConfigDir, middleware: &[(String, Value)]) {
    let mut document = json!({
        "upstreams": { "origin": { "endpoints": ["{origin}"] }, "idp": { "endpoints": ["{idp}"] } },
        "middleware": {},
        "routes": [],
    });
    for (name, config) in middleware {
        document["middleware"][name] = json!({
            "module": "jwt-auth.wasm", "config": config, "grants": { "upstreams": ["idp"] },
            // Nothing here is about how long a guest may take.
            "limits": { "call-timeout": "15s", "exchange-timeout": "15s" },
        });
        let route = json!({ "id": name, "path": format!("/{name}"), "middleware": [name], "upstream": "origin" });
        document["routes"].as_array_mut().unwrap().push(route);
    }
    dir.write("routes.json", &document.to_string());
}

async fn scene(idp: &Origin, middleware: &[(String, Value)]) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address()).with("idp", idp.address());
    dir.write_bytes("jwt-auth.wasm", &plugin("jwt-auth"));
    dir.write("gateway.yaml", WEB);
    configuration(&dir, middleware);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

fn claims() -> Map<String, Value> {
    let now = now();
    let claims = json!({
        "iss": "https://id.example", "aud": "orders", "sub": "alice", "exp": now + 300, "nbf": now - 10, "iat": now,
        "role": "staff", "scope": "read write",
    });
    claims.as_object().unwrap().clone()
}

fn good() -> String {
    Signer::trusted().token("EdDSA", "ed", &Value::Object(claims()))
}

async fn ask(client: &mut Client, path: &str, fields: &[String]) -> Answer {
    let mut head = request(Method::GET, path);
    for field in fields {
        head.headers_mut().append("authorization", HeaderValue::from_str(field).unwrap());
    }
    client.send(head).await
}

async fn status(gateway: &Gateway, path: &str, token: &str) -> u16 {
    ask(&mut gateway.http1().await, path, &[format!("Bearer {token}")]).await.status.as_u16()
}

#[tokio::test]
async fn tokens_are_taken_and_refused_as_the_table_says() {
    let keys: Vec<_> = ALGORITHMS.iter().map(|name| Signer::trusted().jwk(name, kid(name))).collect();
    let config = json!({
        "issuer": "https://id.example", "audience": ["orders", "billing"], "required": ["sub"],
        "allowed": { "role": ["admin", "staff"] }, "scopes": ["read"],
        "keys": { "jwks": { "keys": keys } },
    });
    let (_origin, _dir, gateway) = scene(&Origin::start(), &[("auth".into(), config)]).await;
    let (mut client, mut tried) = (gateway.http1().await, 0);
    let rows = CASES.lines().enumerate().filter(|(_, line)| line.contains(" | ") && !line.starts_with('#'));
    for (number, line) in rows {
        let mut cells = line.split(" | ").map(str::trim);
        let (title, edits, expected) = (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap());
        for algorithm in ALGORITHMS {
            let case = format!("line {}: {title}, {algorithm}", number + 1);
            let fields = Made::of(algorithm, edits).fields();
            check(&ask(&mut client, "/auth", &fields).await, expected, &case);
            tried += 1;
        }
    }
    assert!(tried >= 3 * 65, "only {tried} tokens were tried");
}

fn check(answer: &Answer, expected: &str, case: &str) {
    let (status, told) = expected.split_once(' ').unwrap_or((expected, ""));
    assert_eq!(answer.status.as_str(), status, "{case}: {}", answer.text());
    let challenge = answer.header("www-authenticate");
    match told.split_once(": ") {
        Some((error, words)) => {
            assert!(challenge.contains(&format!("error=\"{error}\"")), "{case}: {challenge}");
            assert!(challenge.contains(words), "{case}: {challenge}");
        }
        // Who brings no token is told of no error (RFC 6750 section 3.1).
        None => assert_eq!(challenge, if status == "200" { "" } else { "Bearer realm=\"gateway\"" }, "{case}"),
    }
}

const fn kid(algorithm: &str) -> &'static str {
    match algorithm.as_bytes()[0] {
        b'R' => "rs",
        b'E' if algorithm.as_bytes()[1] == b'S' => "es",
        _ => "ed",
    }
}

/// A token in the making.
struct Made {
    algorithm: &'static str,
    header: String,
    payload: String,
    signature: String,
    token: String,
    request: String,
}

impl Made {
    fn of(algorithm: &'static str, edits: &str) -> Self {
        let mut header = json!({ "alg": algorithm, "kid": kid(algorithm), "typ": "JWT" });
        let mut claims = Value::Object(claims());
        let mut made = Self {
            algorithm,
            header: String::new(),
            payload: String::new(),
            signature: "own".into(),
            token: "{token}".into(),
            request: "Bearer {token}".into(),
        };
        for edit in edits.split(';').map(str::trim).filter(|edit| !edit.is_empty()) {
            let (name, rest) = edit.split_once(' ').unwrap_or((edit, ""));
            match (name, rest) {
                ("header", text) => made.header = text.into(),
                ("payload", text) => made.payload = text.into(),
                ("signature", kind) => made.signature = kind.into(),
                ("token", text) => made.token = text.into(),
                ("request", text) => made.request = text.into(),
                ("kid-of-another", _) => {
                    header["kid"] = kid(if algorithm == "ES256" { "RS256" } else { "ES256" }).into()
                }
                (name, change) => match name.strip_prefix("header.") {
                    Some(name) => edited(&mut header, name, change, algorithm),
                    None => edited(&mut claims, name, change, algorithm),
                },
            }
        }
        let or = |text: String, value: &Value| if text.is_empty() { value.to_string() } else { text };
        (made.header, made.payload) = (or(made.header, &header), or(made.payload, &claims));
        made
    }

    fn fields(&self) -> Vec<String> {
        let signed = format!("{}.{}", base64url(&self.header), base64url(&self.payload));
        let own = || Signer::trusted().sign(self.algorithm, signed.as_bytes());
        let signature = match self.signature.as_str() {
            "own" => own(),
            "other" => Signer::other().sign(self.algorithm, signed.as_bytes()),
            "empty" => Vec::new(),
            "zeros" => vec![0; own().len()],
            "cut" => own()[1..].to_vec(),
            "long" => [&own()[..], &[0]].concat(),
            "hmac" => hmac(Signer::trusted().rsa_pem().as_bytes(), signed.as_bytes()),
            other => panic!("`{other}` is no signature"),
        };
        let token = self.token.replace("{token}", &format!("{signed}.{}", base64url(signature)));
        match self.request.as_str() {
            "-" => vec![],
            "twice" => vec![format!("Bearer {token}"), format!("Bearer {token}")],
            text => vec![text.replace("{token}", &token)],
        }
    }
}

fn edited(members: &mut Value, name: &str, change: &str, algorithm: &str) {
    let members = members.as_object_mut().unwrap();
    let Some(value) = change.strip_prefix("= ") else {
        assert_eq!(change, "-", "`{name} {change}` is no edit");
        members.remove(name);
        return;
    };
    let time = value.strip_prefix("now").map(|shift| now().checked_add_signed(shift.parse().unwrap()).unwrap());
    let long = value
        .strip_prefix("\"{")
        .and_then(|rest| rest.strip_suffix("}\""))
        .map(|count| "x".repeat(count.parse().unwrap()));
    let value = match (time, long, value) {
        (Some(time), ..) => json!(time),
        (_, Some(text), _) => json!(text),
        (.., "{OTHER}") => Signer::other().jwk(algorithm, "other"),
        (.., text) => serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")),
    };
    members.insert(name.to_owned(), value);
}

/// Settings that fetch keys from a path of their own, again and again.
fn fetching(path: &str, more: &Value) -> Value {
    let mut fetch = json!({ "upstream": "idp", "path": path, "refresh": "1ms", "retry": "1ms", "timeout": "10s" });
    fetch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "issuer": "https://id.example", "keys": { "fetch": fetch } })
}

fn keys(kids: &[&str]) -> String {
    let keys: Vec<_> = kids.iter().map(|kid| Signer::trusted().jwk("EdDSA", kid)).collect();
    json!({ "keys": keys }).to_string()
}

#[tokio::test]
async fn an_issuer_that_is_down_slow_or_wrong_is_met_as_the_table_says() {
    let rows: Vec<Vec<&str>> = ISSUERS
        .lines()
        .filter(|line| line.contains(" | ") && !line.starts_with('#'))
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 15, "only {} rows", rows.len());
    let idp = Origin::named("idp");
    let fetch = |(number, row): (usize, &Vec<&str>)| {
        // Nobody waits for who never answers longer than is needed to tell it from who is slow.
        let more = if row[1] == "silent" { json!({ "timeout": "500ms" }) } else { json!({}) };
        ["cold", "warm"].map(|when| (format!("{when}-{number}"), fetching(&format!("/{when}-{number}"), &more)))
    };
    let middleware: Vec<_> = rows.iter().enumerate().flat_map(fetch).collect();
    let (_origin, _dir, gateway) = scene(&idp, &middleware).await;
    let token = good();
    for (number, row) in rows.iter().enumerate() {
        let [title, answer, cold, warm] = row[..] else { panic!("{row:?}") };
        let (cold_path, warm_path) = (format!("/cold-{number}"), format!("/warm-{number}"));
        let playing = play(idp.hold(&cold_path), answer.to_owned());
        assert_eq!(status(&gateway, &cold_path, &token).await.to_string(), cold, "{title}, nothing known");
        playing.abort();

        let playing = play(idp.hold(&warm_path), format!("200 {}", keys(&["ed"])));
        assert_eq!(status(&gateway, &warm_path, &token).await, 200, "{title}, before");
        playing.abort();
        drop(playing.await);
        let playing = play(idp.hold(&warm_path), answer.to_owned());
        for _ in 0..2 {
            assert_eq!(status(&gateway, &warm_path, &token).await.to_string(), warm, "{title}, keys known");
        }
        playing.abort();
    }
}

/// Answers every request for a path in one way, for as long as it is not aborted.
fn play(mut hold: Hold, answer: String) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let mut held = hold.next().await;
            match answer.as_str() {
                "reset" => held.reset(),
                "silent" => kept.push(held),
                answer => {
                    let (status, body) = answer.split_once(' ').unwrap_or((answer, ""));
                    held.answer(status.parse().unwrap(), &filled(body)).await;
                    held.keep();
                }
            }
        }
    })
}

fn filled(body: &str) -> String {
    if let Some(count) = body.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')?.parse().ok()) {
        return "x".repeat(count);
    }
    let short = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AAAA" });
    body.replace("{GOOD}", &Signer::trusted().jwk("EdDSA", "ed").to_string())
        .replace("{OTHER}", &Signer::other().jwk("EdDSA", "other").to_string())
        .replace("{SHORT}", &short.to_string())
}

#[tokio::test]
async fn one_guest_fetches_the_keys_for_all_workers_and_a_reload_keeps_them() {
    let idp = Origin::named("idp");
    let mut hold = idp.hold("/jwks");
    let config = fetching("/jwks", &json!({ "refresh": "1h", "retry": "1h", "timeout": "10s" }));
    let (_origin, dir, gateway) = scene(&idp, &[("auth".into(), config.clone())]).await;
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        let (mut client, token) = (gateway.http1().await, good());
        asking.spawn(async move { ask(&mut client, "/auth", &[format!("Bearer {token}")]).await.status.as_u16() });
    }
    let mut held = hold.next().await;
    soon("all wait", async || gateway.metric("tidegate_live_exchanges", "current").await >= 16.0).await;
    assert!(hold.is_empty(), "one fetches");
    held.answer(200, &keys(&["ed"])).await;
    held.keep();
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    for edit in 0..5 {
        let mut config = config.clone();
        config["realm"] = json!(format!("edit {edit}"));
        configuration(&dir, &[("auth".into(), config)]);
        gateway.apply().await;
        for _ in 0..4 {
            assert_eq!(status(&gateway, "/auth", &good()).await, 200);
        }
    }
    assert!(hold.is_empty(), "and once is enough");
    assert_eq!(gateway.metric("tidegate_guest_counter_total", "name=\"fetches\"").await, 1.0);
}

#[tokio::test]
async fn a_new_key_is_found_when_a_token_names_it_and_made_up_names_fetch_nothing() {
    let idp = Origin::named("idp");
    let mut hold = idp.hold("/jwks");
    let config = fetching("/jwks", &json!({ "refresh": "1h", "retry": "200ms", "timeout": "10s" }));
    let (_origin, _dir, gateway) = scene(&idp, &[("auth".into(), config)]).await;
    let token = |kid: &str| Signer::trusted().token("EdDSA", kid, &Value::Object(claims()));
    let asked = tokio::spawn(async move {
        let mut held = hold.next().await;
        held.answer(200, &keys(&["ed"])).await;
        held.keep();
        let mut held = hold.next().await;
        held.answer(200, &keys(&["ed", "new"])).await;
        held.keep();
        hold
    });
    assert_eq!(status(&gateway, "/auth", &token("ed")).await, 200);
    // Until the time between attempts is over, it is not known; then the first to ask brings it.
    soon("the new key is known", async || status(&gateway, "/auth", &token("new")).await == 200).await;
    let hold = asked.await.unwrap();
    for number in 0..50 {
        assert_eq!(status(&gateway, "/auth", &token("ed")).await, 200, "{number}");
    }
    assert!(hold.is_empty());
}

#[tokio::test]
async fn keys_that_are_too_old_are_not_used_any_more() {
    let idp = Origin::named("idp");
    let hold = idp.hold("/jwks");
    let config = fetching("/jwks", &json!({ "refresh": "50ms", "stale": "500ms", "retry": "20ms" }));
    let (_origin, _dir, gateway) = scene(&idp, &[("auth".into(), config)]).await;
    let playing = play(hold, format!("200 {}", keys(&["ed"])));
    assert_eq!(status(&gateway, "/auth", &good()).await, 200);
    playing.abort();
    drop(playing.await);
    let playing = play(idp.hold("/jwks"), "reset".into());
    soon("they are too old", async || status(&gateway, "/auth", &good()).await == 503).await;
    playing.abort();
    drop(playing.await);
    let playing = play(idp.hold("/jwks"), format!("200 {}", keys(&["ed"])));
    soon("the issuer is back", async || status(&gateway, "/auth", &good()).await == 200).await;
    playing.abort();
}

#[tokio::test]
async fn who_asks_is_told_to_the_upstream_in_fields_that_clients_cannot_forge() {
    let key = json!({ "keys": [Signer::trusted().jwk("ES256", "es")] });
    let config = json!({
        "keys": { "jwks": key, "pem": Signer::trusted().rsa_pem() },
        "headers": { "x-user": "sub", "x-role": "role" }, "optional": true, "forward": false,
    });
    let (_origin, _dir, gateway) = scene(&Origin::start(), &[("auth".into(), config)]).await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for token in [None, Some(("ES256", "es")), Some(("RS256", "whatever"))] {
            let mut head = request(Method::GET, "/auth");
            for (name, value) in [("x-user", "root"), ("x_user", "root"), ("x-role", "admin"), ("x-other", "kept")] {
                head.headers_mut().append(name, HeaderValue::from_static(value));
            }
            if let Some((algorithm, kid)) = token {
                let token = Signer::trusted().token(algorithm, kid, &Value::Object(claims()));
                head.headers_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
            }
            let answer = client.send(head).await;
            let expected: &[&str] = if token.is_some() { &["alice"] } else { &[] };
            assert_eq!(answer.echoed("x-user"), expected, "{token:?}");
            assert_eq!(answer.echoed("x-role").len(), expected.len(), "{token:?}");
            assert_eq!((answer.echoed("x_user").len(), answer.echoed("authorization").len()), (0, 0), "{token:?}");
            assert_eq!(answer.echoed("x-other"), ["kept"]);
        }
    }
}
