//! The harness: what a black-box test of the gateway is written with. Knows the gateway by its front door only.
#![allow(clippy::missing_panics_doc, reason = "a harness that cannot go on stops the test, and says where")]

pub mod authz;
pub mod base64;
mod client;
pub mod collector;
mod config_dir;
pub mod depot;
pub mod dns;
pub mod envoy;
pub mod etcd;
mod eventually;
mod follower;
mod gateway;
pub mod grpc;
pub mod guests;
pub mod http2;
pub mod http3;
pub mod http_wasm;
pub mod interfaces;
pub mod origin;
mod payload;
pub mod process;
pub mod proxy_wasm;
pub mod raw;
pub mod redis;
mod texts;
pub mod tls;
pub mod tokens;
pub mod wire;

pub use client::{Answer, Client, Sender, Streamed, request, streamed};
pub use collector::Collector;
pub use config_dir::ConfigDir;
pub use dns::Dns;
pub use etcd::Etcd;
pub use eventually::{eventually, soon};
pub use follower::Follower;
pub use gateway::{Gateway, WEB};
pub use http3::Http3;
pub use origin::{Held, Hold, Origin};
pub use payload::payload;
pub use process::{Process, free_address, tidegate};
pub use raw::Raw;
pub use tls::{Authority, Issued, Tls, TlsOptions};

/// A plugin of this project, as `make plugins` has built it.
pub fn plugin(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/dist/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error} (make plugins)", path.display()))
}
