//! The head of a request.

use crate::{Refused, Result, headers::header_methods, host::http};

/// The head of a request. Reading asks the gateway for what is read and nothing else; changes are made at once.
///
/// ```
/// # use tidegate_guest::{Request, Result, Verdict};
/// fn on_request(request: Request) -> Result<Verdict> {
///     if request.header("x-internal").is_some() {
///         request.remove_header("x-internal")?;
///     }
///     Ok(Verdict::Proceed)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a>(pub(crate) &'a http::Request);

impl Request<'_> {
    /// `GET`, `POST`, ...
    ///
    /// ```
    /// # use tidegate_guest::testing::{ClientRequest, Host};
    /// # Host::new().with_request(ClientRequest::get("/"), |request| {
    /// assert_eq!(request.method(), "GET");
    /// # });
    /// ```
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// Sets the method.
    ///
    /// # Errors
    /// [`Refused`] for what is no method, and for `CONNECT` and `TRACE`.
    ///
    /// ```
    /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host}};
    /// # Host::new().with_request(ClientRequest::get("/"), |request| {
    /// request.set_method("PUT")?;
    /// assert_eq!(request.set_method("CONNECT"), Err(Refused::Reserved));
    /// # Ok::<(), Refused>(()) }).unwrap();
    /// ```
    pub fn set_method(&self, method: &str) -> Result<(), Refused> {
        Ok(self.0.set_method(method)?)
    }

    /// The host that the request is for, with its port if one was given.
    ///
    /// ```
    /// # use tidegate_guest::testing::{ClientRequest, Host};
    /// # Host::new().with_request(ClientRequest::get("/").authority("api.example:8080"), |request| {
    /// assert_eq!(request.authority(), "api.example:8080");
    /// # });
    /// ```
    pub fn authority(&self) -> String {
        self.0.authority()
    }

    /// Sets the authority, which goes out as `Host`.
    ///
    /// # Errors
    /// [`Refused`] for what is no host.
    ///
    /// ```
    /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host}};
    /// # Host::new().with_request(ClientRequest::get("/"), |request| {
    /// request.set_authority("users.internal")?;
    /// assert_eq!(request.set_authority("no host"), Err(Refused::Malformed));
    /// # Ok::<(), Refused>(()) }).unwrap();
    /// ```
    pub fn set_authority(&self, authority: &str) -> Result<(), Refused> {
        Ok(self.0.set_authority(authority)?)
    }

    /// The path as routed: normalised, percent-encoded, without the query.
    ///
    /// ```
    /// # use tidegate_guest::testing::{ClientRequest, Host};
    /// # Host::new().with_request(ClientRequest::get("/a/b?c=d"), |request| {
    /// assert_eq!(request.path(), "/a/b");
    /// # });
    /// ```
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// Sets the path. The route stays what it is, and so does the query.
    ///
    /// # Errors
    /// [`Refused`] for what is no path in origin form.
    ///
    /// ```
    /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host}};
    /// # Host::new().with_request(ClientRequest::get("/a?b=c"), |request| {
    /// request.set_path("/v2/a")?;
    /// assert_eq!((request.path(), request.query()), ("/v2/a".into(), Some("b=c".into())));
    /// assert_eq!(request.set_path("a"), Err(Refused::Malformed));
    /// # Ok::<(), Refused>(()) }).unwrap();
    /// ```
    pub fn set_path(&self, path: &str) -> Result<(), Refused> {
        Ok(self.0.set_path(path)?)
    }

    /// The query without its `?`; `None` if there is no `?`.
    ///
    /// ```
    /// # use tidegate_guest::testing::{ClientRequest, Host};
    /// # Host::new().with_request(ClientRequest::get("/a?b=c"), |request| {
    /// assert_eq!(request.query().as_deref(), Some("b=c"));
    /// # });
    /// ```
    pub fn query(&self) -> Option<String> {
        self.0.query()
    }

    /// Sets or removes the query.
    ///
    /// # Errors
    /// [`Refused`] for what is no query.
    ///
    /// ```
    /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host}};
    /// # Host::new().with_request(ClientRequest::get("/a?key=secret"), |request| {
    /// request.set_query(None)?;
    /// assert_eq!(request.query(), None);
    /// # Ok::<(), Refused>(()) }).unwrap();
    /// ```
    pub fn set_query(&self, query: Option<&str>) -> Result<(), Refused> {
        Ok(self.0.set_query(query)?)
    }

    /// Sets a field of the response, whatever it had, as soon as that is there and before [`Plugin::on_response`] sees it:
    /// a plugin that knows now what it has to add needs no call for the response. A [`LocalResponse`] has nothing of it.
    ///
    /// # Errors
    /// [`Refused`]; see there.
    ///
    /// [`Plugin::on_response`]: crate::Plugin::on_response
    /// [`LocalResponse`]: crate::LocalResponse
    ///
    /// ```
    /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host}};
    /// # Host::new().with_request(ClientRequest::get("/"), |request| {
    /// request.set_response_header("x-served-by", "tidegate")?;
    /// assert_eq!(request.set_response_header("content-length", "0"), Err(Refused::Reserved));
    /// # Ok::<(), Refused>(()) }).unwrap();
    /// ```
    pub fn set_response_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        Ok(self.0.set_response_header(name, value.as_ref())?)
    }

    /// The same, adding a value to the field. What a response with 256 fields has no room for is left out.
    ///
    /// # Errors
    /// [`Refused`]; see there.
    ///
    /// ```
    /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host}};
    /// # Host::new().with_request(ClientRequest::get("/"), |request| {
    /// request.append_response_header("vary", "accept-language")?;
    /// # Ok::<(), Refused>(()) }).unwrap();
    /// ```
    pub fn append_response_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        Ok(self.0.append_response_header(name, value.as_ref())?)
    }

    header_methods!();
}
