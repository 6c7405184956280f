//! Cases of `head.rs`: what goes out for a request, what is taken and what refused as a response head.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::exchange::{Body, testing};

fn read(wire: &str, method: &Method) -> Result<Option<(Head, usize)>, Malformed> {
    let mut input = BytesMut::from(wire);
    let head = Reader::new(4096).read(&mut input, method, &mut HeaderMap::new())?;
    Ok(head.map(|head| (head, input.len())))
}

fn encoded(request: &Request) -> String {
    let mut out = Vec::new();
    encode(&mut out, request, None, "h:1", Sending::of(&request.body));
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_goes_out_in_origin_form_with_its_own_framing() {
    let mut request = testing::request(Method::GET, "/a?b");
    for (name, value) in [("x-one", "1"), ("expect", "100-continue"), ("content-length", "9"), ("keep-alive", "5")] {
        request.head.headers.append(name, HeaderValue::from_static(value));
    }
    assert_eq!(encoded(&request), "GET /a?b HTTP/1.1\r\nhost: h:1\r\nx-one: 1\r\ncontent-length: 0\r\n\r\n");
    request.head.headers.clear();
    assert_eq!(encoded(&request), "GET /a?b HTTP/1.1\r\nhost: h:1\r\n\r\n");
    request.upgrade = Some(HeaderValue::from_static("websocket"));
    assert!(encoded(&request).ends_with("connection: upgrade\r\nupgrade: websocket\r\n\r\n"));
    let mut request = testing::request(Method::POST, "/");
    assert!(encoded(&request).contains("content-length: 0\r\n"));
    request.body = Body::full("hello");
    request.head.headers.append("te", HeaderValue::from_static("gzip, trailers"));
    assert!(encoded(&request).ends_with("content-length: 5\r\nconnection: te\r\nte: trailers\r\n\r\n"));
}

#[test]
fn the_framing_of_a_response_follows_its_status_method_and_fields() {
    let get = Method::GET;
    for (fields, method, status, framing, keep_alive) in [
        ("content-length: 5\r\n", &get, 200, Framing::Length(5), true),
        ("content-length: 5\r\ncontent-length: 5\r\n", &get, 200, Framing::Length(5), true),
        ("content-length: 5, 5\r\n", &get, 200, Framing::Length(5), true),
        ("content-length: 5\r\nconnection: close\r\n", &get, 200, Framing::Length(5), false),
        ("content-length: 5\r\n", &Method::HEAD, 200, Framing::Length(0), true),
        ("content-length: 5\r\n", &get, 304, Framing::Length(0), true),
        ("transfer-encoding: chunked\r\n", &get, 200, Framing::Chunked, true),
        ("transfer-encoding: Chunked\r\ncontent-length: 3\r\n", &get, 200, Framing::Chunked, false),
        ("", &get, 200, Framing::UntilClose, false),
        ("", &get, 204, Framing::Length(0), true),
        ("upgrade: x\r\nconnection: upgrade\r\n", &get, 101, Framing::Length(0), false),
    ] {
        let wire = format!("HTTP/1.1 {status} x\r\n{fields}\r\nrest");
        let (head, rest) = read(&wire, method).unwrap().unwrap();
        assert_eq!((head.framing, head.keep_alive, rest), (framing, keep_alive, 4), "{status} {fields:?}");
        let kept = head.parts.headers.get("content-length").is_some();
        assert_eq!(kept, fields.contains("length") && framing != Framing::Chunked, "{status} {fields:?}");
        assert_eq!(head.parts.headers.contains_key("upgrade"), status == 101);
    }
}

#[test]
fn fields_of_the_connection_are_not_passed_on() {
    let wire = "HTTP/1.0 200 OK\r\nConnection: Keep-Alive, X-Private\r\nKeep-Alive: 3\r\nx-private: 1\r\n\
                Proxy-Connection: x\r\nUpgrade: h2c\r\ncontent-length: 0\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n";
    let (head, _) = read(wire, &Method::GET).unwrap().unwrap();
    assert!(head.keep_alive);
    let names: Vec<_> = head.parts.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["set-cookie", "set-cookie", "content-length"]);
}

#[test]
fn informational_responses_are_skipped() {
    let wire =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let (head, rest) = read(wire, &Method::GET).unwrap().unwrap();
    assert_eq!((head.parts.status.as_u16(), head.parts.headers.len(), rest), (204, 0, 0));
    assert!(read(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(17), &Method::GET).is_err());
}

#[test]
fn what_is_malformed_or_ambiguous_is_refused() {
    for fields in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: -1\r\n",
        "content-length: +1\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: identity\r\n",
        "a : b\r\n",
        "a b\r\n",
        "a: b\r\n c\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "a: \0\r\n",
        ": x\r\n",
    ] {
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET).is_err(), "{fields:?}");
    }
    for wire in ["HTTP/2.0 200 OK\r\n\r\n", "hello\r\n\r\n", "HTTP/1.1 99999 x\r\n\r\n", "\x16\x03\x01\r\n\r\n"] {
        assert!(read(wire, &Method::GET).is_err(), "{wire:?}");
    }
    assert!(read("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &Method::GET).is_err());
    let many = "a: b\r\n".repeat(129);
    assert!(read(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), &Method::GET).is_err());
    let long = "x".repeat(4100);
    assert!(read(&format!("HTTP/1.1 200 OK\r\na: {long}"), &Method::GET).is_err(), "without an end");
    assert!(read(&format!("HTTP/1.1 200 OK\r\na: {long}\r\n\r\n"), &Method::GET).is_err(), "with an end");
}

#[test]
fn a_head_is_read_however_it_is_cut() {
    let wire = b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\n\r\nabc";
    for cut in 0..wire.len() - 3 {
        let (mut reader, mut input, mut fields) = (Reader::new(4096), BytesMut::from(&wire[..cut]), HeaderMap::new());
        let early = reader.read(&mut input, &Method::GET, &mut fields).unwrap();
        assert!(early.is_none(), "cut at {cut}");
        input.extend_from_slice(&wire[cut..]);
        let head = reader.read(&mut input, &Method::GET, &mut fields).unwrap().unwrap();
        assert_eq!((head.parts.headers.len(), &input[..]), (2, &b"abc"[..]), "cut at {cut}");
    }
    let bare = "HTTP/1.1 200 OK\ncontent-length: 0\n\n";
    assert!(read(bare, &Method::GET).unwrap().is_some(), "bare LF ends a line as well");
}
