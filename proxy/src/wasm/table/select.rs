//! Asking a table which of its routes serves a request. Whatever goes wrong is logged and counted, and answered with
//! `None`: the routes that are matched serve then.

use std::{
    collections::HashSet,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, LocalBoxFuture};

use super::{
    Table,
    guest::TableGuest,
    pool::{InUse, Local, Tables},
};
use crate::{
    error::Kind,
    exchange::{Asked, Select, Trial, Worker},
    wasm::{budget::Allowance, call::Fail, deadline::Deadline, guest::told},
};

/// A table that chooses.
pub(super) struct Selector {
    pub(super) table: Arc<Table>,
    /// Its routes.
    pub(super) names: HashSet<Arc<str>>,
    pub(super) in_use: Arc<InUse>,
}

type Chosen = Option<Arc<str>>;

impl Select for Selector {
    fn select<'a>(&'a self, worker: &'a Worker, asked: Asked) -> LocalBoxFuture<'a, (Asked, Chosen)> {
        Box::pin(self.serve(worker, asked))
    }

    fn trial(&self, asked: Asked) -> BoxFuture<'_, (Asked, Trial)> {
        Box::pin(async move {
            let _running = self.table.filters.ticker.run_beside();
            let limit = self.table.limits.call_timeout;
            let mut guest = match TableGuest::make(&self.table).await {
                Ok((guest, _)) => guest,
                Err(error) => return (asked, Err(error.to_string())),
            };
            let called = tokio::time::timeout(limit, guest.select(asked)).await;
            let chosen = self.judged(called.map_err(|_| limit));
            (guest.take(), chosen.map_err(|fail| fail.text()))
        })
    }
}

impl Selector {
    async fn serve(&self, worker: &Worker, asked: Asked) -> (Asked, Chosen) {
        let table = &self.table;
        let local = worker.locals.of::<Tables>().adopt(worker, table, &Arc::downgrade(&self.in_use));
        if !local.breaker.allows() {
            table.series.finish(worker.index, Err(Kind::PluginFailed), Duration::ZERO);
            return (asked, None);
        }
        let (started, generation) = (Instant::now(), asked.generation);
        let running = table.filters.ticker.run(worker.index);
        let (asked, outcome) = self.ask(&local, asked, started).await;
        drop(running);
        let result = outcome.as_ref().map(drop).map_err(Fail::kind);
        table.series.finish(worker.index, result, started.elapsed());
        let chosen = match outcome {
            Ok(chosen) => {
                local.breaker.succeeded();
                chosen
            }
            Err(fail) => {
                failed(&local, worker, generation, &fail);
                None
            }
        };
        (asked, chosen)
    }

    async fn ask(&self, local: &Rc<Local>, asked: Asked, started: Instant) -> (Asked, Result<Chosen, Fail>) {
        let limit = self.table.limits.call_timeout;
        let deadline = started + limit;
        let leased = match local.pace.begin(started, deadline).await {
            Ok(()) => Deadline::within(deadline, local.lease()).await,
            Err(late) => Err(late),
        };
        let mut lease = match leased.unwrap_or(Err(Fail::Timeout(limit))) {
            Ok(lease) => lease,
            Err(fail) => return (asked, Err(fail)),
        };
        let called = {
            let mut call = pin!(lease.guest().select(asked));
            let watched = poll_fn(|cx| local.pace.watch(&self.table.filters.ticker, || call.as_mut().poll(cx)));
            Deadline::within(deadline, watched).await
        };
        let asked = lease.guest().take();
        let returned = matches!(called, Ok(Ok(_)));
        let outcome = self.judged(called.map_err(|_| limit));
        if returned {
            lease.release();
        }
        (asked, outcome)
    }

    // What a call means: that it was in time, returned, is no error, and names a route of this table.
    fn judged(
        &self,
        called: Result<wasmtime::Result<Result<Option<String>, String>>, Duration>,
    ) -> Result<Chosen, Fail> {
        let returned = called.map_err(Fail::Timeout)?.map_err(|error| Fail::Trap(told(&error)))?;
        let Some(name) = returned.map_err(Fail::Said)? else { return Ok(None) };
        match self.names.get(name.as_str()) {
            Some(name) => Ok(Some(Arc::clone(name))),
            None => {
                let shown: String = name.chars().take(128).collect();
                Err(Fail::Said(format!("it selected `{shown}`, which is none of its routes")))
            }
        }
    }
}

#[cold]
fn failed(local: &Local, worker: &Worker, generation: u64, fail: &Fail) {
    let table = &*local.table.name;
    if let Some(kind) = fail.trap() {
        local.table.series.trapped(worker.index, kind);
    }
    if let Allowance::Write { dropped } = local.failures.take(Instant::now()) {
        let (kind, text) = (fail.kind().name(), fail.text());
        tracing::warn!(
            table,
            generation,
            unlogged = dropped,
            kind,
            "table failed, the routes that are matched serve: {text}"
        );
    }
    if local.breaker.failed() {
        tracing::warn!(table, "the table failed too often in a row and is left alone for a second");
    }
}
