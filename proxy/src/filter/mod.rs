//! The seam between the gateway and its middleware: a chain of steps around the call to an upstream. Built-in steps
//! have one file each; plugins arrive here as [`Filter`]s and look like any other. Must not name wasmtime or hyper.
//!
//! An error becomes a response where it happens ([`Response::of_error`]), and the steps outside of that place see it
//! like any other response: security headers, CORS and logs of plugins hold for the gateway's own answers too. The
//! exchange's record keeps what failed, whatever the steps make of the response.

mod addresses;
mod aside;
mod basic_auth;
mod builtin;
mod cache;
mod chain;
mod compress;
mod concurrency;
mod cors;
mod course;
mod decompress;
mod explain;
mod forward_auth;
mod grpc_web;
mod headers;
mod ip_access;
mod lists;
mod maintenance;
mod mirror;
mod own;
mod path;
mod redirect;
mod request_id;
mod respond;
mod rewrite;

use std::{ops::ControlFlow, rc::Rc, sync::Arc};

use futures_util::future::LocalBoxFuture;
use serde::Serialize;

pub use self::{
    builtin::builtin,
    chain::Chain,
    course::{Reroute, Way},
    explain::Explained,
};
use crate::{
    error::Error,
    exchange::{Exchange, Request, Response},
};

/// A step that may wait, and that may keep something of its own from the request to the response.
pub trait Filter: Send + Sync {
    /// Begins its part in one exchange.
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit>;

    /// Whether requests of the method `TRACE` are its to see, and so to be sent on where it is: elsewhere none is.
    fn takes_trace(&self) -> bool {
        false
    }

    /// Whether it goes without what the upstream is told among a request's fields: it looks at no field of those, and puts none
    /// there, before it has them [spelled out](Exchange::spell_out).
    fn takes_told(&self) -> bool {
        false
    }

    /// Whether it may [ask](Exchange::reroute) for the route to be chosen anew.
    fn reroutes(&self) -> bool {
        false
    }

    /// What it does, in a few words, for `explain`.
    fn describe(&self) -> String;
}

/// The part of one step in one exchange: the request on its way in, and the response on its way out. It ends when it
/// is dropped; the exchange may be dropped at any time before.
pub trait Visit {
    /// Sees the request. To break off is to answer in the upstream's place: the steps before this one still see the
    /// answer.
    ///
    /// # Errors
    /// Ends the exchange; the steps before this one see the response that the error becomes.
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>>;

    /// Whether it has a say in the response. Asked when the response is there.
    fn sees_response(&self) -> bool {
        true
    }

    /// Sees the response, whether an upstream's, a later step's, or what an error became.
    ///
    /// # Errors
    /// Takes the place of the response; the steps before this one see the response that the error becomes.
    fn response(self: Rc<Self>, response: Response) -> Wait<Response>;

    /// Resolves when it answers before the rest of the chain has: what is under way there ends, and
    /// [`Visit::response`] is asked, with an empty response, for the answer. Asked once, after it let the request pass.
    fn early(&self) -> Option<LocalBoxFuture<'static, ()>> {
        None
    }

    /// What goes on along the rest of the chain though this visit has answered. Asked once, after it broke off.
    fn aside(&self) -> Option<Aside> {
        None
    }
}

/// A request that no client waits for, on an exchange of its own, and who sees the response.
pub struct Aside {
    /// Goes through the steps after the one that sends it aside.
    pub request: Box<Request>,
    /// Sees the response; what it makes of it is read to its end.
    pub visit: Rc<dyn Visit>,
}

/// What comes of a phase: it is there, or it is waited for. Only what may have to wait is allocated.
pub enum Wait<T> {
    /// It is there.
    Ready(Result<T, Error>),
    /// It may come later.
    Pending(LocalBoxFuture<'static, Result<T, Error>>),
}

/// A step that never waits: edits heads in place and costs no allocation.
pub trait Edit: Send + Sync {
    /// Sees the request on its way in. `Answer` answers in the upstream's place; the steps before this one still see
    /// the answer.
    ///
    /// # Errors
    /// Ends the exchange; the steps before this one see the response that the error becomes.
    fn request(&self, _request: &mut Request) -> Result<Flow, Error> {
        Ok(Flow::Continue)
    }

    /// Sees the response on its way out.
    fn response(&self, _exchange: &Rc<Exchange>, _response: &mut Response) {}

    /// As [`Filter::takes_told`].
    fn takes_told(&self) -> bool {
        false
    }

    /// What it does, in a few words, for `explain`.
    fn describe(&self) -> String;
}

/// What an [`Edit`] wants to happen next.
#[derive(Debug)]
pub enum Flow {
    /// Go on along the chain.
    Continue,
    /// Answer with this.
    Answer(Box<Response>),
}

/// One step of a chain: a middleware's name, where it was asked for, and what it does.
#[derive(Clone)]
pub struct Step {
    /// The middleware's name; for an inline definition, `<route id>/<position>`.
    pub name: Arc<str>,
    /// Whose list of middleware it comes from.
    pub origin: Origin,
    /// What it does.
    pub action: Action,
}

/// Whose list of middleware a step comes from, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The gateway's.
    Gateway,
    /// A listener's.
    Listener,
    /// A route's.
    Route,
}

/// The two shapes of a step.
#[derive(Clone)]
pub enum Action {
    /// Never waits.
    Edit(Arc<dyn Edit>),
    /// May wait.
    Around(Arc<dyn Filter>),
}

impl<T> Wait<T> {
    /// Waits for `later`.
    pub fn on(later: impl Future<Output = Result<T, Error>> + 'static) -> Self {
        Self::Pending(Box::pin(later))
    }

    async fn settle(self) -> Result<T, Error> {
        match self {
            Self::Ready(outcome) => outcome,
            Self::Pending(later) => later.await,
        }
    }
}
