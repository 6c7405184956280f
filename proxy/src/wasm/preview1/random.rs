//! Random bytes of the system's.

use std::{cell::OnceCell, fs::File, io::Read};

/// Fills `bytes`.
///
/// # Errors
/// Where the system has none.
pub(in crate::wasm) fn random(bytes: &mut [u8]) -> std::io::Result<()> {
    thread_local! {
        static SOURCE: OnceCell<File> = const { OnceCell::new() };
    }
    SOURCE.with(|source| {
        let mut file = match source.get() {
            Some(file) => file,
            None => {
                let opened = File::open("/dev/urandom")?;
                source.get_or_init(|| opened)
            }
        };
        file.read_exact(bytes)
    })
}
