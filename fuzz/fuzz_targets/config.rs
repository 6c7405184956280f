//! Documents made of bytes: each is taken or refused, and what is taken renders to what is taken.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::config::fuzz::run(data));
