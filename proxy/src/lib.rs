//! Tidegate: an API gateway whose routes and WebAssembly middleware change while it runs.
//!
//! The library is the gateway; the binary only reads the command line. `ARCHITECTURE.md` draws the two flows
//! (a request, a configuration change) through the rooms below and says what each room may name.

pub mod admin;
pub mod cli;
pub mod compile;
pub mod config;
pub mod control;
pub mod drain;
pub mod error;
pub mod etcd;
pub mod exchange;
pub mod explain;
pub mod fetch;
pub mod filter;
pub mod fleet;
pub mod gateway;
pub mod identity;
pub mod last_good;
pub mod listen;
pub mod program;
pub mod publish;
pub mod quickstart;
pub mod reload;
pub mod resolve;
#[cfg_attr(not(target_os = "linux"), path = "ring/elsewhere.rs")]
pub mod ring;
pub mod route;
pub mod server;
pub mod signals;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod state_dir;
pub mod telemetry;
pub mod tls;
pub mod upstream;
mod urgency;
pub mod wasm;
pub mod worker;

pub use gateway::{AdminChoice, Gateway, Options, StartError};
