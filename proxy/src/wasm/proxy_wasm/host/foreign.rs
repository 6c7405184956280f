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
    slice,
};

type Foreign = fn(&mut Guest<'_>, &[u8]) -> Done<Vec<u8>>;

/// By name.
const FOREIGN: [(&str, Foreign); 5] = [
    ("clear_route_cache", clear_route_cache),
    ("declare_property", declare_property),
    ("set_envoy_filter_state", set_envoy_filter_state),
    ("sign", signatures::sign),
    ("verify_signature", signatures::verify),
];

/// Of a name that is logged.
const NAME_BYTES_MAX: usize = 64;

/// What is computed of a value at a time, before others have their turn.
const STEP_BYTES: usize = 32 << 10;

/// Names that a plugin declares.
const DECLARED_MAX: usize = 256;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap_async(
        "env",
        "proxy_call_foreign_function",
        |mut guest: Guest<'_>, (name, length, args, bytes, address, size): (u32, u32, u32, u32, u32, u32)| {
            Box::new(async move {
                let result = call(&mut guest, (name, length), (args, bytes)).await;
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

async fn call(guest: &mut Guest<'_>, name: (u32, u32), args: (u32, u32)) -> Done<Vec<u8>> {
    let (name, args) = (copy(guest, name.0, name.1)?, copy(guest, args.0, args.1)?);
    match name.as_slice() {
        b"compress" => compress(&args).await,
        b"uncompress" => inflated(&args).await,
        name => match FOREIGN.iter().find(|(known, _)| known.as_bytes() == name) {
            Some((_, function)) => function(guest, &args),
            None => {
                let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]).into_owned();
                services::say(
                    guest,
                    Level::Debug,
                    &format!("it calls the foreign function {name}, which there is not"),
                );
                Err(Status::NotFound)
            }
        },
    }
}

// In the format of zlib (RFC 1950).
async fn compress(bytes: &[u8]) -> Done<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    for step in bytes.chunks(STEP_BYTES) {
        encoder.write_all(step).map_err(|_| Status::SerializationFailure)?;
        slice::over().await;
    }
    encoder.finish().map_err(|_| Status::SerializationFailure)
}

async fn inflated(bytes: &[u8]) -> Done<Vec<u8>> {
    let (mut out, mut decoder) = (Vec::new(), ZlibDecoder::new(bytes));
    loop {
        let read = (&mut decoder).take(STEP_BYTES as u64).read_to_end(&mut out);
        match read.map_err(|_| Status::SerializationFailure)? {
            0 => return Ok(out),
            _ if out.len() > VALUE_BYTES_MAX => return Err(Status::InternalFailure),
            _ => slice::over().await,
        }
    }
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
    if root.declared.len() >= DECLARED_MAX || args.name.len() > property::BYTES_MAX {
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

    #[tokio::test(flavor = "current_thread")]
    async fn what_unfolds_to_more_than_a_value_may_be_is_refused() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&vec![0; VALUE_BYTES_MAX + 1]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < VALUE_BYTES_MAX / 100);
        assert_eq!(inflated(&bomb).await, Err(Status::InternalFailure));
        assert_eq!(inflated(b"no zlib").await, Err(Status::SerializationFailure));
    }

    #[test]
    fn functions_are_found_by_name() {
        assert!(FOREIGN.is_sorted_by_key(|(name, _)| *name));
    }
}
