//! The head of a response, and answers of a plugin's own.

use crate::{Refused, Result, headers::header_methods, host::http};

/// The head of a response. Reading asks the gateway for what is read and nothing else; changes are made at once.
///
/// ```
/// # use tidegate_guest::{Response, Result, Verdict};
/// fn on_response(response: Response) -> Result<Verdict> {
///     response.set_header("x-content-type-options", "nosniff")?;
///     Ok(Verdict::Proceed)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Response<'a>(pub(crate) &'a http::Response);

impl Response<'_> {
    /// Its status.
    ///
    /// ```
    /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
    /// # Host::new().with_heads((ClientRequest::get("/"), UpstreamResponse::new(404)), |_, response| {
    /// assert_eq!(response.status(), 404);
    /// # });
    /// ```
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// Sets the status.
    ///
    /// # Errors
    /// [`Refused`] unless it is 200 to 599, and for a protocol switch.
    ///
    /// ```
    /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host, UpstreamResponse}};
    /// # Host::new().with_heads((ClientRequest::get("/"), UpstreamResponse::new(404)), |_, response| {
    /// response.set_status(200)?;
    /// assert_eq!(response.set_status(101), Err(Refused::Malformed));
    /// # Ok::<(), Refused>(()) }).unwrap();
    /// ```
    pub fn set_status(&self, status: u16) -> Result<(), Refused> {
        Ok(self.0.set_status(status)?)
    }

    header_methods!();
}

/// An answer of the plugin's own, in the upstream's place. The gateway sets `content-length`.
///
/// ```
/// # use tidegate_guest::{LocalResponse, Request, Result, Verdict};
/// fn on_request(request: Request) -> Result<Verdict> {
///     if request.header("authorization").is_none() {
///         let answer = LocalResponse::new(401).field("www-authenticate", "Bearer").text("who are you?");
///         return Ok(Verdict::Respond(answer));
///     }
///     Ok(Verdict::Proceed)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct LocalResponse {
    /// 200 to 599.
    pub status: u16,
    /// Its fields.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl LocalResponse {
    /// An answer without fields and body.
    ///
    /// ```
    /// # use tidegate_guest::LocalResponse;
    /// assert_eq!(LocalResponse::new(429).status, 429);
    /// ```
    pub const fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Vec::new() }
    }

    /// The same with one more field.
    ///
    /// ```
    /// # use tidegate_guest::LocalResponse;
    /// let answer = LocalResponse::new(429).field("retry-after", "1");
    /// assert_eq!(answer.fields, [("retry-after".to_owned(), b"1".to_vec())]);
    /// ```
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same with a body of this type.
    ///
    /// ```
    /// # use tidegate_guest::LocalResponse;
    /// let answer = LocalResponse::new(403).body("application/json", r#"{"error": "forbidden"}"#);
    /// assert_eq!(answer.fields[0].0, "content-type");
    /// ```
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.field("content-type", content_type)
    }

    /// The same with a short text as its body.
    ///
    /// ```
    /// # use tidegate_guest::LocalResponse;
    /// assert_eq!(LocalResponse::new(403).text("not for you").body, b"not for you");
    /// ```
    pub fn text(self, text: impl Into<Vec<u8>>) -> Self {
        self.body("text/plain; charset=utf-8", text)
    }
}
