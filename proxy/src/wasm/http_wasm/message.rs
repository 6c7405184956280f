//! What guests see and change of a message's head and trailers. What is not a guest's to change is left as it is; what
//! cannot be is a trap, as the ABI has it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    uri::{Authority, PathAndQuery},
};
use wasmtime::{Result, bail};

use super::visit::{Visit, feature};
use crate::exchange::is_framing;

/// Bytes of a target or a field value that a guest sets.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Fields of a head, or trailers, that a guest adds to.
const FIELDS_MAX: usize = 256;

/// `header_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    Request,
    Response,
    RequestTrailers,
    ResponseTrailers,
}

/// A change to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// Takes the place of all values.
    Set(&'a [u8]),
    /// Comes beside them.
    Add(&'a [u8]),
    Remove,
}

/// Texts that are given together: each ends with a zero byte.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Many {
    pub(super) count: u32,
    pub(super) bytes: Vec<u8>,
}

impl Many {
    fn push(&mut self, text: &[u8]) {
        self.count += 1;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
    }
}

impl Fields {
    /// By its number.
    pub(super) fn of(kind: u32) -> Result<Self> {
        Ok(match kind {
            0 => Self::Request,
            1 => Self::Response,
            2 => Self::RequestTrailers,
            3 => Self::ResponseTrailers,
            _ => bail!("{kind} is no kind of header"),
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Request => "request header",
            Self::Response => "response header",
            Self::RequestTrailers => "request trailer",
            Self::ResponseTrailers => "response trailer",
        }
    }

    const fn are_trailers(self) -> bool {
        matches!(self, Self::RequestTrailers | Self::ResponseTrailers)
    }
}

impl Visit {
    /// The names of all fields, each once.
    pub(super) fn names(&self, kind: Fields) -> Many {
        let mut names = Many::default();
        let is_request = kind == Fields::Request;
        if is_request {
            names.push(b"host");
        }
        self.with(kind, |fields| {
            let others = fields.keys().filter(|name| !is_request || **name != http::header::HOST);
            others.for_each(|name| names.push(name.as_ref()));
        });
        names
    }

    /// The values of one field.
    pub(super) fn values(&self, kind: Fields, name: &[u8]) -> Many {
        let mut values = Many::default();
        // What is no name is the name of no field.
        let Ok(name) = HeaderName::from_bytes(name) else { return values };
        if kind == Fields::Request && name == http::header::HOST {
            if let Some((_, authority)) = &*self.request.borrow() {
                values.push(authority.as_str().as_bytes());
            }
            return values;
        }
        self.with(kind, |fields| fields.get_all(&name).iter().for_each(|value| values.push(value.as_bytes())));
        values
    }

    fn with(&self, kind: Fields, f: impl FnOnce(&HeaderMap)) {
        match kind {
            Fields::Request => {
                if let Some((head, _)) = &*self.request.borrow() {
                    f(&head.headers);
                }
            }
            Fields::Response => {
                let response = self.response.borrow();
                f(response.head.as_ref().map_or(response.edits.fields(), |head| &head.headers));
            }
            _ if !self.has(feature::TRAILERS) => {}
            Fields::RequestTrailers => f(&self.request_body.borrow().trailers()),
            Fields::ResponseTrailers => f(&self.response_body.borrow().trailers()),
        }
    }

    /// Changes a field.
    ///
    /// # Errors
    /// Where that is not HTTP, over a limit, or not the guest's any more.
    pub(super) fn change(&self, kind: Fields, name: &[u8], change: Change<'_>) -> Result<()> {
        if kind.are_trailers() && !self.has(feature::TRAILERS) {
            bail!("it changes a {}, and did not enable trailers", kind.name());
        }
        match kind {
            Fields::Request | Fields::RequestTrailers => self.before_next(kind.name())?,
            Fields::Response | Fields::ResponseTrailers => self.may_answer(kind.name())?,
        }
        let name = match HeaderName::from_bytes(name) {
            Ok(name) => name,
            Err(_) if change == Change::Remove => return Ok(()),
            Err(_) => bail!("it sets a {} whose name is not HTTP", kind.name()),
        };
        if is_framing(&name) || name == "http2-settings" {
            // The gateway's own, by the body that goes on.
            return Ok(());
        }
        if name == http::header::HOST && kind == Fields::Request {
            return self.change_host(change);
        }
        self.make(kind, name, change)
    }

    fn make(&self, kind: Fields, name: HeaderName, change: Change<'_>) -> Result<()> {
        match kind {
            Fields::Request => match &mut *self.request.borrow_mut() {
                Some((head, _)) => in_place(&mut head.headers, name, change),
                None => Ok(()),
            },
            Fields::Response => {
                let response = &mut *self.response.borrow_mut();
                match &mut response.head {
                    Some(head) => in_place(&mut head.headers, name, change),
                    None => later(&mut response.edits, name, change),
                }
            }
            Fields::RequestTrailers => later(&mut self.request_body.borrow_mut().edits, name, change),
            Fields::ResponseTrailers => later(&mut self.response_body.borrow_mut().edits, name, change),
        }
    }

    // The host is the request's authority: there is always one, and only one.
    fn change_host(&self, change: Change<'_>) -> Result<()> {
        let (Change::Set(host) | Change::Add(host)) = change else { return Ok(()) };
        let host = std::str::from_utf8(host).map(str::to_ascii_lowercase);
        let parsed = host.ok().and_then(|host| host.parse::<Authority>().ok());
        let Some(parsed) = parsed.filter(|host| !host.as_str().contains('@')) else {
            bail!("it sets a host that is none");
        };
        if let Some((_, authority)) = &mut *self.request.borrow_mut() {
            *authority = parsed;
        }
        Ok(())
    }

    /// The method.
    pub(super) fn method(&self) -> Option<Method> {
        self.request.borrow().as_ref().map(|(head, _)| head.method.clone())
    }

    /// Changes the method.
    ///
    /// # Errors
    /// Where it is none, none that is forwarded, or the request has gone on.
    pub(super) fn set_method(&self, method: &[u8]) -> Result<()> {
        self.before_next("method")?;
        let method = Method::from_bytes(method).ok();
        let Some(method) = method.filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE)) else {
            bail!("it sets a method that is none, or none that is forwarded");
        };
        if let Some((head, _)) = &mut *self.request.borrow_mut() {
            head.method = method;
        }
        Ok(())
    }

    /// The target: path and query.
    pub(super) fn uri(&self) -> String {
        let request = self.request.borrow();
        let target = request.as_ref().and_then(|(head, _)| head.uri.path_and_query());
        target.map_or("/", PathAndQuery::as_str).to_owned()
    }

    /// Changes the target. That of another host is taken without the host.
    ///
    /// # Errors
    /// Where it is none, or the request has gone on.
    pub(super) fn set_uri(&self, uri: &[u8]) -> Result<()> {
        self.before_next("uri")?;
        let text = if uri.is_empty() { "/" } else { std::str::from_utf8(uri).unwrap_or_default() };
        let parsed = text.parse::<Uri>().ok().filter(|_| text.len() <= VALUE_BYTES_MAX);
        let target = parsed.and_then(|uri| uri.path_and_query().cloned()).filter(|target| target.path() != "*");
        let Some(target) = target else { bail!("it sets a uri that is none") };
        if let Some((head, _)) = &mut *self.request.borrow_mut() {
            head.uri = Uri::from(target);
        }
        Ok(())
    }

    /// The status of the response, or of the answer that the guest would give.
    pub(super) fn status(&self) -> StatusCode {
        let response = self.response.borrow();
        response.head.as_ref().map(|head| head.status).or(response.status).unwrap_or(StatusCode::OK)
    }

    /// Changes the status.
    ///
    /// # Errors
    /// Where it ends no exchange, or is not the guest's to change.
    pub(super) fn set_status(&self, status: u32) -> Result<()> {
        self.may_answer("status code")?;
        let parsed = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        let Some(parsed) = parsed.and_then(|status| StatusCode::from_u16(status).ok()) else {
            bail!("it sets the status code {status}, which ends no exchange");
        };
        let response = &mut *self.response.borrow_mut();
        if response.switches {
            bail!("it sets the status code of a response that changes protocols");
        }
        match &mut response.head {
            Some(head) => head.status = parsed,
            None => response.status = Some(parsed),
        }
        Ok(())
    }

    /// Checks that the request is still the guest's.
    pub(super) fn before_next(&self, what: &str) -> Result<()> {
        if self.after_next.get() {
            bail!("it changes the {what} after the request went on");
        }
        Ok(())
    }

    /// Checks that the response is the guest's: its own, or one that it asked to be held back.
    pub(super) fn may_answer(&self, what: &str) -> Result<()> {
        if self.after_next.get() && !self.has(feature::BUFFER_RESPONSE) {
            bail!("it changes the {what} of a response that came, and did not enable buffer_response");
        }
        Ok(())
    }
}

fn in_place(fields: &mut HeaderMap, name: HeaderName, change: Change<'_>) -> Result<()> {
    match change {
        Change::Set(value) => {
            let fits = fields.len() < FIELDS_MAX || fields.contains_key(&name);
            fields.insert(name, content(value, fits)?);
        }
        Change::Add(value) => {
            let fits = fields.len() < FIELDS_MAX;
            fields.append(name, content(value, fits)?);
        }
        Change::Remove => drop(fields.remove(name)),
    }
    Ok(())
}

fn later(edits: &mut super::edits::Edits, name: HeaderName, change: Change<'_>) -> Result<()> {
    let fits = edits.len() < FIELDS_MAX;
    match change {
        Change::Set(value) => edits.set(name, content(value, fits)?),
        Change::Add(value) => edits.add(name, content(value, fits)?),
        Change::Remove if fits => edits.remove(&name),
        Change::Remove => {}
    }
    Ok(())
}

// A line end in a value would begin another field: the field's hosts have put a space in its place, and so do we.
fn content(value: &[u8], fits: bool) -> Result<HeaderValue> {
    if !fits {
        bail!("it sets more than {FIELDS_MAX} fields");
    }
    if value.len() > VALUE_BYTES_MAX {
        bail!("it sets a value of {} bytes, over the limit of {VALUE_BYTES_MAX}", value.len());
    }
    let line: Vec<u8> = value.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
    HeaderValue::from_bytes(line.trim_ascii()).map_err(|_| wasmtime::Error::msg("it sets a value that is not HTTP"))
}
