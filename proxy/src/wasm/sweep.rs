//! Tidying a worker's guests after a swap: plugins that no snapshot uses any more are dropped, pools without a use go
//! with their guests, a few at a time, and many small guests of one module are folded into one. Runs beside the
//! exchanges, never before one of them.

#![allow(clippy::vec_box, reason = "guests go in and out at each call: a pointer does, and not the whole guest")]

use std::{rc::Rc, time::Duration};

use super::{
    http_wasm::Leased,
    pool::{Guests, Pool},
    proxy_wasm::Residents,
    table::Tables,
    wasi_http::Handlers,
};
use crate::exchange::Worker;

/// Guests that are dropped in a row before other tasks run.
const BATCH: usize = 16;
/// How long a guest may take to drop plugins, or to create one that it takes over.
const DEADLINE: Duration = Duration::from_secs(5);

/// Starts tidying on `worker`; to be called within its `LocalSet`.
pub(super) fn sweep(worker: &Worker) {
    worker.locals.of::<Tables>().retire();
    worker.locals.of::<Residents>().retire();
    let leased = worker.locals.of::<Leased>().retire();
    worker.locals.of::<Handlers>().retire();
    let guests = worker.locals.of::<Guests>();
    let (dead, pools) = guests.retire();
    if leased.is_empty() && dead.is_empty() && !pools.iter().any(|pool| pool.is_untidy(|id| guests.local(id).is_none()))
    {
        return;
    }
    tokio::task::spawn_local(async move {
        bury(leased).await;
        bury(dead).await;
        for pool in pools {
            tidy(&guests, &pool).await;
        }
    });
}

async fn bury<T>(guests: Vec<T>) {
    for (count, guest) in guests.into_iter().enumerate() {
        drop(guest);
        if (count + 1) % BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn tidy(guests: &Guests, pool: &Rc<Pool>) {
    let gone = |id| guests.local(id).is_none();
    let _running = pool.shared.filters.ticker.run_beside();
    while let Some(mut guest) = pool.stale(gone) {
        let all = guest.plugins().all(gone);
        // A guest that fails at this is not used again.
        if !all && matches!(tokio::time::timeout(DEADLINE, guest.forget(gone)).await, Ok(Ok(()))) {
            pool.put(guest);
        }
        tokio::task::yield_now().await;
    }
    let Some(mut guest) = pool.fullest() else { return };
    for id in pool.to_move(&guest) {
        let Some(local) = guests.local(id) else { continue };
        if !matches!(tokio::time::timeout(DEADLINE, guest.create(&local.plugin)).await, Ok(Ok(_))) {
            return;
        }
    }
    bury(pool.folded(guest)).await;
}
