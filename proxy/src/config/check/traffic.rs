//! Checks the steps that shape what passes. Knows nothing of what they do.

use http::HeaderName;

use super::{scope::Scope, steps};
use crate::config::{
    raw,
    spec::{Middleware, RequestId},
};

pub(super) fn request_id(scope: &mut Scope<'_>, raw: raw::RequestId) -> Option<Middleware> {
    let header = match raw.header.spot() {
        Some((text, pos)) => steps::editable(scope, &text, pos, true)?,
        None => HeaderName::from_static("x-request-id"),
    };
    let (accept, respond) = (raw.accept.or(false), raw.respond.or(true));
    Some(Middleware::RequestId(RequestId { header, accept, respond }))
}
