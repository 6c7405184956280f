//! Buffers: bodies, what came back of a call, and configurations.

use bytes::BytesMut;
use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, gives};
use crate::wasm::proxy_wasm::{
    data::{Configuration, Data, Heard},
    guest::{VALUE_BYTES_MAX, copy, write_u32},
    sight::stream,
    stream::Direction,
};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    gives!(linker, "proxy_get_buffer_bytes", bytes, buffer: u32, start: u32, max: u32);
    gives!(linker, "proxy_get_configuration", configuration);
    answers!(linker, "proxy_get_buffer_status", status, buffer: u32, length: u32, flags: u32);
    answers!(linker, "proxy_set_buffer_bytes", set, buffer: u32, start: u32, size: u32, value: u32, bytes: u32);
    Ok(())
}

const BUFFERS: u32 = 10;

// Runs `f` on what is in a buffer.
fn on<T>(guest: &mut Guest<'_>, buffer: u32, f: impl FnOnce(&[u8]) -> T) -> Done<T> {
    if buffer >= BUFFERS {
        return Err(Status::BadArgument);
    }
    match buffer {
        0 | 1 => {
            let direction = if buffer == 0 { Direction::Request } else { Direction::Response };
            let stream = stream(guest).ok_or(Status::NotFound)?;
            let buffer = stream.side(direction).buffer.borrow();
            Ok(f(buffer.as_deref().unwrap_or_default()))
        }
        4 => {
            let received = guest.data().received.as_ref().filter(|received| received.status.is_some());
            Ok(f(&received.ok_or(Status::NotFound)?.body))
        }
        6 => Ok(f(&guest.data().settings.vm_config)),
        7 => Ok(f(plugin_configuration(guest)?.as_bytes())),
        5 => match &guest.data().heard {
            Some(Heard::Message(message)) => Ok(f(message)),
            _ => Ok(f(&[])),
        },
        // Of Redis, as Higress numbers it: for all others there is no such buffer.
        9 => Ok(f(guest.data().reply.as_ref().ok_or(Status::BadArgument)?)),
        // Of connections and foreign functions that call back: there are none.
        _ => Err(Status::NotFound),
    }
}

fn plugin_configuration(guest: &Guest<'_>) -> Done<String> {
    let plugin = super::services::plugin(guest).ok_or(Status::NotFound)?;
    Ok(plugin.config.clone())
}

fn bytes(guest: &mut Guest<'_>, buffer: u32, start: u32, max: u32) -> Done<Vec<u8>> {
    let end = start.checked_add(max);
    on(guest, buffer, |bytes| {
        let end = (end.ok_or(Status::BadArgument)? as usize).min(bytes.len());
        bytes.get(start as usize..end).map(<[u8]>::to_vec).ok_or(Status::BadArgument)
    })?
}

// The first version's way to read either configuration: which one, depends on the callback.
fn configuration(guest: &mut Guest<'_>) -> Done<Vec<u8>> {
    match guest.data().configuration {
        Configuration::Vm => Ok(guest.data().settings.vm_config.clone()),
        Configuration::Plugin | Configuration::None => plugin_configuration(guest).map(String::into_bytes),
    }
}

fn status(guest: &mut Guest<'_>, buffer: u32, length: u32, flags: u32) -> Done {
    let size = on(guest, buffer, <[u8]>::len)?;
    write_u32(guest, length, u32::try_from(size).map_err(|_| Status::InternalFailure)?)?;
    write_u32(guest, flags, 0)
}

fn set(guest: &mut Guest<'_>, buffer: u32, start: u32, size: u32, value: u32, bytes: u32) -> Done {
    let direction = match buffer {
        0 => Direction::Request,
        1 => Direction::Response,
        _ => return Err(Status::BadArgument),
    };
    let value = copy(guest, value, bytes)?;
    let stream = stream(guest).ok_or(Status::BadArgument)?;
    let mut buffer = stream.side(direction).buffer.borrow_mut();
    splice(buffer.as_mut().ok_or(Status::BadArgument)?, start as usize, size as usize, &value)
}

// Puts `value` in the place of `size` bytes from `start`; from the end on it is added.
fn splice(buffer: &mut BytesMut, start: usize, size: usize, value: &[u8]) -> Done {
    let start = start.min(buffer.len());
    let end = start.saturating_add(size).min(buffer.len());
    if buffer.len() - (end - start) + value.len() > VALUE_BYTES_MAX {
        return Err(Status::InternalFailure);
    }
    let rest = buffer.split_off(end);
    buffer.truncate(start);
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(&rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_buffer_is_replaced_and_from_its_end_on_it_grows() {
        let cases = [
            (0, 0, "xabc"),
            (0, usize::MAX, "x"),
            (1, 1, "axc"),
            (1, 0, "axbc"),
            (3, 0, "abcx"),
            (usize::MAX, usize::MAX, "abcx"),
            (2, 9, "abx"),
        ];
        for (start, size, expected) in cases {
            let mut buffer = BytesMut::from("abc");
            splice(&mut buffer, start, size, b"x").unwrap();
            assert_eq!(buffer, expected, "{start} {size}");
        }
        let mut full = BytesMut::zeroed(VALUE_BYTES_MAX);
        assert_eq!(splice(&mut full, 0, 0, b"x"), Err(Status::InternalFailure));
        assert_eq!(splice(&mut full, 0, 1, b"x"), Ok(()));
    }
}
