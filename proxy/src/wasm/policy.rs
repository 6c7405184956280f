//! What a plugin's failure means for its exchange: the breaker, the log, and the policies `closed` and `open`.

use std::{rc::Rc, time::Instant};

use wasmtime::component::ResourceAny;

use super::{
    breaker::Breaker,
    budget::{Allowance, LogBudget},
    call::{Fail, Visit},
    native::{Exports, Params, Phase, Returned},
    plugin::Plugin,
    pool::Lease,
};
use crate::{
    config::spec::FailurePolicy,
    error::{Error, Kind},
};

/// Makes one call of `visit`. `None`: the plugin is skipped, in this phase and all later ones of this exchange.
///
/// # Errors
/// Where it failed, and its policy is `closed`.
pub(super) async fn attempt<P, R>(
    visit: &Rc<Visit>,
    phase: &'static str,
    export: impl Fn(&Exports) -> Option<Phase<P, R>>,
    params: impl FnOnce(ResourceAny) -> P,
) -> Result<Option<R>, Error>
where
    P: Params,
    R: Returned,
{
    // Not by way of `attempted`: a call that is handed on has its place twice in the future that waits for it.
    if is_to_be_called(visit)? { conclude(visit, visit.call(phase, export, params).await) } else { Ok(None) }
}

/// The same of a call, or of a part of one, that is there already.
///
/// # Errors
/// As [`attempt`].
pub(super) async fn attempted<R>(
    visit: &Rc<Visit>,
    call: impl Future<Output = Result<R, Fail>>,
) -> Result<Option<R>, Error> {
    if is_to_be_called(visit)? { conclude(visit, call.await) } else { Ok(None) }
}

// Not where it is skipped, or left alone for a while.
fn is_to_be_called(visit: &Visit) -> Result<bool, Error> {
    if visit.skipped.get() {
        return Ok(false);
    }
    if !visit.local.breaker.allows() {
        let left_alone = Error::new(Kind::PluginFailed, format!("plugin {}: it failed too often", visit.local.name));
        return decide(visit, left_alone).map(|()| false);
    }
    Ok(true)
}

/// The same, at once, on a guest that [`Local::prompt`](super::pool::Local::prompt) gave.
///
/// # Errors
/// As of [`attempt`].
pub(super) fn attempt_at_once<P, R>(
    visit: &Rc<Visit>,
    (phase, guest): (&'static str, Lease),
    export: impl Fn(&Exports) -> Option<Phase<P, R>>,
    params: impl FnOnce(ResourceAny) -> P,
) -> Result<Option<R>, Error>
where
    P: Params,
    R: Returned,
{
    if visit.skipped.get() {
        guest.release();
        return Ok(None);
    }
    conclude(visit, visit.call_at_once((phase, guest), export, params))
}

fn conclude<R>(visit: &Visit, called: Result<R, Fail>) -> Result<Option<R>, Error> {
    match called {
        Ok(answer) => {
            visit.local.breaker.succeeded();
            Ok(Some(answer))
        }
        Err(fail) => judge(visit, fail).map(|()| None),
    }
}

/// Logs and counts a failure. `Ok`: the plugin is skipped from now on.
///
/// # Errors
/// Where the policy is `closed`.
#[cold]
pub(super) fn judge(visit: &Visit, fail: Fail) -> Result<(), Error> {
    let local = &visit.local;
    let subject = Subject {
        plugin: &local.plugin,
        worker: local.worker,
        breaker: &local.breaker,
        failures: &local.failures,
        generation: Some(visit.exchange.generation()),
    };
    decide(visit, subject.report(&fail))
}

fn decide(visit: &Visit, error: Error) -> Result<(), Error> {
    visit.failed.set(Some(error.kind()));
    match visit.local.plugin.on_failure {
        FailurePolicy::Closed => Err(error),
        FailurePolicy::Open => {
            visit.skipped.set(true);
            Ok(())
        }
    }
}

/// A plugin on a worker, as far as its failures go.
pub(super) struct Subject<'a> {
    pub(super) plugin: &'a Plugin,
    pub(super) worker: usize,
    pub(super) breaker: &'a Breaker,
    /// Of what is logged of them.
    pub(super) failures: &'a LogBudget,
    /// Of the exchange that it failed in, if it was in one.
    pub(super) generation: Option<u64>,
}

impl Subject<'_> {
    /// Logs and counts a failure; answers with what it is for the exchange, where its policy is `closed`.
    pub(super) fn report(&self, fail: &Fail) -> Error {
        let (name, text) = (&*self.plugin.name, fail.text());
        if let Some(kind) = fail.trap() {
            self.plugin.series.trapped(self.worker, kind);
        }
        if let Allowance::Write { dropped } = self.failures.take(Instant::now()) {
            let (generation, kind) = (self.generation, fail.kind().name());
            tracing::warn!(plugin = name, generation, unlogged = dropped, kind, "plugin failed: {text}");
        }
        if !matches!(fail, Fail::TooLarge(_) | Fail::Lost) && self.breaker.failed() {
            tracing::warn!(plugin = name, "the plugin failed too often in a row and is left alone for a while");
        }
        Error::new(fail.kind(), format!("plugin {name}: {}", text.lines().next().unwrap_or_default()))
    }
}
