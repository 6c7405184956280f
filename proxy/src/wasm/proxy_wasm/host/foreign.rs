//! Foreign functions: what hosts of Proxy-Wasm offer by name beyond the ABI. Here are those of Envoy's that mean something
//! to a gateway; whoever asks for another is told that it is not there.

use std::io::{Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, property, services, signatures, streams};
use crate::wasm::{
    journal::Level,
    proxy_wasm::{
        data::Data,
        guest::{VALUE_BYTES_MAX, copy, give},
        messages::{DeclareProperty, SetEnvoyFilterState, decode},
    },
};

type Foreign = fn(&mut Guest<'_>, &[u8]) -> Done<Vec<u8>>;

/// By name.
const FOREIGN: [(&str, Foreign); 7] = [
    ("clear_route_cache", clear_route_cache),
    ("compress", compress),
    ("declare_property", declare_property),
    ("set_envoy_filter_state", set_envoy_filter_state),
    ("sign", signatures::sign),
    ("uncompress", uncompress),
    ("verify_signature", signatures::verify),
];

/// Of a name that is logged.
const NAME_BYTES_MAX: usize = 64;

/// Names that a plugin declares.
const DECLARED_MAX: usize = 256;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap_async(
        "env",
        "proxy_call_foreign_function",
        |mut guest: Guest<'_>, (name, length, args, bytes, address, size): (u32, u32, u32, u32, u32, u32)| {
            Box::new(async move {
                let result = call(&mut guest, (name, length), (args, bytes));
                // A module may take no interest in the result.
                let wanted = address != 0 && size != 0;
                match result {
                    Ok(result) if wanted => give(&mut guest, Ok(result), address, size).await,
                    result => Ok(super::code(result.map(drop))),
                }
            })
        },
    )?;
    Ok(())
}

fn call(guest: &mut Guest<'_>, name: (u32, u32), args: (u32, u32)) -> Done<Vec<u8>> {
    let (name, args) = (copy(guest, name.0, name.1)?, copy(guest, args.0, args.1)?);
    match FOREIGN.iter().find(|(known, _)| known.as_bytes() == name) {
        Some((_, function)) => function(guest, &args),
        None => {
            let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]).into_owned();
            services::say(guest, Level::Debug, &format!("it calls the foreign function {name}, which there is not"));
            Err(Status::NotFound)
        }
    }
}

// In the format of zlib (RFC 1950).
fn compress(_: &mut Guest<'_>, bytes: &[u8]) -> Done<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|_| Status::SerializationFailure)
}

fn uncompress(_: &mut Guest<'_>, bytes: &[u8]) -> Done<Vec<u8>> {
    inflated(bytes)
}

fn inflated(bytes: &[u8]) -> Done<Vec<u8>> {
    let mut out = Vec::new();
    let most = VALUE_BYTES_MAX as u64 + 1;
    let read = ZlibDecoder::new(bytes).take(most).read_to_end(&mut out);
    read.map_err(|_| Status::SerializationFailure)?;
    if out.len() > VALUE_BYTES_MAX { Err(Status::InternalFailure) } else { Ok(out) }
}

fn set_envoy_filter_state(guest: &mut Guest<'_>, bytes: &[u8]) -> Done<Vec<u8>> {
    let args: SetEnvoyFilterState = decode(bytes).map_err(|_| Status::BadArgument)?;
    property::put(guest, &args.path, args.value).map(|()| Vec::new())
}

fn declare_property(guest: &mut Guest<'_>, bytes: &[u8]) -> Done<Vec<u8>> {
    let args: DeclareProperty = decode(bytes).map_err(|_| Status::BadArgument)?;
    let root = services::root(guest)?;
    let root = guest.data_mut().roots.get_mut(&root).ok_or(Status::InternalFailure)?;
    if root.declared.contains_key(&args.name) {
        return Err(Status::BadArgument);
    }
    if root.declared.len() >= DECLARED_MAX {
        return Err(Status::InternalFailure);
    }
    root.declared.insert(args.name, args.readonly);
    Ok(Vec::new())
}

fn clear_route_cache(guest: &mut Guest<'_>, _: &[u8]) -> Done<Vec<u8>> {
    streams::clear_route_cache(guest).map(|()| Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unfolds_to_more_than_a_value_may_be_is_refused() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&vec![0; VALUE_BYTES_MAX + 1]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < VALUE_BYTES_MAX / 100);
        assert_eq!(inflated(&bomb), Err(Status::InternalFailure));
        assert_eq!(inflated(b"no zlib"), Err(Status::SerializationFailure));
    }

    #[test]
    fn functions_are_found_by_name() {
        assert!(FOREIGN.is_sorted_by_key(|(name, _)| *name));
    }
}
