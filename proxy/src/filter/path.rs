//! A change of path, as redirects and rewrites share it (Gateway API `HTTPPathModifier`). What is configured is made
//! valid when the step is built, so that what comes out is a valid path whatever was asked for.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{config::spec::PathEdit, exchange::Request};

/// What may not stand in a path as it is (RFC 3986 section 3.3); `%` stays, so that encoded text is not encoded again.
const NOT_IN_PATH: &AsciiSet = &NOT_IN_QUERY.add(b'?').add(b'{').add(b'}');

/// What may not stand in a query as it is (RFC 3986 section 3.4).
const NOT_IN_QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'|');

/// A change of path.
#[derive(Debug)]
pub(super) enum PathChange {
    Full(String),
    // Without trailing slash.
    Prefix(String),
}

impl PathChange {
    /// The change that `edit` asks for.
    pub(super) fn new(edit: &PathEdit) -> Self {
        let rooted = |path: &str| {
            let path = encoded(path);
            if path.is_empty() || path.starts_with('/') { path.into_owned() } else { format!("/{path}") }
        };
        match edit {
            PathEdit::Full(path) if path.is_empty() => Self::Full("/".into()),
            PathEdit::Full(path) => Self::Full(rooted(path)),
            PathEdit::Prefix(path) => Self::Prefix(rooted(path).trim_end_matches('/').into()),
        }
    }

    /// The new path of `request`. The prefix that its route matched is replaced; where the path does not begin with it
    /// (an earlier step has changed it), it stays.
    pub(super) fn apply<'a>(&'a self, request: &'a Request) -> Cow<'a, str> {
        let path = request.head.uri.path();
        let replacement = match self {
            Self::Full(path) => return Cow::Borrowed(path),
            Self::Prefix(replacement) => replacement,
        };
        let route = request.exchange.route();
        let prefix = route.as_ref().map_or("", |route| &*route.prefix);
        match path.strip_prefix(prefix) {
            Some("") if replacement.is_empty() => Cow::Borrowed("/"),
            Some("") => Cow::Borrowed(replacement),
            Some(rest) if rest.starts_with('/') => Cow::Owned(format!("{replacement}{rest}")),
            _ => Cow::Borrowed(path),
        }
    }

    /// For `explain`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Full(path) => format!("path {path}"),
            Self::Prefix(prefix) => format!("path prefix {prefix}/"),
        }
    }
}

/// `path` with everything encoded that may not stand in one.
pub(super) fn encoded(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, NOT_IN_PATH).into()
}

/// `query` with everything encoded that may not stand in one.
pub(super) fn encoded_query(query: &str) -> Cow<'_, str> {
    utf8_percent_encode(query, NOT_IN_QUERY).into()
}

#[cfg(test)]
pub(super) mod tests {
    use std::rc::Rc;

    use http::Method;

    use super::*;
    use crate::exchange::{RouteFacts, testing};

    /// A request on a route that matched `prefix`.
    pub(in crate::filter) fn routed(uri: &str, prefix: &str) -> Box<Request> {
        let request = testing::request(Method::GET, uri);
        let facts = RouteFacts { id: "route".into(), prefix: prefix.into(), pattern: "".into() };
        request.exchange.put_on(&Rc::new(facts));
        request
    }

    /// The Gateway API's own table, then what it leaves open.
    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        let cases = [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "", "/xyz", "/xyz/foo/bar"),
            ("/", "", "/xyz", "/xyz/"),
            ("/foobar", "/foo", "/xyz", "/foobar"),
            ("/other", "/foo", "/xyz", "/other"),
            ("*", "", "/xyz", "*"),
            ("/foo/a%2fb", "/foo", "/ü ?#", "/%C3%BC%20%3F%23/a%2fb"),
            ("/foo/bar", "/foo", "xyz", "/xyz/bar"),
        ];
        for (path, prefix, replacement, expected) in cases {
            let change = PathChange::new(&PathEdit::Prefix(replacement.into()));
            assert_eq!(change.apply(&routed(path, prefix)), expected, "{path} {prefix} {replacement}");
        }
    }

    #[test]
    fn a_whole_path_is_replaced() {
        for (replacement, expected) in [("/new", "/new"), ("", "/"), ("new/", "/new/"), ("/a b?c", "/a%20b%3Fc")] {
            let change = PathChange::new(&PathEdit::Full(replacement.into()));
            assert_eq!(change.apply(&routed("/foo/bar", "/foo")), expected);
        }
    }
}
