//! What is a guest's without an exchange: features, configuration, log.

use std::time::Instant;

use wasmtime::{Linker, Result};

use super::{Guest, give};
use crate::wasm::{
    budget::{Allowance, LOG_MESSAGES_MAX},
    http_wasm::{data::Data, provided::HANDLER, sight::seen, visit::feature},
    journal::{self, Level},
    memory::read,
};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap(HANDLER, "enable_features", |mut guest: Guest<'_>, features: u32| enable(&mut guest, features))?;
    linker.func_wrap(HANDLER, "get_config", |mut guest: Guest<'_>, at: u32, limit: u32| {
        let plugin = std::sync::Arc::clone(&guest.data().plugin);
        give(&mut guest, at, limit, plugin.config.as_bytes())
    })?;
    linker.func_wrap(HANDLER, "log_enabled", |level: i32| u32::from(level_of(level).is_some_and(Level::is_enabled)))?;
    linker.func_wrap(HANDLER, "log", |mut guest: Guest<'_>, level: i32, at: u32, length: u32| -> Result<()> {
        if let Some(level) = level_of(level).filter(|level| level.is_enabled() || *level >= Level::Warn) {
            // No more of it is copied than is written.
            let bytes_max = guest.data().plugin.limits.log_bytes_max;
            let message = read(&mut guest, at, length)?;
            let message = String::from_utf8_lossy(&message[..message.len().min(bytes_max)]).into_owned();
            say(&mut guest, level, &message);
        }
        Ok(())
    })?;
    Ok(())
}

/// Provides the features of guests of the ABI's first year, when they had 64 bits.
///
/// # Errors
/// Where the engine has no room for it.
pub(in super::super) fn widen(linker: &mut Linker<Data>) -> Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap(HANDLER, "enable_features", |mut guest: Guest<'_>, features: u64| {
        u64::from(enable(&mut guest, features as u32))
    })?;
    Ok(())
}

// Those of the exchange from now on; of every exchange, where none is under way. When the request has gone on it is too late.
fn enable(guest: &mut Guest<'_>, features: u32) -> u32 {
    let wanted = features & feature::ALL;
    seen(|visit| match visit {
        Some(visit) => {
            if !visit.after_next.get() {
                visit.features.set(visit.features.get() | wanted);
            }
            visit.features.get()
        }
        None => {
            guest.data_mut().features |= wanted;
            guest.data().features
        }
    })
}

// `log_level`; nothing is logged at any other.
const fn level_of(level: i32) -> Option<Level> {
    match level {
        -1 => Some(Level::Debug),
        0 => Some(Level::Info),
        1 => Some(Level::Warn),
        2 => Some(Level::Error),
        _ => None,
    }
}

// Of what a guest says while it starts, for the diagnostic if it fails.
const SAID_MAX: usize = 4;
const SAID_BYTES_MAX: usize = 512;

/// Writes a message to the log, within the plugin's budget.
pub(in super::super) fn say(guest: &mut Guest<'_>, level: Level, message: &str) {
    let name = std::sync::Arc::clone(&guest.data().plugin.name);
    let allowed =
        seen(|visit| visit.map(|visit| (visit.local.log.take(Instant::now()), Some(visit.exchange.generation()))));
    match allowed {
        Some((Allowance::Write { dropped }, generation)) => {
            journal::write(&name, generation, dropped, level, message);
        }
        Some((Allowance::Drop, _)) => {}
        None => {
            let data = guest.data_mut();
            data.lines += 1;
            if data.said.len() == SAID_MAX {
                data.said.remove(0);
            }
            data.said.push(message[..message.floor_char_boundary(SAID_BYTES_MAX)].to_owned());
            if data.lines <= LOG_MESSAGES_MAX {
                journal::write(&name, None, 0, level, message);
            }
        }
    }
}
