//! Tables and requests made of bytes; the table must find what its plain reference finds.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::route::fuzz::run(data));
