//! A core module's memory as host functions read and write it: nothing that is not in it is ever reached. Knows no ABI.

use wasmtime::{Caller, Extern, Memory};

/// What a store holds whose guest has one memory.
pub(super) trait Holds: Sized + 'static {
    /// Where the memory is noted once it was looked up.
    fn memory(&mut self) -> &mut Option<Memory>;
}

/// Addresses that are not the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault;

impl From<Fault> for wasmtime::Error {
    fn from(_: Fault) -> Self {
        Self::msg("it names addresses that are not in its memory")
    }
}

/// Bytes of the guest.
pub(super) fn read<'a, D: Holds>(guest: &'a mut Caller<'_, D>, at: u32, length: u32) -> Result<&'a [u8], Fault> {
    let memory = found(guest)?;
    let (from, to) = (at as usize, at as usize + length as usize);
    memory.data(&*guest).get(from..to).ok_or(Fault)
}

/// Writes into the guest.
pub(super) fn write<D: Holds>(guest: &mut Caller<'_, D>, at: u32, bytes: &[u8]) -> Result<(), Fault> {
    let memory = found(guest)?;
    let (from, to) = (at as usize, at as usize + bytes.len());
    let place = memory.data_mut(&mut *guest).get_mut(from..to).ok_or(Fault)?;
    place.copy_from_slice(bytes);
    Ok(())
}

/// Writes a number of 32 bits.
pub(super) fn write_u32<D: Holds>(guest: &mut Caller<'_, D>, at: u32, number: u32) -> Result<(), Fault> {
    write(guest, at, &number.to_le_bytes())
}

/// Writes a number of 64 bits.
pub(super) fn write_u64<D: Holds>(guest: &mut Caller<'_, D>, at: u32, number: u64) -> Result<(), Fault> {
    write(guest, at, &number.to_le_bytes())
}

fn found<D: Holds>(guest: &mut Caller<'_, D>) -> Result<Memory, Fault> {
    if let Some(memory) = *guest.data_mut().memory() {
        return Ok(memory);
    }
    // While it is instantiated.
    match guest.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            *guest.data_mut().memory() = Some(memory);
            Ok(memory)
        }
        _ => Err(Fault),
    }
}
