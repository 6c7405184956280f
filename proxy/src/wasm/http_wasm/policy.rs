//! What a failure means for its exchange: by the policies `closed` and `open`.

use super::visit::{Cause, Visit};
use crate::{
    config::spec::FailurePolicy,
    error::{Error, Kind},
    wasm::{call::Fail, policy::Subject},
};

impl Visit {
    /// Logs and counts a failure, where it is the plugin's. `Ok`: the plugin is skipped from now on.
    ///
    /// # Errors
    /// Where the policy is `closed`, or a body broke off.
    #[cold]
    pub(super) fn judge(&self, fail: Fail) -> Result<(), Error> {
        let fail = match self.cause.take() {
            Some(Cause::Broken(error)) => return Err(error),
            Some(Cause::TooLarge) => Fail::TooLarge(self.local.plugin().limits.buffer_bytes_max),
            None => fail,
        };
        let local = &self.local;
        let subject = Subject {
            plugin: local.plugin(),
            worker: local.worker,
            breaker: &local.breaker,
            failures: &local.failures,
            generation: Some(self.exchange.generation()),
        };
        self.decide(subject.report(&fail))
    }

    /// The plugin is not called, because it failed too often.
    ///
    /// # Errors
    /// Where the policy is `closed`.
    #[cold]
    pub(super) fn left_alone(&self) -> Result<(), Error> {
        self.decide(Error::new(Kind::PluginFailed, format!("plugin {}: it failed too often", self.local.name)))
    }

    fn decide(&self, error: Error) -> Result<(), Error> {
        self.failed.set(Some(error.kind()));
        match self.local.plugin().on_failure {
            FailurePolicy::Closed => Err(error),
            FailurePolicy::Open => {
                self.skipped.set(true);
                Ok(())
            }
        }
    }
}
