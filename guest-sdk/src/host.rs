//! Whoever runs the plugin: the gateway where it is a guest, the test host elsewhere. The rest of the crate names only
//! this module, so that the same code talks to either.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::tidegate::plugin::{
    body, clock, exchange, http, kv, log, metrics, random, types, upstream,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::{
    bindings::tidegate::plugin::types,
    testing::imports::{body, clock, exchange, http, kv, log, metrics, random, upstream},
};
