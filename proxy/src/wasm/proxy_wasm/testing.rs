//! For unit tests of the ABI: a store's data without a module. Not part of the gateway.

use std::sync::Arc;

use super::{Data, Queues, Settings};
use crate::state::kv::Space;

/// Of a VM that nothing is in.
pub(in crate::wasm) fn data() -> Data {
    let settings = Settings {
        first: false,
        vm_id: "test".into(),
        vm_config: Vec::new(),
        environment: Vec::new(),
        space: Arc::new(Space::new(1 << 10)),
        own_queues: Arc::default(),
        queues: Arc::new(Queues::default()),
    };
    Data::new(&Arc::new(settings), 1 << 20)
}
