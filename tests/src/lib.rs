//! The harness: what a black-box test of the gateway is written with. Knows the gateway by its front door only.
#![allow(clippy::missing_panics_doc, reason = "a harness that cannot go on stops the test, and says where")]

pub mod base64;
mod client;
mod config_dir;
pub mod etcd;
mod eventually;
mod gateway;
pub mod guests;
pub mod origin;
pub mod process;
pub mod raw;
pub mod wire;

pub use client::{Answer, Client, Sender, Streamed, request, streamed};
pub use config_dir::ConfigDir;
pub use etcd::Etcd;
pub use eventually::{eventually, soon};
pub use gateway::{Gateway, WEB};
pub use origin::Origin;
pub use process::{Process, free_address, tidegate};
pub use raw::Raw;
