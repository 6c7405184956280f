//! What modules of http-wasm import: names, types, and how values go into and out of a guest's memory. What they do is
//! beside and in `message`.

mod bodies;
mod services;

use http::Version;
use wasmtime::{Caller, Engine, Linker, Result, bail};

use super::{
    data::Data,
    message::{Change, Fields, Many},
    provided::HANDLER,
    sight::active,
};
use crate::{
    exchange::Exchange,
    wasm::{
        memory::{read, write},
        preview1::{self, toolchains},
    },
};

pub(super) use services::{say, widen};

/// A guest as its host functions see it.
type Guest<'a> = Caller<'a, Data>;

/// Everything that modules may import.
///
/// # Errors
/// Where the engine has no room for it.
pub(in crate::wasm) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    services::link(&mut linker)?;
    heads(&mut linker)?;
    fields(&mut linker)?;
    bodies::link(&mut linker)?;
    toolchains::link(&mut linker)?;
    preview1::link(&mut linker)?;
    Ok(linker)
}

fn heads(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap(HANDLER, "get_method", |mut guest: Guest<'_>, at: u32, limit: u32| {
        let method = active(|visit| Ok(visit.method()))?;
        give(&mut guest, at, limit, method.as_ref().map_or("", http::Method::as_str).as_bytes())
    })?;
    linker.func_wrap(HANDLER, "set_method", |mut guest: Guest<'_>, at: u32, length: u32| {
        let method = take(&mut guest, at, length)?;
        active(|visit| visit.set_method(&method))
    })?;
    linker.func_wrap(HANDLER, "get_uri", |mut guest: Guest<'_>, at: u32, limit: u32| {
        let uri = active(|visit| Ok(visit.uri()))?;
        give(&mut guest, at, limit, uri.as_bytes())
    })?;
    linker.func_wrap(HANDLER, "set_uri", |mut guest: Guest<'_>, at: u32, length: u32| {
        let uri = take(&mut guest, at, length)?;
        active(|visit| visit.set_uri(&uri))
    })?;
    linker.func_wrap(HANDLER, "get_protocol_version", |mut guest: Guest<'_>, at: u32, limit: u32| {
        let version = active(|visit| Ok(version(visit.exchange.version)))?;
        give(&mut guest, at, limit, version.as_bytes())
    })?;
    linker.func_wrap(HANDLER, "get_source_addr", |mut guest: Guest<'_>, at: u32, limit: u32| {
        let source = active(|visit| Ok(source(&visit.exchange)))?;
        give(&mut guest, at, limit, source.as_bytes())
    })?;
    linker.func_wrap(HANDLER, "get_status_code", || active(|visit| Ok(u32::from(visit.status().as_u16()))))?;
    linker.func_wrap(HANDLER, "set_status_code", |status: u32| active(|visit| visit.set_status(status)))?;
    Ok(())
}

fn fields(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap(HANDLER, "get_header_names", |mut guest: Guest<'_>, kind: u32, at: u32, limit: u32| {
        let kind = Fields::of(kind)?;
        let names = active(|visit| Ok(visit.names(kind)))?;
        give_many(&mut guest, at, limit, &names)
    })?;
    linker.func_wrap(
        HANDLER,
        "get_header_values",
        |mut guest: Guest<'_>, kind: u32, name: u32, length: u32, at: u32, limit: u32| {
            let (kind, name) = (Fields::of(kind)?, named(&mut guest, name, length)?);
            let values = active(|visit| Ok(visit.values(kind, &name)))?;
            give_many(&mut guest, at, limit, &values)
        },
    )?;
    linker.func_wrap(
        HANDLER,
        "set_header_value",
        |mut guest: Guest<'_>, kind: u32, name: u32, length: u32, value: u32, size: u32| {
            let (kind, name) = (Fields::of(kind)?, named(&mut guest, name, length)?);
            let value = take(&mut guest, value, size)?;
            active(|visit| visit.change(kind, &name, Change::Set(&value)))
        },
    )?;
    linker.func_wrap(
        HANDLER,
        "add_header_value",
        |mut guest: Guest<'_>, kind: u32, name: u32, length: u32, value: u32, size: u32| {
            let (kind, name) = (Fields::of(kind)?, named(&mut guest, name, length)?);
            let value = take(&mut guest, value, size)?;
            active(|visit| visit.change(kind, &name, Change::Add(&value)))
        },
    )?;
    linker.func_wrap(HANDLER, "remove_header", |mut guest: Guest<'_>, kind: u32, name: u32, length: u32| {
        let (kind, name) = (Fields::of(kind)?, named(&mut guest, name, length)?);
        active(|visit| visit.change(kind, &name, Change::Remove))
    })?;
    Ok(())
}

// Of a name, a value or a target that a guest gives; the limits of what is set are lower, and say so.
const TEXT_BYTES_MAX: u32 = 1 << 20;

fn take(guest: &mut Guest<'_>, at: u32, length: u32) -> Result<Vec<u8>> {
    let bytes = read(guest, at, length)?;
    if length > TEXT_BYTES_MAX {
        bail!("it gives a text of {length} bytes, over the limit of {TEXT_BYTES_MAX}");
    }
    Ok(bytes.to_vec())
}

fn named(guest: &mut Guest<'_>, at: u32, length: u32) -> Result<Vec<u8>> {
    if length == 0 {
        bail!("it names a header by nothing");
    }
    take(guest, at, length)
}

// `buf_limit`: a value that does not fit is not written, and its length is told all the same.
fn give(guest: &mut Guest<'_>, at: u32, limit: u32, value: &[u8]) -> Result<u32> {
    let length = u32::try_from(value.len())?;
    if length <= limit && length > 0 {
        write(guest, at, value)?;
    }
    Ok(length)
}

// `count_len`: the count in the upper half, the length in the lower.
fn give_many(guest: &mut Guest<'_>, at: u32, limit: u32, many: &Many) -> Result<u64> {
    let length = give(guest, at, limit, &many.bytes)?;
    Ok(u64::from(many.count) << 32 | u64::from(length))
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn source(exchange: &Exchange) -> String {
    let peer = exchange.connection.peer;
    // Behind a proxy, its port is not the client's.
    let source = if peer.ip() == exchange.client { peer } else { (exchange.client, 0).into() };
    source.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_as_the_abi_names_it() {
        assert_eq!((version(Version::HTTP_11), version(Version::HTTP_2)), ("HTTP/1.1", "HTTP/2.0"));
    }
}
