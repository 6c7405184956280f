//! Answers with a redirect (Gateway API `HTTPRequestRedirectFilter`). What is not configured stays as it was asked
//! for; the query always does.
//!
//! The port: as configured; else, where a scheme is configured, the well-known one of that scheme; else the
//! listener's. Where a trusted proxy stands before the gateway, the client never saw the listener's port, and the one
//! that it asked for stays. A port that is the well-known one of the scheme is not written.

use http::{HeaderValue, StatusCode, header};

use super::{Edit, Flow, path, path::PathChange};
use crate::{
    config::spec,
    error::{Error, Kind},
    exchange::{Request, Response},
};

/// The step.
pub(super) struct Redirect {
    scheme: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    path: Option<PathChange>,
    status: StatusCode,
}

impl Redirect {
    /// A step that answers with this redirect.
    pub(super) fn new(spec: &spec::Redirect) -> Self {
        Self {
            scheme: spec.scheme.clone(),
            host: spec.host.clone(),
            port: spec.port,
            path: spec.path.as_ref().map(PathChange::new),
            status: spec.status,
        }
    }

    fn location(&self, request: &Request) -> String {
        let asked = if request.exchange.secure { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(asked);
        let host = self.host.as_deref().unwrap_or_else(|| request.authority.host());
        let path = self.path.as_ref().map_or(request.head.uri.path().into(), |change| change.apply(request));
        let mut location = [scheme, "://", host].concat();
        if let Some(port) = self.port(request).filter(|port| well_known(scheme) != Some(*port)) {
            location.extend([":", &port.to_string()]);
        }
        location.push_str(&path::encoded(&path));
        if let Some(query) = request.head.uri.query() {
            location.extend(["?", &path::encoded_query(query)]);
        }
        location
    }

    // `None` is the well-known one.
    fn port(&self, request: &Request) -> Option<u16> {
        if self.port.is_some() || self.scheme.is_some() {
            return self.port;
        }
        let (exchange, connection) = (&request.exchange, &request.exchange.connection);
        let proxied = exchange.client != connection.peer.ip() || exchange.secure != connection.secure;
        if proxied { request.authority.port_u16() } else { Some(connection.local.port()) }
    }
}

fn well_known(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl Edit for Redirect {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        let location = HeaderValue::try_from(self.location(request))
            .map_err(|error| Error::because(Kind::MalformedRequest, "the target cannot be redirected", error))?;
        let mut response = Response::empty(self.status);
        response.head.headers.insert(header::LOCATION, location);
        Ok(Flow::Answer(Box::new(response)))
    }

    fn takes_told(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let named = [("scheme", &self.scheme), ("host", &self.host), ("port", &self.port.map(|port| port.to_string()))];
        let named = named.into_iter().filter_map(|(what, value)| value.as_ref().map(|value| format!("{what} {value}")));
        let parts: Vec<_> = named.chain(self.path.as_ref().map(PathChange::describe)).collect();
        format!("redirect with {} to {}", self.status.as_u16(), parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, rc::Rc};

    use super::*;
    use crate::{config::spec::PathEdit, exchange::Connection, filter::path::tests::routed};

    fn spec(scheme: &str, host: &str, port: u16, path: Option<PathEdit>) -> spec::Redirect {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let port = (port > 0).then_some(port);
        spec::Redirect { scheme: text(scheme), host: text(host), port, path, status: StatusCode::FOUND }
    }

    // On a connection to our port `local`, seen from a client that is not the peer where `proxied`.
    fn asked(uri: &str, local: u16, secure: bool, proxied: bool) -> Box<Request> {
        let mut request = routed(uri, "/foo");
        let exchange = Rc::get_mut(&mut request.exchange).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let connection = Connection {
            listener: "web".into(),
            peer: address(9),
            local: address(local),
            proxy: None,
            secure,
            tls: None,
        };
        (exchange.connection, exchange.secure) = (Rc::new(connection), secure);
        if proxied {
            exchange.client = [192, 0, 2, 1].into();
            exchange.secure = true;
        }
        request
    }

    #[test]
    fn location_is_what_the_gateway_api_says() {
        let full = |path: &str| Some(PathEdit::Full(path.into()));
        let prefix = |path: &str| Some(PathEdit::Prefix(path.into()));
        let direct = [
            (spec("https", "", 0, None), "http://a.test:8080/foo?x=1", 8080, false, "https://a.test/foo?x=1"),
            (spec("https", "", 8443, None), "http://a.test/foo", 80, false, "https://a.test:8443/foo"),
            (spec("https", "", 443, None), "http://a.test/foo", 80, false, "https://a.test/foo"),
            (spec("http", "", 443, None), "http://a.test/foo", 80, false, "http://a.test:443/foo"),
            (spec("", "b.test", 0, None), "http://a.test/foo", 80, false, "http://b.test/foo"),
            (spec("", "b.test", 0, None), "http://a.test/foo", 8080, false, "http://b.test:8080/foo"),
            (spec("", "", 8081, None), "http://a.test/foo", 8080, true, "https://a.test:8081/foo"),
            (spec("", "", 80, None), "http://a.test/foo", 8080, false, "http://a.test/foo"),
            (spec("", "", 0, full("/new")), "http://a.test/foo?q", 443, true, "https://a.test/new?q"),
            (spec("", "", 0, prefix("/new")), "http://a.test/foo/x", 80, false, "http://a.test/new/x"),
            (spec("", "", 0, prefix("/")), "http://a.test/foo", 80, false, "http://a.test/"),
            (spec("https", "", 0, None), "http://[::1]:81/foo", 80, false, "https://[::1]/foo"),
            (spec("https", "", 0, None), "http://u:p@a.test/foo", 80, false, "https://a.test/foo"),
            (spec("https", "", 0, None), "http://a.test//evil.test/..", 80, false, "https://a.test//evil.test/.."),
            (
                spec("https", "", 0, None),
                "http://a.test/%0d%0aü?%0aü",
                80,
                false,
                "https://a.test/%0d%0a%C3%BC?%0a%C3%BC",
            ),
        ];
        for (spec, uri, local, secure, expected) in direct {
            assert_eq!(location(&spec, *asked(uri, local, secure, false)), expected, "{spec:?} {uri}");
        }
        let proxied = [
            (spec("", "", 0, full("/new")), "http://a.test/foo", "https://a.test/new"),
            (spec("", "", 0, full("/new")), "http://a.test:8443/foo", "https://a.test:8443/new"),
            (spec("", "b.test", 0, None), "http://a.test/foo", "https://b.test/foo"),
        ];
        for (spec, uri, expected) in proxied {
            assert_eq!(location(&spec, *asked(uri, 8080, false, true)), expected, "{spec:?} {uri}");
        }
    }

    fn location(spec: &spec::Redirect, mut request: Request) -> String {
        let Ok(Flow::Answer(response)) = Redirect::new(spec).request(&mut request) else { panic!("no answer") };
        assert_eq!(response.head.status, StatusCode::FOUND);
        response.head.headers[header::LOCATION].to_str().unwrap().to_owned()
    }
}
