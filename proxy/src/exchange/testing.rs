//! For unit tests of every room: requests and exchanges that belong to no connection. Not part of the gateway.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
};

use http::{Method, Version};

use super::{Body, ClientIdentity, Connection, Exchange, Request, Secured, TraceContext, Worker};
use crate::drain::Drain;

/// A request without fields and body for `uri` (absolute, or a path on `test.example`), on an exchange of its own.
pub(crate) fn request(method: Method, uri: &str) -> Box<Request> {
    request_on(exchange(), method, uri)
}

/// The same on a given exchange.
pub(crate) fn request_on(exchange: Rc<Exchange>, method: Method, uri: &str) -> Box<Request> {
    let uri: http::Uri = uri.parse().expect("a test's URI is valid");
    let authority = uri.authority().cloned().unwrap_or_else(|| "test.example".parse().expect("a host"));
    let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let (head, ()) = http::Request::builder().method(method).uri(target).body(()).expect("valid parts").into_parts();
    Box::new(Request { head, authority, body: Body::empty(), upgrade: None, exchange })
}

/// An exchange on worker 0 of two.
pub(crate) fn exchange() -> Rc<Exchange> {
    exchange_on(&Rc::default())
}

/// An exchange on a given worker, which must be the first or second.
pub(crate) fn exchange_on(worker: &Rc<Worker>) -> Rc<Exchange> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let client = ClientIdentity {
        fingerprint: "00".into(),
        subject: "CN=test".into(),
        dns_names: Vec::new(),
        uris: Vec::new(),
        authority: String::new(),
    };
    let (server_name, client) = (Some("test.example".into()), Some(client));
    let tls = Secured { version: "1.3", cipher: Some("TLS13_AES_128_GCM_SHA256"), server_name, client };
    let connection = Connection {
        listener: "test".into(),
        peer: address,
        local: address,
        proxy: None,
        secure: false,
        tls: Some(Box::new(tls)),
    };
    let trace = TraceContext { trace_id: 1, parent_id: None, span_id: 2, sampled: false, random: false };
    let pin = Drain::default().open(1, 2, None).hold(worker.index).pin();
    let client = (Version::HTTP_11, IpAddr::V4(Ipv4Addr::LOCALHOST), false);
    Rc::new(Exchange::new(Rc::clone(worker), Rc::new(connection), client, trace, pin))
}

#[test]
fn a_request_has_its_target_and_authority_apart() {
    let request = request(Method::GET, "http://a.example:81/x?y");
    assert_eq!((request.head.uri.to_string(), request.authority.as_str()), ("/x?y".into(), "a.example:81"));
    let other = request_on(exchange_on(&request.exchange.worker), Method::GET, "/");
    assert_eq!((other.authority.as_str(), exchange().generation()), ("test.example", 1));
}
