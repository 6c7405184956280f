//! A guest's memory, as host functions read and write it, and its own allocator, which every value goes through that it
//! is given.

use wasmtime::{Caller, Result};

use super::{
    data::Data,
    status::{Done, Status, code},
};
use crate::wasm::memory::{self, Fault};

/// A callback's view of the host.
pub(super) type Guest<'a> = Caller<'a, Data>;

/// Bytes of one value that a guest is given or gives.
pub(super) const VALUE_BYTES_MAX: usize = 16 << 20;

/// Bytes of the guest.
pub(super) fn read<'a>(guest: &'a mut Guest<'_>, at: u32, length: u32) -> Done<&'a [u8]> {
    memory::read(guest, at, length).map_err(|Fault| Status::InvalidMemoryAccess)
}

/// The same, on our side.
pub(super) fn copy(guest: &mut Guest<'_>, at: u32, length: u32) -> Done<Vec<u8>> {
    if length as usize > VALUE_BYTES_MAX {
        // What is not in its memory is an address that is not the guest's, whatever its length.
        read(guest, at, length)?;
        return Err(Status::BadArgument);
    }
    read(guest, at, length).map(<[u8]>::to_vec)
}

/// Writes into the guest.
pub(super) fn write(guest: &mut Guest<'_>, at: u32, bytes: &[u8]) -> Done {
    memory::write(guest, at, bytes).map_err(|Fault| Status::InvalidMemoryAccess)
}

/// Writes a number of 32 bits.
pub(super) fn write_u32(guest: &mut Guest<'_>, at: u32, number: u32) -> Done {
    write(guest, at, &number.to_le_bytes())
}

/// Writes a number of 64 bits.
pub(super) fn write_u64(guest: &mut Guest<'_>, at: u32, number: u64) -> Done {
    write(guest, at, &number.to_le_bytes())
}

/// Gives a value to the guest: in memory that it allocates, whose address and length are written where it says.
///
/// # Errors
/// Where its allocator traps.
pub(super) async fn give(guest: &mut Guest<'_>, value: Done<Vec<u8>>, address: u32, length: u32) -> Result<u32> {
    let value = match value {
        Ok(value) => value,
        Err(status) => return Ok(status as u32),
    };
    // Before anything is allocated that nobody would free.
    if write_u32(guest, address, 0).and_then(|()| write_u32(guest, length, 0)).is_err() {
        return Ok(Status::InvalidMemoryAccess as u32);
    }
    let Ok(size) = u32::try_from(value.len()) else { return Ok(Status::InternalFailure as u32) };
    if size == 0 {
        return Ok(0);
    }
    let Some(allocate) = guest.data().allocate.clone() else { return Ok(Status::InternalFailure as u32) };
    let at = allocate.call_async(&mut *guest, size).await?;
    if at == 0 {
        return Ok(Status::InvalidMemoryAccess as u32);
    }
    let given = write(guest, at, &value)
        .and_then(|()| write_u32(guest, address, at))
        .and_then(|()| write_u32(guest, length, size));
    Ok(code(given))
}
