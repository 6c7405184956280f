//! Listening: sockets and the accept loop. One socket a worker and address (`SO_REUSEPORT`), owned by the process and
//! not by a snapshot. Must know nothing of HTTP: a connection is handed to `server` as it is.

mod accept;
mod bind;

pub use accept::accept;
pub use bind::{Bound, bind};

pub use crate::server::{Door, Hall};
