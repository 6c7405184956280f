//! The head of the request that a table is asked about: the gateway's, or one that a test made.

use super::host;

/// The head of the request that a table is asked about. In a guest every method asks the gateway; a test makes one with
/// [`Request::of`].
///
/// ```
/// # use tidegate_guest::table::Request;
/// let request = Request::of("GET", "http://a.example/p?x=1").with_header("cookie", "canary=always").with_client("10.0.0.1");
/// assert_eq!((request.method(), request.authority(), request.path()), ("GET".into(), "a.example".into(), "/p".into()));
/// assert_eq!((request.query(), request.cookie("canary")), (Some("x=1".into()), Some("always".into())));
/// assert_eq!((request.header("cookie").is_some(), request.header_values("x-none").len()), (true, 0));
/// assert_eq!((request.client_address(), request.listener(), request.is_secure()), ("10.0.0.1".into(), "test".into(), false));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Request {
    given: Option<Given>,
}

#[derive(Clone, Debug)]
struct Given {
    method: String,
    authority: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    client: String,
}

impl Request {
    /// A request for tests: `Request::of("GET", "http://a.example/path?query")`, from 127.0.0.1.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example/path?query");
    /// assert_eq!(request.client_address(), "127.0.0.1");
    /// ```
    pub fn of(method: &str, url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, target) = rest.split_at(slash);
        let target = if target.is_empty() { "/" } else { target };
        let (method, authority, target) = (method.to_owned(), authority.to_ascii_lowercase(), target.to_owned());
        Self { given: Some(Given { method, authority, target, headers: Vec::new(), client: "127.0.0.1".into() }) }
    }

    /// The same with a header field more.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example/").with_header("X-User", "jane");
    /// assert_eq!(request.header("x-user").as_deref(), Some("jane"));
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let Some(given) = &mut self.given {
            given.headers.push((name.to_ascii_lowercase(), value.as_ref().to_vec()));
        }
        self
    }

    /// The same from another client.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example/").with_client("192.0.2.7");
    /// assert_eq!(request.client_address(), "192.0.2.7");
    /// ```
    #[must_use]
    pub fn with_client(mut self, address: &str) -> Self {
        if let Some(given) = &mut self.given {
            given.client = address.to_owned();
        }
        self
    }

    /// `GET`, `POST`, ...
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1");
    /// assert_eq!(request.method(), "GET");
    /// ```
    pub fn method(&self) -> String {
        self.given.as_ref().map_or_else(host::method, |given| given.method.clone())
    }

    /// The host that it is for, with its port if one was given.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1");
    /// assert_eq!(request.authority(), "a.example:8080");
    /// ```
    pub fn authority(&self) -> String {
        self.given.as_ref().map_or_else(host::authority, |given| given.authority.clone())
    }

    /// Normalised, percent-encoded, without the query.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1");
    /// assert_eq!(request.path(), "/p");
    /// ```
    pub fn path(&self) -> String {
        let path = |given: &Given| given.target.split('?').next().unwrap_or_default().to_owned();
        self.given.as_ref().map_or_else(host::path, path)
    }

    /// Without the `?`; `None` if there is no `?`.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1");
    /// assert_eq!(request.query().as_deref(), Some("x=1"));
    /// ```
    pub fn query(&self) -> Option<String> {
        let query = |given: &Given| given.target.split_once('?').map(|(_, query)| query.to_owned());
        self.given.as_ref().map_or_else(host::query, query)
    }

    /// The first value of a field, if it is UTF-8.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1").with_header("x-beta", "1");
    /// assert_eq!(request.header("X-Beta").as_deref(), Some("1"));
    /// ```
    pub fn header(&self, name: &str) -> Option<String> {
        let value = match &self.given {
            Some(given) => given.values(name).next(),
            None => host::header(name),
        };
        value.and_then(|value| String::from_utf8(value).ok())
    }

    /// Every value of a field, in order.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1")
    ///     .with_header("accept", "a")
    ///     .with_header("accept", "b");
    /// assert_eq!(request.header_values("accept"), [b"a", b"b"]);
    /// ```
    pub fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        match &self.given {
            Some(given) => given.values(name).collect(),
            None => host::header_values(name),
        }
    }

    /// The value of a cookie.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1").with_header("cookie", "a=b; canary=always");
    /// assert_eq!(request.cookie("canary").as_deref(), Some("always"));
    /// ```
    pub fn cookie(&self, name: &str) -> Option<String> {
        let Some(given) = &self.given else { return host::cookie(name) };
        given.values("cookie").filter_map(|line| String::from_utf8(line).ok()).find_map(|line| {
            let mut pairs = line.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned())
        })
    }

    /// The client's address, behind trusted proxies.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1");
    /// assert_eq!(request.client_address(), "127.0.0.1");
    /// ```
    pub fn client_address(&self) -> String {
        self.given.as_ref().map_or_else(host::client_address, |given| given.client.clone())
    }

    /// Whether the client's own request was encrypted.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1");
    /// assert!(!request.is_secure());
    /// ```
    pub fn is_secure(&self) -> bool {
        self.given.is_none() && host::secure()
    }

    /// The listener's name.
    ///
    /// ```
    /// # use tidegate_guest::table::Request;
    /// let request = Request::of("GET", "http://a.example:8080/p?x=1");
    /// assert_eq!(request.listener(), "test");
    /// ```
    pub fn listener(&self) -> String {
        self.given.as_ref().map_or_else(host::listener, |_| "test".to_owned())
    }
}

impl Given {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_a_test_reads_as_one_of_the_gateway_does() {
        let request = Request::of("GET", "http://A.example:8080/p/q?x=1").with_header("Cookie", "a=1; canary=\"on\"");
        assert_eq!(
            (request.authority(), request.path(), request.query()),
            ("a.example:8080".into(), "/p/q".into(), Some("x=1".into()))
        );
        assert_eq!((request.cookie("canary").as_deref(), request.cookie("nary")), (Some("on"), None));
        assert_eq!((request.header("COOKIE").is_some(), request.header_values("x").len()), (true, 0));
    }
}
