//! How a routing table that chooses by itself is asked: a request's head goes in, and comes back with a route's name.
//! Knows neither routes nor guests.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use http::request;

use super::{Authority, Worker};

/// A request that a table is asked about. All of it can be sent to another thread; whoever asks gets it back.
#[derive(Debug)]
pub struct Asked {
    /// Method, target (path and query only) and fields.
    pub head: request::Parts,
    /// The host that it is for, with its port if one was sent.
    pub authority: Authority,
    /// The client's address, behind trusted proxies.
    pub client: IpAddr,
    /// Whether the client's own request was encrypted.
    pub secure: bool,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The generation that asks, for logs.
    pub generation: u64,
}

/// What would be chosen, or why nothing would.
pub type Trial = Result<Option<Arc<str>>, String>;

/// A table that chooses among its routes.
pub trait Select: Send + Sync {
    /// The name of the route that is to serve; `None` where the table leaves it to the routes that are matched, and
    /// where it failed, which is logged and counted here. On `worker`, within the table's deadline.
    fn select<'a>(&'a self, worker: &'a Worker, asked: Asked) -> LocalBoxFuture<'a, (Asked, Option<Arc<str>>)>;

    /// The same off the request path, for whoever wants to know what would be chosen: logs and counts nothing.
    fn trial(&self, asked: Asked) -> BoxFuture<'_, (Asked, Trial)>;
}

impl std::fmt::Debug for dyn Select {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Select")
    }
}
