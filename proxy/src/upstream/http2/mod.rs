//! HTTP/2 to endpoints (RFC 9113): connections that carry many exchanges, each driven by a task of its own, shared by
//! the exchanges of one worker. The second kind of connection below a try; the first is `wire`. Must not know other
//! endpoints, nor whether a request is sent again: it says how far one got.

mod failure;
mod head;
mod incoming;
mod line;
mod lines;
mod outgoing;
mod stream;
mod tunnel;

pub(super) use lines::Lines;
pub(super) use stream::{Went, speaks_http2};
