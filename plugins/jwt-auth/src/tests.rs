//! The plugin on the test host: tokens signed here, an issuer that answers as it is told.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use tidegate_guest::{
    LocalResponse,
    testing::{ClientRequest, Exchange, Host, Limits, Loaded},
    upstream::Error,
};

use crate::JwtAuth;

const WALL: u64 = 1_800_000_000;

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn jwk(seed: u8, kid: &str) -> Value {
    let x = URL_SAFE_NO_PAD.encode(signing(seed).verifying_key().as_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig" })
}

fn token(seed: u8, kid: &str, claims: Value) -> String {
    let header = json!({ "alg": "EdDSA", "kid": kid, "typ": "JWT" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut all = json!({ "iss": "https://id.example", "aud": "orders", "sub": "alice", "exp": WALL + 300 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let signed = format!("{}.{}", part(&header), part(&all));
    let signature = URL_SAFE_NO_PAD.encode(signing(seed).sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

fn host() -> Host {
    let host = Host::new().named("auth");
    host.set_wall(Duration::from_secs(WALL));
    host
}

fn load(host: &Host, keys: Value, more: Value) -> Loaded<JwtAuth> {
    let mut settings = json!({ "issuer": "https://id.example", "audience": "orders", "keys": keys });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.load(settings).unwrap()
}

fn inline() -> Value {
    json!({ "jwks": { "keys": [jwk(1, "a")] } })
}

fn with(token: &str) -> ClientRequest {
    ClientRequest::get("/orders").header("authorization", format!("Bearer {token}"))
}

fn ask(plugin: &Loaded<JwtAuth>, token: &str) -> Exchange {
    plugin.send(with(token))
}

#[test]
fn a_good_token_passes_and_says_whose_the_request_is() {
    let host = host();
    let more = json!({ "attributes": { "tenant": "/org/id" }, "headers": { "x-user": "sub", "x-groups": "groups" } });
    let plugin = load(&host, inline(), more);
    let token = token(1, "a", json!({ "org": { "id": 7 }, "groups": ["a", "b,c"] }));
    for _ in 0..2 {
        let forged = with(&token).header("x-user", "root").header("X_User", "root").header("x-groups", "wheel");
        let exchange = plugin.send(forged);
        assert_eq!(
            (exchange.attribute("auth.consumer"), exchange.attribute("auth.tenant")),
            (Some("alice"), Some("7"))
        );
        let forwarded = exchange.forwarded.unwrap();
        assert_eq!(forwarded.header_values("x-user"), ["alice"]);
        assert_eq!(forwarded.header("x-groups"), Some("a,b%2Cc"));
        assert_eq!(forwarded.header("x_user"), None);
        assert!(forwarded.header("authorization").is_some());
    }
    assert_eq!(host.counter("accepted"), 2);
}

#[test]
fn a_request_without_a_token_is_nobodys_where_that_may_be() {
    let host = host();
    let plugin = load(&host, inline(), json!({ "optional": true, "headers": { "x-user": "sub" } }));
    let exchange = plugin.send(ClientRequest::get("/").header("x-user", "root"));
    assert_eq!((exchange.status(), exchange.attribute("auth.consumer")), (200, None));
    assert_eq!(exchange.forwarded.unwrap().header("x-user"), None);
    assert_eq!(ask(&plugin, "rubbish").status(), 401);
    let strict = load(&host, inline(), json!({}));
    let exchange = strict.send(ClientRequest::get("/"));
    assert_eq!((exchange.status(), exchange.header("www-authenticate")), (401, Some("Bearer realm=\"gateway\"")));
}

#[test]
fn a_token_is_found_where_the_settings_say_and_taken_out_if_they_do() {
    let host = host();
    let places =
        json!([{ "header": "authorization" }, { "header": "x-token" }, { "cookie": "session" }, { "query": "t" }]);
    let plugin = load(&host, inline(), json!({ "token": places, "forward": false }));
    let token = token(1, "a", json!({}));
    let seen = |request: ClientRequest| {
        let exchange = plugin.send(request);
        let forwarded = exchange.forwarded.clone().unwrap_or_else(|| panic!("{}", exchange.text()));
        let fields: Vec<_> = forwarded
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap()))
            .collect();
        assert!(!format!("{fields:?} {:?}", forwarded.query).contains(&token));
        (fields, forwarded.query)
    };
    let plain = || ClientRequest::get("/");
    assert_eq!(seen(plain().header("authorization", format!("bearer   {token}"))), (vec![], None));
    assert_eq!(seen(plain().header("x-token", &token)), (vec![], None));
    let cookies = format!("a=1; session=\"{token}\"; b=2");
    assert_eq!(seen(plain().header("cookie", cookies)), (vec![("cookie".into(), "a=1; b=2".into())], None));
    assert_eq!(seen(plain().header("cookie", format!("session={token}"))), (vec![], None));
    assert_eq!(seen(ClientRequest::get(&format!("/?a=1&t={token}&b"))), (vec![], Some("a=1&b".into())));
    assert_eq!(seen(ClientRequest::get(&format!("/?t={token}"))), (vec![], None));
    let both = plain().header("authorization", format!("Bearer {token}")).header("x-token", &token);
    let exchange = plugin.send(both);
    assert!(exchange.status() == 400 && exchange.header("www-authenticate").unwrap().contains("invalid_request"));
    let basic = plugin.send(plain().header("authorization", "Basic eDp5"));
    assert!(basic.status() == 401 && !basic.header("www-authenticate").unwrap().contains("error"));
}

#[test]
fn a_clock_that_jumps_is_believed_at_once_and_keys_do_not_mind() {
    let host = host();
    let (plugin, fetched) = (load(&host, inline(), json!({})), issuer(&host));
    let over = load(&host, fetch(json!({})), json!({}));
    let token = token(1, "a", json!({ "nbf": WALL - 10 }));
    let cases =
        [(WALL, 200), (WALL + 400, 401), (WALL + 10, 200), (0, 401), (WALL - 30, 200), (u64::from(u32::MAX) * 4, 401)];
    for (wall, expected) in cases {
        host.set_wall(Duration::from_secs(wall));
        assert_eq!((ask(&plugin, &token).status(), ask(&over, &token).status()), (expected, expected), "{wall}");
    }
    assert_eq!(fetched.calls(), 1);
}

#[test]
fn what_is_refused_is_told_to_the_log_and_not_to_the_client() {
    let host = host();
    let plugin = load(&host, inline(), json!({}));
    let token = token(1, "a", json!({ "iss": "https://evil.example" }));
    let exchange = ask(&plugin, &token);
    assert_eq!((exchange.status(), exchange.attribute("auth.refused")), (401, Some("issuer")));
    assert!(!exchange.text().contains("evil"));
    let logged = host.logged();
    assert!(logged.iter().any(|line| line.message.contains("https://evil.example")));
    assert!(logged.iter().all(|line| !line.message.contains(&token)));
    assert_eq!(host.counter("refused"), 1);
}

#[test]
fn a_known_token_is_not_verified_again_and_not_believed_longer_than_its_keys() {
    let host = host();
    let issuer = issuer(&host);
    let plugin = load(&host, fetch(json!({ "refresh": "60s", "retry": "1s" })), json!({}));
    let token = token(1, "a", json!({}));
    assert_eq!(ask(&plugin, &token).status(), 200);
    // The issuer takes its key back, and shows another one.
    issuer.publish(json!({ "keys": [jwk(2, "b")] }));
    assert_eq!(ask(&plugin, &token).status(), 200, "it is not asked yet");
    host.advance(Duration::from_secs(60));
    assert_eq!(ask(&plugin, &token).status(), 401);
}

/// An issuer that answers as it is told.
#[derive(Clone)]
struct Issuer {
    answer: Rc<RefCell<Result<LocalResponse, Error>>>,
    calls: Rc<Cell<usize>>,
}

impl Issuer {
    fn publish(&self, keys: Value) {
        self.answer(Ok(LocalResponse::new(200).body("application/json", keys.to_string())));
    }

    fn answer(&self, answer: Result<LocalResponse, Error>) {
        *self.answer.borrow_mut() = answer;
    }

    fn calls(&self) -> usize {
        self.calls.get()
    }
}

fn issuer(host: &Host) -> Issuer {
    let issuer = Issuer { answer: Rc::new(RefCell::new(Ok(LocalResponse::new(200)))), calls: Rc::default() };
    issuer.publish(json!({ "keys": [jwk(1, "a")] }));
    let own = issuer.clone();
    host.upstream("idp", move |called| {
        assert_eq!((called.target.as_str(), called.header("accept").is_some()), ("/jwks", true));
        own.calls.set(own.calls.get() + 1);
        own.answer.borrow().clone()
    });
    issuer
}

fn fetch(more: Value) -> Value {
    let mut fetch = json!({ "upstream": "idp", "path": "/jwks" });
    fetch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "fetch": fetch })
}

#[test]
fn keys_are_fetched_once_for_all_guests_and_kept_through_reloads() {
    let host = host();
    let issuer = issuer(&host);
    for reload in 0..5 {
        let plugin = load(&host, fetch(json!({})), json!({ "realm": format!("reload {reload}") }));
        assert_eq!(ask(&plugin, &token(1, "a", json!({ "jti": reload }))).status(), 200);
    }
    assert_eq!(issuer.calls(), 1);
    // Keys of another place are not taken for these.
    let elsewhere = json!({ "fetch": { "upstream": "idp", "path": "/jwks", "host": "other.example" } });
    assert_eq!(ask(&load(&host, elsewhere, json!({})), &token(1, "a", json!({}))).status(), 200);
    assert_eq!(issuer.calls(), 2);
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it_and_not_more_often_than_is_allowed() {
    let host = host();
    let issuer = issuer(&host);
    let plugin = load(&host, fetch(json!({ "retry": "10s" })), json!({}));
    assert_eq!(ask(&plugin, &token(1, "a", json!({}))).status(), 200);
    issuer.publish(json!({ "keys": [jwk(1, "a"), jwk(2, "b")] }));
    host.advance(Duration::from_secs(10));
    assert_eq!(ask(&plugin, &token(2, "b", json!({}))).status(), 200);
    assert_eq!(issuer.calls(), 2);
    for number in 0..100 {
        assert_eq!(ask(&plugin, &token(3, &format!("made-up-{number}"), json!({}))).status(), 401);
    }
    assert_eq!(issuer.calls(), 2, "a flood of unknown names fetches nothing");
    host.advance(Duration::from_secs(10));
    assert_eq!(ask(&plugin, &token(3, "c", json!({}))).status(), 401);
    assert_eq!(issuer.calls(), 3);
    host.advance(Duration::from_secs(10));
    assert_eq!(ask(&plugin, &token(3, "c", json!({ "iss": "https://evil.example" }))).status(), 401);
    assert_eq!(issuer.calls(), 3, "nothing is fetched for who says to be somebody else");
}

#[test]
fn keys_are_used_while_the_issuer_is_down_and_for_no_longer_than_they_may() {
    let bad = || Ok(LocalResponse::new(200).text("<html>"));
    type Answer = Box<dyn Fn() -> Result<LocalResponse, Error>>;
    let failures: [(&str, Answer); 8] = [
        ("down", Box::new(|| Err(Error::Failed("upstream_connect".into())))),
        ("slow", Box::new(|| Err(Error::Failed("upstream_timeout".into())))),
        ("huge for the operator", Box::new(|| Err(Error::TooLarge))),
        ("huge", Box::new(|| Ok(LocalResponse::new(200).text("x".repeat(300_000))))),
        ("not JSON", Box::new(bad)),
        ("500", Box::new(|| Ok(LocalResponse::new(500)))),
        ("no set", Box::new(|| Ok(LocalResponse::new(200).text("{}")))),
        ("no key", Box::new(|| Ok(LocalResponse::new(200).text(r#"{"keys": [{"kty": "RSA"}]}"#)))),
    ];
    for (case, failure) in failures {
        let host = host();
        let issuer = issuer(&host);
        let plugin = load(&host, fetch(json!({ "refresh": "60s", "stale": "300s", "retry": "10s" })), json!({}));
        assert_eq!(ask(&plugin, &token(1, "a", json!({}))).status(), 200);
        issuer.answer(failure());
        for second in (60..300).step_by(5) {
            host.advance(Duration::from_secs(if second == 60 { 60 } else { 5 }));
            let token = token(1, "a", json!({ "exp": WALL + 10_000, "jti": second }));
            assert_eq!(ask(&plugin, &token).status(), 200, "{case} after {second} s");
        }
        assert_eq!(issuer.calls(), 1 + 24, "{case}: one attempt in 10 s");
        host.advance(Duration::from_secs(5));
        let exchange = ask(&plugin, &token(1, "a", json!({ "exp": WALL + 10_000 })));
        assert_eq!((exchange.status(), exchange.attribute("auth.refused")), (503, Some("no-keys")), "{case}");
        assert!(host.logged().iter().any(|line| line.message.contains("could not be fetched")), "{case}");
        // It comes back, and is asked within a second.
        issuer.publish(json!({ "keys": [jwk(1, "a")] }));
        host.advance(Duration::from_secs(1));
        assert_eq!(ask(&plugin, &token(1, "a", json!({ "exp": WALL + 10_000 }))).status(), 200, "{case}");
    }
}

#[test]
fn what_can_be_used_of_a_set_is_used() {
    let host = host();
    let issuer = issuer(&host);
    let short = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "short" });
    issuer.publish(json!({ "keys": [5, { "kty": "oct", "k": "AA" }, short, jwk(1, "a")] }));
    let plugin = load(&host, fetch(json!({})), json!({}));
    assert_eq!(ask(&plugin, &token(1, "a", json!({}))).status(), 200);
    assert_eq!(ask(&plugin, &token(1, "short", json!({}))).status(), 401);
    let warned = host.logged().iter().filter(|line| line.message.contains("one is not used")).count();
    assert_eq!(warned, 2, "{:?}", host.logged());
}

#[test]
fn an_upstream_that_is_not_granted_is_named_with_what_to_write() {
    let host = host();
    let plugin = load(&host, fetch(json!({})), json!({}));
    let exchange = ask(&plugin, &token(1, "a", json!({})));
    assert_eq!((exchange.status(), exchange.header("retry-after")), (503, Some("1")));
    assert!(
        host.logged().iter().any(|line| line.message.contains("grants: {upstreams: [idp]}")),
        "{:?}",
        host.logged()
    );
}

#[test]
fn a_full_key_value_space_is_a_failure_to_fetch() {
    let host = host();
    drop(issuer(&host));
    host.limit(Limits { kv_bytes_max: 10, ..Limits::default() });
    let plugin = load(&host, fetch(json!({})), json!({}));
    assert_eq!(ask(&plugin, &token(1, "a", json!({}))).status(), 503);
    assert!(host.logged().iter().any(|line| line.message.contains("kv-bytes-max")), "{:?}", host.logged());
}

#[test]
fn keys_in_the_settings_need_no_issuer() {
    let host = host();
    let issuer = issuer(&host);
    let keys = json!({ "jwks": { "keys": [jwk(2, "b")] }, "fetch": { "upstream": "idp", "path": "/jwks" } });
    let plugin = load(&host, keys, json!({}));
    assert_eq!(ask(&plugin, &token(2, "b", json!({}))).status(), 200);
    assert_eq!(issuer.calls(), 0);
    assert_eq!(ask(&plugin, &token(1, "a", json!({}))).status(), 200);
    assert_eq!(issuer.calls(), 1);
    assert_eq!(ask(&plugin, &token(1, "b", json!({}))).status(), 401, "a key's name is not another's");
}

#[test]
fn one_guest_fetches_and_the_others_go_on_with_what_there_is() {
    let host = host();
    let plugin = Rc::new(load(&host, fetch(json!({ "refresh": "60s" })), json!({})));
    let (inner, calls) = (Rc::downgrade(&plugin), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&calls);
    let set = json!({ "keys": [jwk(1, "a")] }).to_string();
    host.upstream("idp", move |_| {
        counted.set(counted.get() + 1);
        // While this one is under way, another request comes, on another guest.
        if let Some(other) = inner.upgrade().filter(|_| counted.get() == 2) {
            let nested = ask(&other, &token(1, "a", json!({ "jti": "nested" })));
            assert_eq!(nested.status(), 200);
        }
        Ok(LocalResponse::new(200).body("application/json", set.clone()))
    });
    assert_eq!(ask(&plugin, &token(1, "a", json!({}))).status(), 200);
    host.advance(Duration::from_secs(60));
    assert_eq!(ask(&plugin, &token(1, "a", json!({ "jti": "outer" }))).status(), 200);
    assert_eq!(calls.get(), 2, "the nested one did not fetch");
}
