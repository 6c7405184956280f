//! One call into a fresh guest, and the task that it runs in. The guest ends with the task, however it ends.

use std::{future::poll_fn, pin::pin, rc::Rc, sync::Arc};

use http::{Request, request};
use http_body_util::BodyExt;
use tokio::task::AbortHandle;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView,
    p2::bindings::http::types::{ErrorCode, Scheme},
};

use super::{
    Shared,
    data::{Data, store},
    handling::{self, Handling},
    lodge::Lodged,
};
use crate::wasm::{call::Fail, guest::told};

/// Ends a guest when it is dropped.
pub(super) struct Guard(Option<AbortHandle>);

impl Guard {
    /// Lets the guest go on by itself.
    pub(super) fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Makes a guest and drops it.
///
/// # Errors
/// Where it cannot be made: its start function traps, or it needs more memory than it may have.
pub(super) async fn try_out(shared: &Arc<Shared>) -> wasmtime::Result<()> {
    let program = shared.plugin.module.wasi_http();
    let _running = program.filters.ticker.run_beside();
    let mut store = store(shared);
    match program.pre.instantiate_async(&mut store).await {
        Ok(_) => {
            shared.counters.instantiated();
            shared.counters.dropped();
            Ok(())
        }
        Err(error) => Err(match store.data().denied() {
            Some(denied) => error.context(denied),
            None => error,
        }),
    }
}

/// Hands a request to a fresh guest, in a task of its own on this worker.
pub(super) fn start(handling: &Rc<Handling>, head: request::Parts, body: Lodged) -> Guard {
    let handling = Rc::clone(handling);
    let secure = handling.exchange.secure;
    let task = tokio::task::spawn_local(async move {
        let shared = Arc::clone(&handling.local.shared);
        let stands = handling.count();
        let mut call = pin!(handle(&shared, Request::from_parts(head, body.boxed_unsync()), secure));
        let mut deadline = None;
        let outcome = match handling.begin().await {
            Ok(()) => poll_fn(|cx| handling.poll(call.as_mut(), &mut deadline, cx)).await,
            late => late,
        };
        handling.conclude(outcome);
        drop(stands);
    });
    Guard(Some(task.abort_handle()))
}

async fn handle(shared: &Arc<Shared>, request: Request<WasiBody>, secure: bool) -> Result<(), Fail> {
    let mut store = store(shared);
    let called = call(shared, &mut store, request, secure).await;
    let unfinished = store.data_mut().has_unfinished_body();
    handling::with_active(|handling| handling.leaves(unfinished));
    called.map_err(|error| failure(&store, error))
}

async fn call(
    shared: &Shared,
    store: &mut Store<Data>,
    request: Request<WasiBody>,
    secure: bool,
) -> wasmtime::Result<()> {
    let proxy = shared.plugin.module.wasi_http().pre.instantiate_async(&mut *store).await?;
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(if secure { Scheme::Https } else { Scheme::Http }, request)?;
    let out = http.new_response_outparam_from_callback(|answer| {
        handling::with_active(|handling| handling.answer(answer.map_err(|code| name(&code))));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

fn name(code: &ErrorCode) -> String {
    format!("it answered with the error code {code:?}")
}

fn failure(store: &Store<Data>, error: wasmtime::Error) -> Fail {
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return Fail::Exited(*status);
    }
    match Fail::instantiate(error) {
        Fail::Trap(text) => {
            Fail::Trap(text + &store.data().denied().map(|denied| format!(" ({denied})")).unwrap_or_default())
        }
        other => other,
    }
}

impl From<wasmtime::Error> for Fail {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(told(&error))
    }
}
