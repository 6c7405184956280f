//! Configuration, from bytes to a checked specification. Pure: reads nothing but what it is given.
//! `raw` is what people write, `spec` is what the gateway builds from; `check` leads from one to the other.

pub mod diagnostic;
pub mod spec;
