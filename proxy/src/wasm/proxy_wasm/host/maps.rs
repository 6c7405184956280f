//! Maps: heads, trailers, and what came back of a call.

use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, gives, streams};
use crate::wasm::proxy_wasm::{
    data::{Data, Heard},
    fields::View,
    guest::{copy, write_u32},
    pairs,
    sight::stream,
    stream::Direction,
};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    gives!(linker, "proxy_get_header_map_pairs", all, map: u32);
    gives!(linker, "proxy_get_header_map_value", value, map: u32, name: u32, length: u32);
    answers!(linker, "proxy_get_header_map_size", size, map: u32, at: u32);
    answers!(linker, "proxy_set_header_map_pairs", set, map: u32, at: u32, length: u32);
    answers!(linker, "proxy_add_header_map_value", add, map: u32, name: u32, length: u32, value: u32, bytes: u32);
    answers!(linker, "proxy_replace_header_map_value", replace, map: u32, name: u32, length: u32, value: u32, bytes: u32);
    answers!(linker, "proxy_remove_header_map_value", remove, map: u32, name: u32, length: u32);
    Ok(())
}

const MAPS: u32 = 8;
const REQUEST: u32 = 0;

// Runs `f` on a map; `None` where it is not there at present.
fn on<T>(guest: &mut Guest<'_>, map: u32, f: impl FnOnce(&mut View<'_>) -> T) -> Done<Option<T>> {
    if map >= MAPS {
        return Err(Status::BadArgument);
    }
    if map >= 6 {
        return Ok(guest.data_mut().received.as_mut().filter(|received| received.status.is_some()).map(|received| {
            let (status, fields) = (received.status, &received.headers);
            f(&mut if map == 6 {
                View::Received { status, fields }
            } else {
                View::Received { status: None, fields: &received.trailers }
            })
        }));
    }
    if map >= 4 {
        let fields = match (map, &guest.data().heard) {
            (4, Some(Heard::Initial(fields))) | (5, Some(Heard::Trailing(fields))) => fields,
            _ => return Ok(None),
        };
        return Ok(Some(f(&mut View::Received { status: None, fields })));
    }
    let Some(stream) = stream(guest) else { return Ok(None) };
    let trailers = |direction, f: &mut dyn FnMut(&mut View<'_>)| {
        let mut trailers = stream.side(direction).trailers.borrow_mut();
        if let Some(fields) = &mut *trailers {
            f(&mut View::Fields(fields));
        }
    };
    let mut done = None;
    let mut f = Some(f);
    let mut run = |view: &mut View<'_>| done = f.take().map(|f| f(view));
    match map {
        REQUEST => {
            if let Some(shown) = &mut *stream.request.borrow_mut() {
                let (head, authority) = shown.head_mut();
                run(&mut View::Request { head, authority, secure: stream.exchange.secure });
            }
        }
        1 => trailers(Direction::Request, &mut run),
        2 => {
            if let Some(head) = &mut *stream.response.borrow_mut() {
                run(&mut View::Response(head));
            }
        }
        3 => trailers(Direction::Response, &mut run),
        _ => {}
    }
    Ok(done)
}

fn all(guest: &mut Guest<'_>, map: u32) -> Done<Vec<u8>> {
    let pairs = on(guest, map, |view| view.pairs())?.unwrap_or_default();
    Ok(if pairs.is_empty() { Vec::new() } else { pairs::write(&pairs) })
}

fn value(guest: &mut Guest<'_>, map: u32, name: u32, length: u32) -> Done<Vec<u8>> {
    let name = copy(guest, name, length)?;
    let found = on(guest, map, |view| view.first(&name))?;
    // After the end of an exchange a map that was never there is only empty.
    let over = stream(guest).is_some_and(|stream| stream.over.get());
    match found {
        None if !over => Err(Status::BadArgument),
        Some(Some(value)) => Ok(value),
        // As the first version had it.
        _ if guest.data().settings.first => Ok(Vec::new()),
        _ => Err(Status::NotFound),
    }
}

fn size(guest: &mut Guest<'_>, map: u32, at: u32) -> Done {
    let size = on(guest, map, |view| pairs::size(&view.pairs()))?.ok_or(Status::BadArgument)?;
    write_u32(guest, at, u32::try_from(size).map_err(|_| Status::InternalFailure)?)
}

fn set(guest: &mut Guest<'_>, map: u32, at: u32, length: u32) -> Done {
    let bytes = copy(guest, at, length)?;
    let pairs = pairs::read(&bytes)?;
    change(guest, map, |view| view.set(&pairs))
}

fn add(guest: &mut Guest<'_>, map: u32, name: u32, length: u32, value: u32, bytes: u32) -> Done {
    let (name, value) = (copy(guest, name, length)?, copy(guest, value, bytes)?);
    change(guest, map, |view| view.append(&name, &value))
}

fn replace(guest: &mut Guest<'_>, map: u32, name: u32, length: u32, value: u32, bytes: u32) -> Done {
    let (name, value) = (copy(guest, name, length)?, copy(guest, value, bytes)?);
    change(guest, map, |view| view.replace(&name, &value))
}

fn remove(guest: &mut Guest<'_>, map: u32, name: u32, length: u32) -> Done {
    let name = copy(guest, name, length)?;
    change(guest, map, |view| view.remove(&name))
}

fn change(guest: &mut Guest<'_>, map: u32, f: impl FnOnce(&mut View<'_>) -> Done) -> Done {
    on(guest, map, f)?.unwrap_or(Err(Status::BadArgument))?;
    if map == REQUEST {
        streams::clear_route_cache(guest)?;
    }
    Ok(())
}
