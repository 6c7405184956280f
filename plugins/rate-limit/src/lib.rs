//! Limits requests: a token bucket for each client, header value, consumer or route, in the key-value space that all
//! workers share, so that a limit holds for the process, exactly, through reloads.
//!
//! A bucket is read, computed and written back if nobody else wrote it meanwhile; who did not win reads again. Only an
//! admitted request writes: refusing costs one read.

mod bucket;
mod fields;
mod key;
mod settings;

use std::cell::OnceCell;

use tidegate_guest::{
    LocalResponse, Phases, Plugin, Problems, Request, Result, Verdict, clock, exchange, kv, log, metrics::Counter,
};

use bucket::{Bucket, Taken};
use fields::Left;
use settings::{Checked, Fields, OnFull, Settings};

struct RateLimit {
    settings: Checked,
    // Defined when they are first needed: of thousands of limits, few are ever reached.
    limited: OnceCell<Counter>,
    undecided: OnceCell<Counter>,
}

/// How often a bucket is read again because another worker wrote it: each time, that one made progress.
const ROUNDS_MAX: u32 = 100;

impl Plugin for RateLimit {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        Ok(Self { settings: settings.checked()?, limited: OnceCell::new(), undecided: OnceCell::new() })
    }

    fn phases(&self) -> Phases {
        Phases::none().request()
    }

    fn on_request(&self, request: Request) -> Result<Verdict> {
        let name = self.settings.key.name(request, self.settings.networks);
        match self.take(&name) {
            Ok(taken) if taken.admitted || !self.settings.enforce => {
                if !taken.admitted {
                    self.note("would-limit")?;
                }
                if self.settings.fields == Fields::All {
                    let policy = &self.settings.policy;
                    // Lists: other limits on the way add theirs.
                    request.append_response_header(fields::POLICY, &policy.described)?;
                    request.append_response_header(fields::LEFT, policy.left(Left::of(&taken)))?;
                }
                Ok(Verdict::Proceed)
            }
            Ok(taken) => Ok(Verdict::Respond(self.refuse(&taken)?)),
            Err(why) => Ok(self.decide_without(&why)),
        }
    }
}

impl RateLimit {
    fn take(&self, name: &str) -> Result<Taken, kv::Error> {
        let limit = &self.settings.limit;
        for _ in 0..ROUNDS_MAX {
            let entry = kv::get(name);
            let version = entry.as_ref().map_or(0, |entry| entry.version);
            let stored = entry.and_then(|entry| Bucket::from_bytes(&entry.value));
            let taken = limit.take(stored, clock::monotonic());
            if !taken.changed {
                return Ok(taken);
            }
            let until = limit.full_in(&taken.bucket).saturating_add(MARGIN);
            match kv::compare_and_set(name, version, &taken.bucket.to_bytes(), Some(until)) {
                Ok(_) => return Ok(taken),
                Err(kv::Error::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(kv::Error::Conflict)
    }

    fn refuse(&self, taken: &Taken) -> Result<LocalResponse> {
        self.note("limited")?;
        Ok(self.settings.policy.refusal(Left::of(taken), self.settings.fields != Fields::None))
    }

    // For the access log, and the metric.
    fn note(&self, what: &str) -> Result<()> {
        self.limited.get_or_init(|| Counter::new("limited")).add(1);
        Ok(exchange::set_attribute(what, "true")?)
    }

    fn decide_without(&self, why: &kv::Error) -> Verdict {
        self.undecided.get_or_init(|| Counter::new("undecided")).add(1);
        let (what, verdict) = match self.settings.on_full {
            OnFull::Closed => ("answered 503", Verdict::Respond(fields::undecided())),
            OnFull::Open => ("let through", Verdict::Proceed),
        };
        log::warn(&format!("a request was {what} uncounted: {why}; raise `limits: {{kv-bytes-max}}`"));
        verdict
    }
}

/// The space counts milliseconds.
const MARGIN: std::time::Duration = std::time::Duration::from_millis(1);

tidegate_guest::export!(RateLimit);

#[cfg(test)]
mod tests;
