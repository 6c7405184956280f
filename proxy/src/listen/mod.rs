//! Listening: sockets and the accept loop. One socket a worker and address (`SO_REUSEPORT`), owned by the process and
//! not by a snapshot. Must know nothing of HTTP: a connection is handed to `server` as it is.

mod accept;
mod bind;
mod quic;

pub use accept::accept;
pub use bind::{Bound, Sockets, Transport, bind};
pub use quic::accept as accept_quic;

pub use crate::server::{Door, Hall};
