//! Heads of requests and responses, as plugins read and change them. A change is checked before it is made; one that
//! is refused changes nothing.

use std::cell::Cell;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    uri::{Authority, PathAndQuery},
};
use wasmtime::{Result, component::Resource};

use super::{
    RequestHandle, ResponseHandle,
    ahead::Way,
    bindings::tidegate::plugin::http::{Host, HostRequest, HostResponse},
    names::Names,
    types::{Field, Refusal},
};
use crate::{
    config::spec::FailurePolicy,
    exchange::{Request, Response, is_framing},
    wasm::{
        call::{BodyWish, Visit, active},
        guest::Data,
    },
};

/// Bytes of a target or a field value that a plugin sets.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Fields of a head that a plugin adds to.
pub(super) const FIELDS_MAX: usize = 256;

type Edited = Result<Result<(), Refusal>>;

impl Host for Data {}

impl HostRequest for Data {
    fn method(&mut self, _: Resource<RequestHandle>) -> Result<String> {
        request(|request| request.head.method.as_str().to_owned())
    }

    fn set_method(&mut self, _: Resource<RequestHandle>, method: String) -> Edited {
        edit_request(|_, request| {
            let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed)?;
            if matches!(method, Method::CONNECT | Method::TRACE) {
                return Err(Refusal::Reserved);
            }
            request.head.method = method;
            Ok(())
        })
    }

    fn authority(&mut self, _: Resource<RequestHandle>) -> Result<String> {
        request(|request| request.authority.as_str().to_owned())
    }

    fn set_authority(&mut self, _: Resource<RequestHandle>, authority: String) -> Edited {
        edit_request(|_, request| {
            let authority: Authority = authority.to_ascii_lowercase().parse().map_err(|_| Refusal::Malformed)?;
            if authority.as_str().contains('@') {
                return Err(Refusal::Malformed);
            }
            request.authority = authority;
            Ok(())
        })
    }

    fn path(&mut self, _: Resource<RequestHandle>) -> Result<String> {
        request(|request| request.head.uri.path().to_owned())
    }

    fn set_path(&mut self, _: Resource<RequestHandle>, path: String) -> Edited {
        edit_request(|_, request| {
            if !path.starts_with('/') || path.contains(['?', '#']) {
                return Err(Refusal::Malformed);
            }
            let query = request.head.uri.query();
            request.head.uri = target(query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")))?;
            Ok(())
        })
    }

    fn query(&mut self, _: Resource<RequestHandle>) -> Result<Option<String>> {
        request(|request| request.head.uri.query().map(str::to_owned))
    }

    fn set_query(&mut self, _: Resource<RequestHandle>, query: Option<String>) -> Edited {
        edit_request(|_, request| {
            if query.as_ref().is_some_and(|query| query.contains('#')) {
                return Err(Refusal::Malformed);
            }
            let path = request.head.uri.path();
            request.head.uri = target(query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))?;
            Ok(())
        })
    }

    fn header(&mut self, _: Resource<RequestHandle>, name: String) -> Result<Option<Vec<u8>>> {
        request_fields(Look::At(&name), |headers| first(headers, &name))
    }

    fn header_values(&mut self, _: Resource<RequestHandle>, name: String) -> Result<Vec<Vec<u8>>> {
        request_fields(Look::At(&name), |headers| values(headers, &name))
    }

    fn headers(&mut self, _: Resource<RequestHandle>) -> Result<Vec<Field>> {
        request_fields(Look::Around, all)
    }

    fn set_header(&mut self, _: Resource<RequestHandle>, name: String, value: Vec<u8>) -> Edited {
        edit_request_fields(Look::Around, |names, headers| Way::Set.edit(names, headers, (&name, value)))
    }

    fn append_header(&mut self, _: Resource<RequestHandle>, name: String, value: Vec<u8>) -> Edited {
        edit_request_fields(Look::Around, |names, headers| Way::Append.edit(names, headers, (&name, value)))
    }

    fn remove_header(&mut self, _: Resource<RequestHandle>, name: String) -> Edited {
        edit_request_fields(Look::At(&name), |names, headers| remove(names, headers, &name))
    }

    fn set_response_header(&mut self, _: Resource<RequestHandle>, name: String, value: Vec<u8>) -> Edited {
        ahead(Way::Set, &name, value)
    }

    fn append_response_header(&mut self, _: Resource<RequestHandle>, name: String, value: Vec<u8>) -> Edited {
        ahead(Way::Append, &name, value)
    }

    fn skip_body(&mut self, _: Resource<RequestHandle>) -> Result<()> {
        wish(|visit| &visit.request_body, |wish| wish.skip = true)
    }

    fn pass_large_body(&mut self, _: Resource<RequestHandle>) -> Result<()> {
        wish(|visit| &visit.request_body, |wish| wish.pass_large = true)
    }

    fn drop(&mut self, _: Resource<RequestHandle>) -> Result<()> {
        Ok(())
    }
}

impl HostResponse for Data {
    fn status(&mut self, _: Resource<ResponseHandle>) -> Result<u16> {
        response(|response| response.head.status.as_u16())
    }

    fn set_status(&mut self, _: Resource<ResponseHandle>, status: u16) -> Edited {
        edit_response(|_, response| {
            if response.tunnel.is_some() {
                return Err(Refusal::Reserved);
            }
            response.head.status = final_status(status)?;
            Ok(())
        })
    }

    fn header(&mut self, _: Resource<ResponseHandle>, name: String) -> Result<Option<Vec<u8>>> {
        response(|response| first(&response.head.headers, &name))
    }

    fn header_values(&mut self, _: Resource<ResponseHandle>, name: String) -> Result<Vec<Vec<u8>>> {
        response(|response| values(&response.head.headers, &name))
    }

    fn headers(&mut self, _: Resource<ResponseHandle>) -> Result<Vec<Field>> {
        response(|response| all(&response.head.headers))
    }

    fn set_header(&mut self, _: Resource<ResponseHandle>, name: String, value: Vec<u8>) -> Edited {
        edit_response(|names, response| Way::Set.edit(names, &mut response.head.headers, (&name, value)))
    }

    fn append_header(&mut self, _: Resource<ResponseHandle>, name: String, value: Vec<u8>) -> Edited {
        edit_response(|names, response| Way::Append.edit(names, &mut response.head.headers, (&name, value)))
    }

    fn remove_header(&mut self, _: Resource<ResponseHandle>, name: String) -> Edited {
        edit_response(|names, response| remove(names, &mut response.head.headers, &name))
    }

    fn skip_body(&mut self, _: Resource<ResponseHandle>) -> Result<()> {
        wish(|visit| &visit.response_body, |wish| wish.skip = true)
    }

    fn pass_large_body(&mut self, _: Resource<ResponseHandle>) -> Result<()> {
        wish(|visit| &visit.response_body, |wish| wish.pass_large = true)
    }

    fn drop(&mut self, _: Resource<ResponseHandle>) -> Result<()> {
        Ok(())
    }
}

/// The fields of a head that a plugin made, checked.
pub(in crate::wasm) fn fields(fields: Vec<Field>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.len().min(FIELDS_MAX));
    for field in fields {
        Way::Append.put(&mut headers, own(&field.name)?, content(field.value)?)?;
    }
    Ok(headers)
}

/// A status that ends an exchange.
pub(in crate::wasm) fn final_status(status: u16) -> Result<StatusCode, Refusal> {
    match status {
        200..=599 => StatusCode::from_u16(status).map_err(|_| Refusal::Malformed),
        _ => Err(Refusal::Malformed),
    }
}

/// A target in origin form, checked.
pub(super) fn target(target: String) -> Result<Uri, Refusal> {
    if target.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    PathAndQuery::try_from(target).map(Uri::from).map_err(|_| Refusal::Malformed)
}

/// Every field, as plugins see them.
pub(super) fn all(headers: &HeaderMap) -> Vec<Field> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| Field {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    headers.iter().map(field).collect()
}

fn request<R>(f: impl FnOnce(&Request) -> R) -> Result<R> {
    active(|visit| visit.request.borrow().as_deref().map(f).ok_or_else(gone))
}

/// Which of a request's fields an operation depends on.
#[derive(Clone, Copy)]
enum Look<'a> {
    /// Those of this name.
    At(&'a str),
    /// All of them: how many a head has is bounded, too.
    Around,
}

impl Look<'_> {
    // What the upstream is told costs as much as all the rest of such a call, and most never ask for any of it.
    fn spell_out(self, request: &mut Request) {
        let untold = match (self, &*request.exchange.told.borrow()) {
            (Self::At(name), Some(told)) => told.speaks_in(name),
            (Self::Around, Some(_)) => true,
            (_, None) => false,
        };
        if untold {
            request.exchange.spell_out(&mut request.head.headers);
        }
    }
}

fn request_fields<R>(look: Look<'_>, f: impl FnOnce(&HeaderMap) -> R) -> Result<R> {
    active(|visit| {
        let mut request = visit.request.borrow_mut();
        let request = request.as_deref_mut().ok_or_else(gone)?;
        look.spell_out(request);
        Ok(f(&request.head.headers))
    })
}

fn edit_request_fields(look: Look<'_>, edit: impl FnOnce(&Names, &mut HeaderMap) -> Result<(), Refusal>) -> Edited {
    edit_request(|names, request| {
        look.spell_out(request);
        edit(names, &mut request.head.headers)
    })
}

fn response<R>(f: impl FnOnce(&Response) -> R) -> Result<R> {
    active(|visit| visit.response.borrow().as_ref().map(f).ok_or_else(gone))
}

#[cold]
fn gone() -> wasmtime::Error {
    wasmtime::Error::msg("this head is not there in this phase")
}

fn edit_request(edit: impl FnOnce(&Names, &mut Request) -> Result<(), Refusal>) -> Edited {
    active(|visit| {
        let mut request = visit.request.borrow_mut();
        let request = request.as_mut().ok_or_else(gone)?;
        if undoable(visit) {
            let mut undo = visit.undo_request.borrow_mut();
            let told = || visit.exchange.told.borrow().clone();
            undo.get_or_insert_with(|| Box::new((request.head.clone(), request.authority.clone(), told())));
        }
        Ok(edit(&visit.local.names, request))
    })
}

fn edit_response(edit: impl FnOnce(&Names, &mut Response) -> Result<(), Refusal>) -> Edited {
    active(|visit| {
        let mut response = visit.response.borrow_mut();
        let response = response.as_mut().ok_or_else(gone)?;
        if undoable(visit) {
            visit.undo_response.borrow_mut().get_or_insert_with(|| Box::new(response.head.clone()));
        }
        Ok(edit(&visit.local.names, response))
    })
}

fn ahead(way: Way, name: &str, value: Vec<u8>) -> Edited {
    active(|visit| {
        visit.request.borrow().as_ref().ok_or_else(gone)?;
        Ok(visit.ahead.borrow_mut().add(&visit.local.names, way, (name, value)))
    })
}

fn wish(side: impl FnOnce(&Visit) -> &Cell<BodyWish>, change: impl FnOnce(&mut BodyWish)) -> Result<()> {
    active(|visit| {
        let side = side(visit);
        let mut wish = side.get();
        change(&mut wish);
        side.set(wish);
        Ok(())
    })
}

fn undoable(visit: &Visit) -> bool {
    visit.local.plugin.on_failure == FailurePolicy::Open
}

fn first(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    headers.get(name).map(|value| value.as_bytes().to_vec())
}

fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

fn remove(names: &Names, headers: &mut HeaderMap, name: &str) -> Result<(), Refusal> {
    headers.remove(names.own(name)?);
    Ok(())
}

pub(super) fn content(value: Vec<u8>) -> Result<HeaderValue, Refusal> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    // Takes the bytes over where it can.
    HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(|_| Refusal::Malformed)
}

/// The name of a field that plugins may change: not one that frames a message, nor `host`, which is the request's
/// authority, nor `http2-settings`, which is the connection's (RFC 7540 section 3.2.1).
pub(super) fn own(name: &str) -> Result<HeaderName, Refusal> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::Malformed)?;
    let reserved = is_framing(&name) || matches!(name.as_str(), "host" | "http2-settings");
    if reserved { Err(Refusal::Reserved) } else { Ok(name) }
}
