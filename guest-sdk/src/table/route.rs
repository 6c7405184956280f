//! A route as a table yields it, field by field. Knows no request; what the fields mean is the gateway's to say.

use std::{fmt, time::Duration};

use serde_json::{Map, Value};

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
    pub(super) name: String,
    fields: Map<String, Value>,
}

impl Route {
    /// A route of this name, unique in its table: letters, digits, `-`, `_` and `.`.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("orders").name(), "orders");
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), fields: Map::new() }
    }

    /// Serves this host (`api.example.com`, `*.example.com`); may be called again for further ones.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// let route = Route::new("a").host("a.example.com").host("*.a.example.com");
    /// assert_eq!(route.definition(), r#"{"host":["a.example.com","*.a.example.com"]}"#);
    /// ```
    pub fn host(self, host: impl Into<String>) -> Self {
        self.push("host", host.into().into())
    }

    /// Serves on this listener only; may be called again for further ones.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("a").listener("web").definition(), r#"{"listeners":"web"}"#);
    /// ```
    pub fn listener(self, listener: impl Into<String>) -> Self {
        self.push("listeners", listener.into().into())
    }

    /// Serves this path: `/exact`, `/prefix/*`, `/users/{id}` or `~^/regex$`.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("a").path("/orders/*").definition(), r#"{"path":"/orders/*"}"#);
    /// ```
    pub fn path(self, path: impl Into<String>) -> Self {
        self.field("path", path.into())
    }

    /// Serves this method; may be called again for further ones.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// let route = Route::new("a").method("GET").method("HEAD");
    /// assert_eq!(route.definition(), r#"{"method":["GET","HEAD"]}"#);
    /// ```
    pub fn method(self, method: impl Into<String>) -> Self {
        self.push("method", method.into().into())
    }

    /// Serves requests whose header has this value; may be called again for further headers.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("a").header("x-beta", "1").definition(), r#"{"headers":{"x-beta":"1"}}"#);
    /// ```
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.insert("headers", name.into(), value.into().into())
    }

    /// Serves requests whose query parameter has this value; may be called again for further ones.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("a").query("v", "2").definition(), r#"{"query":{"v":"2"}}"#);
    /// ```
    pub fn query(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.insert("query", name.into(), value.into().into())
    }

    /// Runs this middleware, which a document defines; may be called again for further ones, in order.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// let route = Route::new("a").middleware("auth").middleware("limit");
    /// assert_eq!(route.definition(), r#"{"middleware":["auth","limit"]}"#);
    /// ```
    pub fn middleware(self, name: impl Into<String>) -> Self {
        self.push("middleware", name.into().into())
    }

    /// Leads to this upstream, which a document defines.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("a").upstream("orders").definition(), r#"{"upstream":"orders"}"#);
    /// ```
    pub fn upstream(self, upstream: impl Into<String>) -> Self {
        self.field("upstream", upstream.into())
    }

    /// Leads to this upstream with a weight; may be called again for further ones. Instead of [`Route::upstream`].
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// let route = Route::new("a").weighted("one", 9).weighted("two", 1);
    /// assert!(route.definition().contains(r#"{"upstream":"two","weight":1}"#));
    /// ```
    pub fn weighted(mut self, upstream: impl Into<String>, weight: u32) -> Self {
        let target = serde_json::json!({"upstream": upstream.into(), "weight": weight});
        let targets = self.fields.entry("targets").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(targets) = targets {
            targets.push(target);
        }
        self
    }

    /// Bounds the whole exchange.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidegate_guest::table::Route;
    /// let route = Route::new("a").timeout(Duration::from_secs(2));
    /// assert_eq!(route.definition(), r#"{"timeout":"2000ms"}"#);
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        self.field("timeout", format!("{}ms", timeout.as_millis()))
    }

    /// Sets any field of a route, as the configuration reference names it (`body-bytes-max`, `matches`, ...).
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// let route = Route::new("a").field("target", "10.0.1.20:8080");
    /// assert_eq!(route.definition(), r#"{"target":"10.0.1.20:8080"}"#);
    /// ```
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// Its name.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("orders").path("/*").name(), "orders");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says, as JSON.
    ///
    /// ```
    /// # use tidegate_guest::table::Route;
    /// assert_eq!(Route::new("orders").definition(), "{}");
    /// ```
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

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.definition())
    }
}

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
}
