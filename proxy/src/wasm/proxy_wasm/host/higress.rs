//! What one proxy (Higress) added to Proxy-Wasm for its own plugins: Redis; and what there is not here, its way to push
//! bodies and its choice of endpoints. Many of its plugins import these and call them only where they are configured to,
//! so they are there, answer that they are not implemented, and say so in the log.

use std::{sync::Arc, time::Duration};

use wasmtime::{Linker, Result};

use super::{
    Done, Guest, Status, answers,
    calls::{count, granted},
    services,
};
use crate::wasm::{
    journal::Level,
    proxy_wasm::{
        data::{Asked, Data},
        guest::{copy, write_u32},
        redis::{self, Command, Settings},
    },
};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    answers!(linker, "proxy_redis_init", redis_init, name: u32, length: u32, user: u32, user_length: u32, password: u32, password_length: u32, millis: u32);
    answers!(linker, "proxy_redis_call", redis_call, name: u32, length: u32, query: u32, query_length: u32, token: u32);
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

/// Upstreams of one plugin that speak Redis.
const REDIS_MAX: usize = 64;

#[allow(clippy::too_many_arguments, reason = "the type is that of the import")]
fn redis_init(
    guest: &mut Guest<'_>,
    name: u32,
    length: u32,
    user: u32,
    user_length: u32,
    password: u32,
    password_length: u32,
    millis: u32,
) -> Done {
    let name = copy(guest, name, length)?;
    let (user, password) = (copy(guest, user, user_length)?, copy(guest, password, password_length)?);
    let name = String::from_utf8(name).map_err(|_| Status::BadArgument)?;
    // Options follow the name as a query follows a path.
    let (upstream, options) = name.split_once('?').unwrap_or((&name, ""));
    let plugin = services::plugin(guest).ok_or(Status::BadArgument)?;
    let upstream = granted(&plugin, upstream).ok_or(Status::BadArgument)?;
    let mut hello = Vec::new();
    match (&user[..], &password[..]) {
        (_, []) => {}
        ([], password) => hello.push(redis::command(&[b"AUTH", password])),
        (user, password) => hello.push(redis::command(&[b"AUTH", user, password])),
    }
    let database = options.split('&').find_map(|option| option.strip_prefix("db=")).filter(|number| *number != "0");
    if let Some(number) = database {
        number.parse::<u32>().map_err(|_| Status::BadArgument)?;
        hello.push(redis::command(&[b"SELECT", number.as_bytes()]));
    }
    let limits = &plugin.limits;
    let timeout = if millis == 0 { limits.exchange_timeout } else { Duration::from_millis(millis.into()) };
    let timeout = timeout.min(super::calls::TIMEOUT_MAX);
    let settings = Settings { upstream, hello, timeout, bytes_max: limits.call_bytes_max };
    let root = services::root(guest)?;
    let root = guest.data_mut().roots.get_mut(&root).ok_or(Status::InternalFailure)?;
    if root.redis.len() >= REDIS_MAX && !root.redis.contains_key(&*name) {
        return Err(Status::InternalFailure);
    }
    root.redis.insert(name.into(), Arc::new(settings));
    Ok(())
}

fn redis_call(guest: &mut Guest<'_>, name: u32, length: u32, query: u32, query_length: u32, token_at: u32) -> Done {
    let (name, query) = (copy(guest, name, length)?, copy(guest, query, query_length)?);
    write_u32(guest, token_at, 0)?;
    let name = std::str::from_utf8(&name).map_err(|_| Status::BadArgument)?;
    if !redis::is_command(&query) {
        return Err(Status::BadArgument);
    }
    let plugin = services::plugin(guest).ok_or(Status::BadArgument)?;
    let root = services::root(guest)?;
    let known = guest.data().roots.get(&root).and_then(|made| made.redis.get_key_value(name));
    let (name, settings) =
        known.map(|(name, settings)| (Arc::clone(name), Arc::clone(settings))).ok_or(Status::BadArgument)?;
    let held = guest.data().outbox.hold(query.len())?;
    let stream = count(guest, &plugin)?;
    let token = guest.data_mut().next_token();
    let command = Command { token, root, stream, name, settings, query: query.into(), held };
    services::ask(guest, Asked::Redis(Box::new(command)))?;
    write_u32(guest, token_at, token)
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
