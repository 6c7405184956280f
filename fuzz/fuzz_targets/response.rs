//! Answers of upstreams made of bytes; how they are cut must not matter.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::upstream::fuzz::run(data));
