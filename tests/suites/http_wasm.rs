//! Modules of http-wasm as exchanges meet them: the whole ABI, with and without its features, and what becomes of
//! exchanges when guests fail. Every guest is text, made for its test; `tck` is the field's compatibility kit.

mod bodies;
mod containment;
mod examples;
mod heads;
mod tck;
mod wasi;

pub(crate) use crate::proxy_wasm::{scene, write};
