//! Who is believed what, and what the upstream is told.

use super::*;
use crate::server::tests::stage;

fn listener(trusted: &[&str]) -> Listener {
    let trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
    Listener { trusted_proxies, ..stage::listener() }
}

fn connection(peer: &str) -> Connection {
    let address = |text: &str| text.parse().unwrap();
    Connection {
        listener: "web".into(),
        peer: address(peer),
        local: address("127.0.0.1:8080"),
        proxy: None,
        secure: false,
        tls: None,
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

// Peer, fields, and who the client is, encrypted or not.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, bool);

#[test]
fn the_client_is_the_nearest_address_that_is_not_a_trusted_proxy() {
    let trusted = ["10.0.0.0/8", "fd00::/8"];
    let cases: &[Case<'_>] = &[
        ("192.0.2.9:1", &[("x-forwarded-for", "203.0.113.1")], "192.0.2.9", false),
        ("10.0.0.1:1", &[], "10.0.0.1", false),
        ("10.0.0.1:1", &[("x-forwarded-for", "203.0.113.1"), ("x-forwarded-proto", "https")], "203.0.113.1", true),
        ("10.0.0.1:1", &[("x-forwarded-for", "6.6.6.6, 203.0.113.1, 10.0.0.2")], "203.0.113.1", false),
        (
            "10.0.0.1:1",
            &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.1,10.0.0.2")],
            "203.0.113.1",
            false,
        ),
        ("10.0.0.1:1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3", false),
        ("10.0.0.1:1", &[("x-forwarded-for", "203.0.113.1, junk, 10.0.0.2")], "10.0.0.2", false),
        ("10.0.0.1:1", &[("x-forwarded-for", "unknown")], "10.0.0.1", false),
        ("10.0.0.1:1", &[("x-forwarded-for", "203.0.113.1:4711")], "203.0.113.1", false),
        ("10.0.0.1:1", &[("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7", false),
        ("[::ffff:10.0.0.1]:1", &[("x-forwarded-for", "::ffff:203.0.113.1")], "203.0.113.1", false),
        ("10.0.0.1:1", &[("forwarded", "for=203.0.113.1;proto=https")], "203.0.113.1", true),
        ("10.0.0.1:1", &[("forwarded", "for=6.6.6.6, For=\"[2001:db8::7]:80\";Proto=http")], "2001:db8::7", false),
        ("10.0.0.1:1", &[("forwarded", "for=_hidden")], "10.0.0.1", false),
        ("10.0.0.1:1", &[("x-forwarded-proto", "http"), ("x-forwarded-for", "203.0.113.1")], "203.0.113.1", false),
    ];
    for (peer, lines, client, secure) in cases {
        let (connection, listener) = (connection(peer), listener(&trusted));
        let headers = lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        let trust = Trust::new(&connection, &listener);
        let origin = trust.origin(&connection, &headers.collect(), &listener.trusted_proxies);
        assert_eq!(origin, (client.parse().unwrap(), *secure), "{peer} {lines:?}");
    }
}

#[test]
fn what_a_stranger_says_is_replaced() {
    let said = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=6.6.6.6"),
        ("via", "1.0 other"),
    ];
    let trust = Trust::new(&connection("[2001:db8::9]:1"), &listener(&[]));
    let known = Known::new(b"A.example:8080", &trust).unwrap();
    let mut told = headers(&said);
    trust.tell(&mut told, &known, Version::HTTP_11);
    let expected = headers(&[
        ("x-forwarded-for", "2001:db8::9"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example:8080"),
        ("x-forwarded-port", "8080"),
        ("forwarded", "for=\"[2001:db8::9]\";host=\"a.example:8080\";proto=http"),
        ("via", "1.0 other"),
        ("via", "1.1 tidegate"),
    ]);
    assert_eq!(told, expected);
}

#[test]
fn what_a_trusted_proxy_says_is_added_to() {
    let said = [("x-forwarded-for", "203.0.113.1"), ("x-forwarded-proto", "https"), ("forwarded", "for=203.0.113.1")];
    let trust = Trust::new(&connection("10.0.0.1:1"), &listener(&["10.0.0.0/8"]));
    let known = Known::new(b"a.example", &trust).unwrap();
    let mut told = headers(&said);
    trust.tell(&mut told, &known, Version::HTTP_2);
    let expected = headers(&[
        ("x-forwarded-for", "203.0.113.1, 10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-port", "8080"),
        ("forwarded", "for=203.0.113.1, for=10.0.0.1;host=a.example;proto=http"),
        ("via", "2.0 tidegate"),
    ]);
    assert_eq!(told, expected);
}
