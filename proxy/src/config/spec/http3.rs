//! HTTP/3 of listeners. Knows no QUIC.

use std::time::Duration;

use serde::Serialize;

/// HTTP/3 of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Http3 {
    /// Whether responses over TCP tell clients of it.
    pub advertise: bool,
    /// The port that they are told; `None`: the listener's.
    pub advertised_port: Option<u16>,
    /// How long they may remember it.
    pub max_age: Duration,
}
