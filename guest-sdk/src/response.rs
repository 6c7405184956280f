//! The head of a response, and answers of a plugin's own.

use crate::{
    Refused, Result,
    bindings::tidegate::plugin::{http, types},
};

/// The head of a response. Reading asks the gateway for what is read and nothing else; changes are made at once.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a>(pub(crate) &'a http::Response);

impl Response<'_> {
    /// Its status.
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// Sets the status.
    ///
    /// # Errors
    /// [`Refused`] unless it is 200 to 599, and for a protocol switch.
    pub fn set_status(&self, status: u16) -> Result<(), Refused> {
        Ok(self.0.set_status(status)?)
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

/// An answer of the plugin's own, in the upstream's place. The gateway sets `content-length`.
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
    pub const fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Vec::new() }
    }

    /// The same with one more field.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same with a body of this type.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.field("content-type", content_type)
    }

    /// The same with a short text as its body.
    pub fn text(self, text: impl Into<Vec<u8>>) -> Self {
        self.body("text/plain; charset=utf-8", text)
    }
}

impl From<LocalResponse> for types::LocalResponse {
    fn from(response: LocalResponse) -> Self {
        let field = |(name, value)| types::Field { name, value };
        Self { status: response.status, fields: response.fields.into_iter().map(field).collect(), body: response.body }
    }
}
