//! Tests of who passes, and of what is remembered.

use futures_util::FutureExt;
use http::{Method, StatusCode};

use super::*;
use crate::{
    config::spec::{Argon2Hash, Argon2Variant, User},
    error::Kind,
    exchange::testing,
};

fn offload(runtime: &tokio::runtime::Runtime) -> Arc<Offload> {
    Arc::new(Offload::new(runtime.handle().clone()))
}

fn step(runtime: &tokio::runtime::Runtime, header: Option<&'static str>, pass_credentials: bool) -> BasicAuth {
    let bcrypt = bcrypt::hash_with_salt("secret", 4, *b"0123456789abcdef").unwrap();
    let bcrypt = bcrypt.format_for_version(bcrypt::Version::TwoB);
    let argon2 = argon2::Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        argon2::Params::new(64, 1, 1, Some(32)).unwrap(),
    );
    let mut digest = vec![0; 32];
    argon2.hash_password_into("gr\u{fc}n:er".as_bytes(), b"somesalt", &mut digest).unwrap();
    let argon2 = Argon2Hash {
        variant: Argon2Variant::Id,
        version: 0x13,
        memory_kib: 64,
        passes: 1,
        lanes: 1,
        salt: b"somesalt".to_vec(),
        digest,
    };
    let users = vec![
        User { name: "alice".into(), hash: PasswordHash::Bcrypt(bcrypt) },
        User { name: "b\u{f6}b".into(), hash: PasswordHash::Argon2(argon2) },
    ];
    let header = header.map(http::HeaderName::from_static);
    BasicAuth::new(&spec::BasicAuth { realm: "staff only".into(), users, header, pass_credentials }, &offload(runtime))
}

fn asked(authorization: &[String]) -> Box<Request> {
    let mut request = testing::request(Method::GET, "/");
    for value in authorization {
        request.head.headers.append(header::AUTHORIZATION, value.parse().unwrap());
    }
    request.head.headers.insert("x-user", "forged".parse().unwrap());
    request
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", BASE64.encode(credentials))
}

#[test]
fn only_who_knows_a_password_passes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let step = step(&runtime, Some("x-user"), false);
    let alice = basic("alice:secret");
    let cases = [
        (vec![alice.clone()], Some("alice")),
        (vec![alice.replace("Basic ", "bAsIc  ")], Some("alice")),
        (vec![alice.trim_end_matches('=').to_owned()], Some("alice")),
        (vec![basic("b\u{f6}b:gr\u{fc}n:er")], Some("b\u{f6}b")),
        (vec![basic("alice:wrong")], None),
        (vec![basic("alice:gr\u{fc}n:er")], None),
        (vec![basic("nobody:secret")], None),
        (vec![basic("alice")], None),
        (vec![basic(":")], None),
        (vec![alice.clone(), alice.clone()], None),
        (vec![alice.replace("Basic", "Bearer")], None),
        (vec!["Basic".into()], None),
        (vec!["Basic !!!".into()], None),
        (vec![basic(&format!("alice:{}", "x".repeat(5000)))], None),
        (vec![], None),
    ];
    for (authorization, user) in cases {
        let request = asked(&authorization);
        let exchange = Rc::clone(&request.exchange);
        let visit = step.begin(&exchange);
        match runtime.block_on(visit.request(request).settle()).unwrap() {
            ControlFlow::Continue(request) => {
                assert_eq!(request.head.headers["x-user"].as_bytes(), user.expect("passes").as_bytes());
                assert!(!request.head.headers.contains_key(header::AUTHORIZATION));
                let noted = exchange.attributes.borrow().clone();
                assert_eq!(noted, [("basic-auth.user".to_owned(), user.unwrap().to_owned())]);
            }
            ControlFlow::Break(response) => {
                assert_eq!((user, response.head.status), (None, StatusCode::UNAUTHORIZED), "{authorization:?}");
                let challenge = &response.head.headers[header::WWW_AUTHENTICATE];
                assert_eq!(challenge, "Basic realm=\"staff only\", charset=\"UTF-8\"");
                let failed = exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| *kind));
                assert_eq!(failed, Some(Kind::Unauthenticated));
            }
        }
    }
}

#[test]
fn who_was_verified_does_not_wait_again_and_who_was_not_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let step = step(&runtime, None, true);
    let at_once = |credentials: &str| {
        let request = asked(&[basic(credentials)]);
        matches!(step.begin(&request.exchange).request(request), Wait::Ready(Ok(ControlFlow::Continue(_))))
    };
    for credentials in ["alice:secret", "alice:wrong", "nobody:secret"] {
        assert!(!at_once(credentials));
        let request = asked(&[basic(credentials)]);
        drop(runtime.block_on(step.begin(&request.exchange).request(request).settle()));
    }
    assert!(at_once("alice:secret"));
    assert!(!at_once("alice:wrong") && !at_once("nobody:secret"), "what failed is not remembered");
    let request = asked(&[basic("alice:secret")]);
    let kept = step.begin(&request.exchange).request(request).settle().now_or_never().unwrap().unwrap();
    assert!(matches!(kept, ControlFlow::Continue(request) if request.head.headers.contains_key(header::AUTHORIZATION)));
}
