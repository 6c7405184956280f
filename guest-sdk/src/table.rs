//! Routing tables: modules that yield routes, and may choose among them for each request.
//!
//! A table is a type that implements [`Table`] and is exported with [`export!`](crate::export):
//!
//! ```
//! use tidegate_guest::{Problems, Result, table::{Route, Table}};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     tenants: Vec<String>,
//! }
//!
//! struct Tenants(Settings);
//!
//! impl Table for Tenants {
//!     type Settings = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, Problems> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn routes(&self) -> Result<Vec<Route>, Problems> {
//!         let route = |tenant: &String| Route::new(tenant).host(format!("{tenant}.example.com")).upstream(tenant);
//!         Ok(self.0.tenants.iter().map(route).collect())
//!     }
//! }
//!
//! tidegate_guest::export!(table Tenants);
//!
//! let table = Tenants::new(Settings { tenants: vec!["a".into()] })?;
//! assert_eq!(table.routes()?[0].definition(), r#"{"host":"a.example.com","upstream":"a"}"#);
//! # Ok::<(), Problems>(())
//! ```

use std::{fmt, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Problems, Result};

/// A routing table with one configuration.
pub trait Table: Sized + 'static {
    /// The configuration, as it stands under `config:` in the document. Where there is none, an empty object is read.
    type Settings: DeserializeOwned;

    /// Makes a table of a configuration, when it is loaded, and once in every guest that is to choose.
    ///
    /// # Errors
    /// What is wrong with the configuration; all of it, each with where. The gateway refuses the configuration then.
    fn new(settings: Self::Settings) -> Result<Self, Problems>;

    /// The routes, in order: of two that match equally well, the first serves. The same configuration must yield the
    /// same routes.
    ///
    /// # Errors
    /// As [`Table::new`].
    fn routes(&self) -> Result<Vec<Route>, Problems>;

    /// Whether [`Table::select`] is to be asked about every request. The routes then serve what they are selected for,
    /// and nothing else.
    fn selects(&self) -> bool {
        false
    }

    /// The name of the route that serves a request; `None` leaves it to the routes of documents. The route must match
    /// the request, too.
    ///
    /// # Errors
    /// A failure of the table: logged and counted, and the routes of documents serve.
    fn select(&self, request: &Request) -> Result<Option<String>> {
        let _ = request;
        Ok(None)
    }
}

/// A route under construction. What it says is checked by the gateway as if it stood in a document.
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_guest::table::Route;
/// let route = Route::new("orders")
///     .host("shop.example.com")
///     .host("*.shop.example.com")
///     .listener("web")
///     .path("/orders/*")
///     .method("GET")
///     .header("x-api-version", "2")
///     .query("format", "json")
///     .middleware("auth")
///     .weighted("orders-v1", 9)
///     .weighted("orders-v2", 1)
///     .timeout(Duration::from_secs(5))
///     .field("body-bytes-max", "1MiB");
/// assert_eq!(route.name(), "orders");
/// assert!(route.definition().contains(r#""path":"/orders/*""#));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Route {
    name: String,
    fields: Map<String, Value>,
}

impl Route {
    /// A route of this name, unique in its table: letters, digits, `-`, `_` and `.`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), fields: Map::new() }
    }

    /// Serves this host (`api.example.com`, `*.example.com`); may be called again for further ones.
    pub fn host(self, host: impl Into<String>) -> Self {
        self.push("host", host.into().into())
    }

    /// Serves on this listener only; may be called again for further ones.
    pub fn listener(self, listener: impl Into<String>) -> Self {
        self.push("listeners", listener.into().into())
    }

    /// Serves this path: `/exact`, `/prefix/*`, `/users/{id}` or `~^/regex$`.
    pub fn path(self, path: impl Into<String>) -> Self {
        self.field("path", path.into())
    }

    /// Serves this method; may be called again for further ones.
    pub fn method(self, method: impl Into<String>) -> Self {
        self.push("method", method.into().into())
    }

    /// Serves requests whose header has this value; may be called again for further headers.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.insert("headers", name.into(), value.into().into())
    }

    /// Serves requests whose query parameter has this value; may be called again for further ones.
    pub fn query(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.insert("query", name.into(), value.into().into())
    }

    /// Runs this middleware, which a document defines; may be called again for further ones, in order.
    pub fn middleware(self, name: impl Into<String>) -> Self {
        self.push("middleware", name.into().into())
    }

    /// Leads to this upstream, which a document defines.
    pub fn upstream(self, upstream: impl Into<String>) -> Self {
        self.field("upstream", upstream.into())
    }

    /// Leads to this upstream with a weight; may be called again for further ones. Instead of [`Route::upstream`].
    pub fn weighted(mut self, upstream: impl Into<String>, weight: u32) -> Self {
        let target = serde_json::json!({"upstream": upstream.into(), "weight": weight});
        let targets = self.fields.entry("targets").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(targets) = targets {
            targets.push(target);
        }
        self
    }

    /// Bounds the whole exchange.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.field("timeout", format!("{}ms", timeout.as_millis()))
    }

    /// Sets any field of a route, as the configuration reference names it (`body-bytes-max`, `matches`, ...).
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says, as JSON.
    pub fn definition(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }

    // One value stands alone, several are a list.
    fn push(mut self, field: &str, value: Value) -> Self {
        match self.fields.get_mut(field) {
            None => drop(self.fields.insert(field.into(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
        self
    }

    fn insert(mut self, field: &str, name: String, value: Value) -> Self {
        let map = self.fields.entry(field).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(map) = map {
            map.insert(name, value);
        }
        self
    }
}

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
    pub fn of(method: &str, url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, target) = rest.split_at(slash);
        let target = if target.is_empty() { "/" } else { target };
        let (method, authority, target) = (method.to_owned(), authority.to_ascii_lowercase(), target.to_owned());
        Self { given: Some(Given { method, authority, target, headers: Vec::new(), client: "127.0.0.1".into() }) }
    }

    /// The same with a header field more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let Some(given) = &mut self.given {
            given.headers.push((name.to_ascii_lowercase(), value.as_ref().to_vec()));
        }
        self
    }

    /// The same from another client.
    #[must_use]
    pub fn with_client(mut self, address: &str) -> Self {
        if let Some(given) = &mut self.given {
            given.client = address.to_owned();
        }
        self
    }

    /// `GET`, `POST`, ...
    pub fn method(&self) -> String {
        self.given.as_ref().map_or_else(host::method, |given| given.method.clone())
    }

    /// The host that it is for, with its port if one was given.
    pub fn authority(&self) -> String {
        self.given.as_ref().map_or_else(host::authority, |given| given.authority.clone())
    }

    /// Normalised, percent-encoded, without the query.
    pub fn path(&self) -> String {
        let path = |given: &Given| given.target.split('?').next().unwrap_or_default().to_owned();
        self.given.as_ref().map_or_else(host::path, path)
    }

    /// Without the `?`; `None` if there is no `?`.
    pub fn query(&self) -> Option<String> {
        let query = |given: &Given| given.target.split_once('?').map(|(_, query)| query.to_owned());
        self.given.as_ref().map_or_else(host::query, query)
    }

    /// The first value of a field, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = match &self.given {
            Some(given) => given.values(name).next(),
            None => host::header(name),
        };
        value.and_then(|value| String::from_utf8(value).ok())
    }

    /// Every value of a field, in order.
    pub fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        match &self.given {
            Some(given) => given.values(name).collect(),
            None => host::header_values(name),
        }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let Some(given) = &self.given else { return host::cookie(name) };
        given.values("cookie").filter_map(|line| String::from_utf8(line).ok()).find_map(|line| {
            let mut pairs = line.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned())
        })
    }

    /// The client's address, behind trusted proxies.
    pub fn client_address(&self) -> String {
        self.given.as_ref().map_or_else(host::client_address, |given| given.client.clone())
    }

    /// Whether the client's own request was encrypted.
    pub fn is_secure(&self) -> bool {
        self.given.is_none() && host::secure()
    }

    /// The listener's name.
    pub fn listener(&self) -> String {
        self.given.as_ref().map_or_else(host::listener, |_| "test".to_owned())
    }
}

impl Given {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }
}

/// A number below `of` that a text always stands for, spread evenly over texts: what a stable share of users is made
/// with. It is no secret, and who can choose the text can choose the number.
///
/// ```
/// let share = (0..10_000).filter(|user| tidegate_guest::table::stable(&format!("user-{user}"), 100) < 10).count();
/// assert!((900..=1100).contains(&share));
/// ```
pub fn stable(text: &str, of: u32) -> u32 {
    // FNV-1a, and the finish of MurmurHash3, as the low bits of the first alone are not even for short texts.
    let mut hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    let even = hash ^ (hash >> 33);
    u32::try_from((u128::from(even) * u128::from(of)) >> 64).unwrap_or(0)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.definition())
    }
}

#[doc(hidden)]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod exported;
mod host;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use exported::ExportedTable;

/// Lets the compiler check a table where none is exported.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub const fn is_table<T: Table>() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_what_a_document_would_say() {
        let route = Route::new("a")
            .host("a.example")
            .host("b.example")
            .path("/x/*")
            .header("x-a", "1")
            .middleware("auth")
            .weighted("one", 9)
            .weighted("two", 1)
            .timeout(Duration::from_secs(2));
        let expected = serde_json::json!({
            "host": ["a.example", "b.example"],
            "path": "/x/*",
            "headers": {"x-a": "1"},
            "middleware": "auth",
            "targets": [{"upstream": "one", "weight": 9}, {"upstream": "two", "weight": 1}],
            "timeout": "2000ms",
        });
        assert_eq!(serde_json::from_str::<Value>(&route.definition()).unwrap(), expected);
    }

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
