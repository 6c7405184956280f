//! A request as host functions see it: itself while it waits for what they make of it, and a copy of what went on.

use http::request;

use crate::exchange::{Authority, Request};

/// See the module.
pub(in crate::wasm::proxy_wasm) enum Shown {
    /// It waits for what they make of it.
    Here(Box<Request>),
    /// A copy of what went on, for later phases.
    Gone(Box<(request::Parts, Authority)>),
}

impl Shown {
    pub(in crate::wasm::proxy_wasm) fn head(&self) -> (&request::Parts, &Authority) {
        match self {
            Self::Here(request) => (&request.head, &request.authority),
            Self::Gone(gone) => (&gone.0, &gone.1),
        }
    }

    pub(in crate::wasm::proxy_wasm) fn head_mut(&mut self) -> (&mut request::Parts, &mut Authority) {
        match self {
            Self::Here(request) => (&mut request.head, &mut request.authority),
            Self::Gone(gone) => (&mut gone.0, &mut gone.1),
        }
    }

    /// One of what goes on.
    pub(in crate::wasm::proxy_wasm) fn gone(request: &Request) -> Self {
        Self::Gone(Box::new((request.head.clone(), request.authority.clone())))
    }

    /// The request, unless it has gone on.
    pub(in crate::wasm::proxy_wasm) fn into_here(self) -> Option<Box<Request>> {
        match self {
            Self::Here(request) => Some(request),
            Self::Gone(_) => None,
        }
    }
}
