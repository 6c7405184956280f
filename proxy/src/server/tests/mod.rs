//! The server over real sockets, in front of a chain that is made by hand.

mod ends;
mod http2;
mod limits;
mod messages;
pub(super) mod stage;
mod table;
mod tunnels;
