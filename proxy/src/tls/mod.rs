//! TLS: certificates by name, handshakes, and a socket that is encrypted or not. Builds from a checked specification;
//! everything in it is immutable and part of a snapshot. Must not know HTTP, documents or what is done with a socket.

mod acceptor;
mod certificate;
mod connector;
mod names;
mod peer;
mod socket;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verifier;
mod worker_socket;

pub use acceptor::{Acceptor, Handshake, Refusal, Tickets};
pub use connector::{Connector, Offer, SystemRoots, https};
pub use socket::Socket;
pub use worker_socket::WorkerSocket;
