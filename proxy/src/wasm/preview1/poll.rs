//! `poll_oneoff`: how guests sleep. Where a guest is one exchange's alone it waits for the first of its events, within the
//! time of its call; elsewhere all have come at once, and a guest that finds that no time has passed may ask again.

use std::time::Duration;

use wasmtime::{Caller, Linker, Result};

use super::{BADF, FAULT, INVAL, Wasi, errno, now, number};
use crate::wasm::memory::{read, write, write_u32};

const EVENTS_MAX: u32 = 64;
const SUBSCRIPTION_BYTES: usize = 48;
const EVENT_BYTES: usize = 32;

/// What is waited for.
struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    /// How long until it comes, or the number of the error that it is.
    after: Result<Duration, u32>,
}

pub(super) fn link<D: Wasi>(linker: &mut Linker<D>, module: &str) -> Result<()> {
    linker.func_wrap_async(
        module,
        "poll_oneoff",
        |mut guest: Caller<'_, D>, (from, to, count, at): (u32, u32, u32, u32)| {
            Box::new(async move { poll(&mut guest, from, to, count, at).await.unwrap_or_else(|errno| errno) })
        },
    )?;
    Ok(())
}

async fn poll<D: Wasi>(guest: &mut Caller<'_, D>, from: u32, to: u32, count: u32, at: u32) -> Result<u32, u32> {
    if count == 0 || count > EVENTS_MAX {
        return Err(INVAL);
    }
    let bytes = read(guest, from, count * SUBSCRIPTION_BYTES as u32).map_err(|_| FAULT)?;
    let all: Vec<_> = bytes.chunks_exact(SUBSCRIPTION_BYTES).map(Subscription::read).collect();
    let first = all.iter().map(|one| one.after.unwrap_or_default()).min().unwrap_or_default();
    if D::SLEEPS && !first.is_zero() {
        // Ends with the call's deadline at the latest: the whole call is dropped then.
        tokio::time::sleep(first).await;
    }
    let come = all.iter().filter(|one| !D::SLEEPS || one.after.unwrap_or_default() <= first);
    let events: Vec<u8> = come.flat_map(Subscription::event).collect();
    write(guest, to, &events).map_err(|_| FAULT)?;
    Ok(errno(write_u32(guest, at, u32::try_from(events.len() / EVENT_BYTES).unwrap_or(count))))
}

impl Subscription {
    fn read(bytes: &[u8]) -> Self {
        let long = |at: usize| u64::from(number(&bytes[at..at + 4])) | u64::from(number(&bytes[at + 4..at + 8])) << 32;
        let mut user_data = [0; 8];
        user_data.copy_from_slice(&bytes[..8]);
        let after = match bytes[8] {
            0 => {
                let (clock, time, absolute) = (number(&bytes[16..20]), long(24), bytes[40] & 1 == 1);
                now(clock).map(|now| if absolute { time.saturating_sub(now) } else { time }).ok_or(INVAL)
            }
            // Reading and writing, of which standard output and error are always ready.
            _ if number(&bytes[16..20]) <= 2 => Ok(0),
            _ => Err(BADF),
        };
        Self { user_data, kind: bytes[8], after: after.map(Duration::from_nanos) }
    }

    fn event(&self) -> [u8; EVENT_BYTES] {
        let mut event = [0; EVENT_BYTES];
        event[..8].copy_from_slice(&self.user_data);
        event[8..10].copy_from_slice(&(self.after.err().unwrap_or(0) as u16).to_le_bytes());
        event[10] = self.kind;
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(id: u8, time: u64, flags: u8) -> [u8; SUBSCRIPTION_BYTES] {
        let mut bytes = [0; SUBSCRIPTION_BYTES];
        bytes[..8].copy_from_slice(&7_u64.to_le_bytes());
        bytes[16] = id;
        bytes[24..32].copy_from_slice(&time.to_le_bytes());
        bytes[40] = flags;
        bytes
    }

    #[test]
    fn a_subscription_says_how_long_until_it_comes() {
        let after = |bytes: &[u8]| Subscription::read(bytes).after;
        assert_eq!(after(&clock(1, 5_000_000_000, 0)), Ok(Duration::from_secs(5)));
        assert_eq!(after(&clock(0, 1, 1)), Ok(Duration::ZERO), "a time that is over");
        assert!(after(&clock(0, u64::MAX, 1)).unwrap() > Duration::from_secs(1));
        assert_eq!(after(&clock(9, 1, 0)), Err(INVAL));
        let mut file = clock(1, 0, 0);
        file[8] = 2;
        assert_eq!(after(&file), Ok(Duration::ZERO));
        file[16] = 3;
        assert_eq!(after(&file), Err(BADF));
        let event = Subscription::read(&file).event();
        assert_eq!((event[0], event[8], event[10]), (7, BADF as u8, 2));
    }
}
