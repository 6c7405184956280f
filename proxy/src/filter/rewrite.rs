//! Changes host or path of a request on its way to the upstream; the query stays.

use http::{Uri, uri::PathAndQuery};

use super::{Edit, Flow, own::PerWorker, path::PathChange};
use crate::{
    config::spec,
    error::{Error, Kind},
    exchange::{Authority, Request},
};

/// The longest target that [`Uri`] holds.
const TARGET_BYTES_MAX: usize = u16::MAX as usize - 1;

type Make<T> = Box<dyn Fn() -> T + Send + Sync>;

/// The step.
pub(super) struct Rewrite {
    host: Option<String>,
    authority: PerWorker<Option<Authority>, Make<Option<Authority>>>,
    path: Option<PathChange>,
}

impl Rewrite {
    /// A step that makes these changes.
    pub(super) fn new(spec: &spec::Rewrite) -> Self {
        let host = spec.host.clone();
        let make = move || host.as_deref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
        Self {
            host: spec.host.clone(),
            authority: PerWorker::new(Box::new(make)),
            path: spec.path.as_ref().map(PathChange::new),
        }
    }
}

impl Edit for Rewrite {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        // Routes are chosen by what clients ask for, and not by what upstreams are asked for.
        request.exchange.keep_route();
        if let Some(authority) = self.authority.of(&request.exchange) {
            request.authority = authority.clone();
        }
        if let Some(change) = &self.path {
            let target = target(&change.apply(request), request.head.uri.query());
            if target.len() > TARGET_BYTES_MAX {
                return Err(Error::new(Kind::UriTooLong, "the path is too long once it is rewritten"));
            }
            let target = PathAndQuery::try_from(target)
                .map_err(|error| Error::because(Kind::Internal, "the path is not valid once it is rewritten", error))?;
            request.head.uri = Uri::from(target);
        }
        Ok(Flow::Continue)
    }

    fn takes_told(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let host = self.host.as_ref().map(|host| format!("host {host}"));
        let parts: Vec<_> = host.into_iter().chain(self.path.as_ref().map(PathChange::describe)).collect();
        format!("rewrite to {}", parts.join(", "))
    }
}

fn target(path: &str, query: Option<&str>) -> String {
    let query = query.map_or(["", ""], |query| ["?", query]);
    [path, query[0], query[1]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::spec::PathEdit, filter::path::tests::routed};

    #[test]
    fn host_and_path_change_and_the_query_stays() {
        let full = |path: &str| Some(PathEdit::Full(path.into()));
        let prefix = |path: &str| Some(PathEdit::Prefix(path.into()));
        let cases = [
            (None, None, "http://a.test/foo/bar?x=1", "a.test", "/foo/bar?x=1"),
            (Some("b.test"), None, "http://a.test:81/foo?x", "b.test", "/foo?x"),
            (Some("b.test:8443"), full("/new"), "http://a.test/foo/bar", "b.test:8443", "/new"),
            (None, full("/new"), "http://a.test/foo?", "a.test", "/new?"),
            (None, prefix("/xyz"), "http://a.test/foo/bar?q=/foo", "a.test", "/xyz/bar?q=/foo"),
            (None, prefix("/"), "http://a.test/foo", "a.test", "/"),
        ];
        for (host, path, uri, authority, expected) in cases {
            let step = Rewrite::new(&spec::Rewrite { host: host.map(Into::into), path });
            let mut request = routed(uri, "/foo");
            assert!(matches!(step.request(&mut request), Ok(Flow::Continue)), "{uri}");
            assert_eq!((request.authority.as_str(), request.head.uri.to_string().as_str()), (authority, expected));
        }
    }

    #[test]
    fn a_path_that_grows_too_long_is_refused() {
        let path = Some(PathEdit::Prefix(format!("/{}", "x".repeat(40_000))));
        let step = Rewrite::new(&spec::Rewrite { host: None, path });
        let mut request = routed(&format!("/foo/{}", "y".repeat(40_000)), "/foo");
        assert_eq!(step.request(&mut request).unwrap_err().kind(), Kind::UriTooLong);
    }
}
