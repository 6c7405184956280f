//! Guests of the native interface made of bytes: whatever they call, their exchanges come to an end.
#![no_main]

use tidegate::wasm::fuzz::{Interface, run};

libfuzzer_sys::fuzz_target!(|data: &[u8]| run(Interface::Native, data));
