//! What a client and an upstream send in a test, and what they get.

use std::ops::Deref;

use super::exchange::Facts;
use crate::LocalResponse;

/// A request as a client sends it; built up from [`ClientRequest::get`] and its kin.
///
/// ```
/// # use tidegate_guest::testing::ClientRequest;
/// let request = ClientRequest::post("/users?notify", r#"{"name": "jane"}"#)
///     .header("content-type", "application/json")
///     .client("192.0.2.7")
///     .route("users");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientRequest {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) authority: String,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) facts: Facts,
    pub(super) attributes: Vec<(String, String)>,
}

impl ClientRequest {
    /// A request for `target` (path and query), to `test.example`, from 192.0.2.1 over HTTP/1.1, by the listener `web` and
    /// the route `test`.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::new("DELETE", "/users/7");
    /// ```
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            authority: "test.example".to_owned(),
            fields: Vec::new(),
            chunks: Vec::new(),
            facts: Facts::default(),
            attributes: Vec::new(),
        }
    }

    /// A `GET`.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/users/7");
    /// ```
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` with a body.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::post("/users", "name=jane");
    /// ```
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(body)
    }

    /// The same with one more field.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").header("accept", "*/*");
    /// ```
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same with this body, which comes at once and says its length.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::new("PUT", "/users/7").body("name=jane");
    /// ```
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self { chunks: vec![body], ..self }.header("content-length", length)
    }

    /// The same with a body that comes in these chunks.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::new("PUT", "/users/7").chunks(["name=", "jane"]);
    /// ```
    pub fn chunks(mut self, chunks: impl IntoIterator<Item: Into<Vec<u8>>>) -> Self {
        self.chunks = chunks.into_iter().map(Into::into).collect();
        self
    }

    /// The same for this host.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").authority("api.example:8080");
    /// ```
    pub fn authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// The same from this address.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").client("2001:db8::7");
    /// ```
    pub fn client(mut self, address: &str) -> Self {
        address.clone_into(&mut self.facts.client);
        self
    }

    /// The same, encrypted or not.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").secure(true);
    /// ```
    pub fn secure(mut self, secure: bool) -> Self {
        self.facts.secure = secure;
        self
    }

    /// The same over this protocol.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").protocol("HTTP/2.0");
    /// ```
    pub fn protocol(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.facts.protocol);
        self
    }

    /// The same by this listener.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").listener("internal");
    /// ```
    pub fn listener(mut self, listener: &str) -> Self {
        listener.clone_into(&mut self.facts.listener);
        self
    }

    /// The same on this route.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").route("users");
    /// ```
    pub fn route(mut self, id: &str) -> Self {
        self.facts.route = Some(id.to_owned());
        self
    }

    /// The same with an attribute that a plugin earlier in the chain has set, by its full name.
    ///
    /// ```
    /// # use tidegate_guest::testing::ClientRequest;
    /// let request = ClientRequest::get("/").attribute("key-auth.consumer", "jane");
    /// ```
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A response as an upstream sends it.
///
/// ```
/// # use tidegate_guest::testing::UpstreamResponse;
/// let response = UpstreamResponse::new(200).header("content-type", "application/json").body("{}");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct UpstreamResponse {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) error: Option<String>,
}

impl UpstreamResponse {
    /// A response without fields and body.
    ///
    /// ```
    /// # use tidegate_guest::testing::UpstreamResponse;
    /// let response = UpstreamResponse::new(204);
    /// ```
    pub const fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), chunks: Vec::new(), error: None }
    }

    /// No response: what the gateway answers in place of an upstream that failed (`upstream_timeout`, ...).
    ///
    /// ```
    /// # use tidegate_guest::testing::UpstreamResponse;
    /// let response = UpstreamResponse::failed(504, "upstream_timeout");
    /// ```
    pub fn failed(status: u16, error: &str) -> Self {
        Self { error: Some(error.to_owned()), ..Self::new(status) }
    }

    /// The same with one more field.
    ///
    /// ```
    /// # use tidegate_guest::testing::UpstreamResponse;
    /// let response = UpstreamResponse::new(200).header("etag", "\"1\"");
    /// ```
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same with this body, which comes at once and says its length.
    ///
    /// ```
    /// # use tidegate_guest::testing::UpstreamResponse;
    /// let response = UpstreamResponse::new(200).body("hello");
    /// ```
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self { chunks: vec![body], ..self }.header("content-length", length)
    }

    /// The same with a body that comes in these chunks.
    ///
    /// ```
    /// # use tidegate_guest::testing::UpstreamResponse;
    /// let response = UpstreamResponse::new(200).chunks(["hel", "lo"]);
    /// ```
    pub fn chunks(mut self, chunks: impl IntoIterator<Item: Into<Vec<u8>>>) -> Self {
        self.chunks = chunks.into_iter().map(Into::into).collect();
        self
    }
}

impl From<LocalResponse> for UpstreamResponse {
    fn from(response: LocalResponse) -> Self {
        let plain = Self { status: response.status, fields: response.fields, chunks: Vec::new(), error: None };
        if response.body.is_empty() { plain } else { plain.body(response.body) }
    }
}

/// The fields and the body of a message that arrived.
///
/// ```
/// # use tidegate_guest::testing::Message;
/// let message = Message { fields: vec![("etag".into(), b"1".to_vec())], chunks: vec![b"hel".to_vec(), b"lo".to_vec()] };
/// assert_eq!((message.header("etag"), message.text().as_str()), (Some("1"), "hello"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its fields, names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its body as it came.
    pub chunks: Vec<Vec<u8>>,
}

impl Message {
    /// The first value of a field, if it is UTF-8.
    ///
    /// ```
    /// # use tidegate_guest::testing::Message;
    /// assert_eq!(Message::default().header("etag"), None);
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).first().copied()
    }

    /// Every value of a field that is UTF-8, in order.
    ///
    /// ```
    /// # use tidegate_guest::testing::Message;
    /// assert!(Message::default().header_values("etag").is_empty());
    /// ```
    #[must_use]
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let found = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect()
    }

    /// The whole body.
    ///
    /// ```
    /// # use tidegate_guest::testing::Message;
    /// assert!(Message::default().body().is_empty());
    /// ```
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// The whole body as text; what is not UTF-8 is replaced.
    ///
    /// ```
    /// # use tidegate_guest::testing::Message;
    /// assert_eq!(Message::default().text(), "");
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }
}

/// A request as the upstream gets it. Its fields and body are those of the [`Message`].
///
/// ```
/// # use tidegate_guest::testing::Forwarded;
/// fn is_for_jane(forwarded: &Forwarded) -> bool {
///     forwarded.path == "/users/jane" && forwarded.header("x-consumer") == Some("jane")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// `GET`, `POST`, ...
    pub method: String,
    /// What goes out as `Host`.
    pub authority: String,
    /// The path, percent-encoded.
    pub path: String,
    /// The query without its `?`.
    pub query: Option<String>,
    /// Fields and body.
    pub message: Message,
}

/// A response as the client gets it. Its fields and body are those of the [`Message`].
///
/// ```
/// # use tidegate_guest::testing::Received;
/// fn is_refused(received: &Received) -> bool {
///     received.status == 401 && received.header("www-authenticate").is_some()
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Its status.
    pub status: u16,
    /// Fields and body.
    pub message: Message,
}

impl Deref for Forwarded {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
