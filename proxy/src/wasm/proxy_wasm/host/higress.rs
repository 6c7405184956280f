//! What one proxy (Higress) added to Proxy-Wasm for its own plugins, and what there is not here: Redis, its way to push
//! bodies, its choice of endpoints. Many of its plugins import these and call them only where they are configured to, so
//! they are there, answer that they are not implemented, and say so in the log.

use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, services};
use crate::wasm::{journal::Level, proxy_wasm::data::Data};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    answers!(linker, "proxy_redis_init", redis_init, _a: u32, _b: u32, _c: u32, _d: u32, _e: u32, _f: u32, _g: u32);
    answers!(linker, "proxy_redis_call", redis_call, _a: u32, _b: u32, _c: u32, _d: u32, _e: u32);
    answers!(linker, "proxy_inject_encoded_data_to_filter_chain", inject, _a: u32, _b: u32, _c: u32);
    answers!(linker, "proxy_get_upstream_hosts", upstream_hosts, _a: u32, _b: u32);
    answers!(linker, "proxy_set_upstream_override_host", override_host, _a: u32, _b: u32);
    Ok(())
}

fn refuse(guest: &mut Guest<'_>, name: &str) -> Done {
    let message = format!("it calls {name}, which one proxy (Higress) added to Proxy-Wasm: it is not implemented here");
    services::say(guest, Level::Warn, &message);
    Err(Status::Unimplemented)
}

#[allow(clippy::too_many_arguments, reason = "the type is that of the import")]
fn redis_init(guest: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32) -> Done {
    refuse(guest, "proxy_redis_init")
}

fn redis_call(guest: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32) -> Done {
    refuse(guest, "proxy_redis_call")
}

fn inject(guest: &mut Guest<'_>, _: u32, _: u32, _: u32) -> Done {
    refuse(guest, "proxy_inject_encoded_data_to_filter_chain")
}

fn upstream_hosts(guest: &mut Guest<'_>, _: u32, _: u32) -> Done {
    refuse(guest, "proxy_get_upstream_hosts")
}

fn override_host(guest: &mut Guest<'_>, _: u32, _: u32) -> Done {
    refuse(guest, "proxy_set_upstream_override_host")
}
