//! Configuration, from bytes to a checked specification. Pure: reads nothing but what it is given.
//! `raw` is what people write, `spec` is what the gateway builds from; `check` leads from one to the other. The way:
//! `parse` → `document` → `merge` → `check` (`decode` → `raw`) → `cross`, led by `load`, remembered by `memo`.

pub mod diagnostic;
pub mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod reference;
pub mod render;
pub mod report;
pub mod sarif;
pub mod schema;
pub mod spec;

mod check;
mod cross;
mod decode;
mod document;
mod load;
mod manifest;
mod memo;
mod merge;
mod named;
mod node;
mod parse;
mod patch;
mod raw;
mod secret;
mod suggest;
pub mod yielded;

pub use load::{Checked, DIAGNOSTICS_MAX, load, load_with};
pub use memo::Memo;

#[cfg(test)]
mod tests;
