//! The head of a request.

use crate::{Refused, Result, bindings::tidegate::plugin::http};

/// The head of a request. Reading asks the gateway for what is read and nothing else; changes are made at once.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a>(pub(crate) &'a http::Request);

impl Request<'_> {
    /// `GET`, `POST`, ...
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// Sets the method.
    ///
    /// # Errors
    /// [`Refused`] for what is no method, and for `CONNECT` and `TRACE`.
    pub fn set_method(&self, method: &str) -> Result<(), Refused> {
        Ok(self.0.set_method(method)?)
    }

    /// The host that the request is for, with its port if one was given.
    pub fn authority(&self) -> String {
        self.0.authority()
    }

    /// Sets the authority, which goes out as `Host`.
    ///
    /// # Errors
    /// [`Refused`] for what is no host.
    pub fn set_authority(&self, authority: &str) -> Result<(), Refused> {
        Ok(self.0.set_authority(authority)?)
    }

    /// The path as routed: normalised, percent-encoded, without the query.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// Sets the path. The route stays what it is.
    ///
    /// # Errors
    /// [`Refused`] for what is no path in origin form.
    pub fn set_path(&self, path: &str) -> Result<(), Refused> {
        Ok(self.0.set_path(path)?)
    }

    /// The query without its `?`; `None` if there is no `?`.
    pub fn query(&self) -> Option<String> {
        self.0.query()
    }

    /// Sets or removes the query.
    ///
    /// # Errors
    /// [`Refused`] for what is no query.
    pub fn set_query(&self, query: Option<&str>) -> Result<(), Refused> {
        Ok(self.0.set_query(query)?)
    }

    /// The first value of a field, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_bytes(name).and_then(|value| String::from_utf8(value).ok())
    }

    /// The first value of a field.
    pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.0.header(name)
    }

    /// Every value of a field, in order.
    pub fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.0.header_values(name)
    }

    /// Every field, names in lower case.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.0.headers().into_iter().map(|field| (field.name, field.value)).collect()
    }

    /// Sets a field to one value, whatever it had.
    ///
    /// # Errors
    /// [`Refused`]; see there.
    pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        Ok(self.0.set_header(name, value.as_ref())?)
    }

    /// Adds a value to a field.
    ///
    /// # Errors
    /// [`Refused`]; see there.
    pub fn append_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        Ok(self.0.append_header(name, value.as_ref())?)
    }

    /// Removes every value of a field.
    ///
    /// # Errors
    /// [`Refused`]; see there.
    pub fn remove_header(&self, name: &str) -> Result<(), Refused> {
        Ok(self.0.remove_header(name)?)
    }
}
