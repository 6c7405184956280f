//! The suites: what the gateway does, seen from outside. One binary, so that the gateway is linked once.

mod diagnostics;
mod file_events;
mod harness;
mod tidy;
