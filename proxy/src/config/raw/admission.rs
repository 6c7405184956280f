//! How many requests an upstream takes, and when it takes none. Knows nothing of requests.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, OneOrMany, Period, Text};

/// Where requests wait while `requests-max` are under way: first come, first served, in the whole process.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Queue {
    /// Requests that may wait. Over it: 503.
    #[schemars(extend("x-default" = "100"))]
    pub(crate) requests_max: Field<Count>,
    /// How long one may wait. Over it: 503.
    #[schemars(extend("x-default" = "1s"))]
    pub(crate) timeout: Field<Period>,
}

/// Refuses requests at once, with 503 and `Retry-After`, while the upstream fails. What counts is what the client would
/// get, after all retries.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Breaker {
    /// What counts as a failure, in the words of `retry`.
    #[schemars(extend("x-default" = "`connect-failure`, `reset`, `timeout`, `5xx`"))]
    pub(crate) on: Field<OneOrMany<Text>>,
    /// Opens when this share of the requests in the window failed.
    #[schemars(extend("x-default" = "50, or never where `consecutive-errors` is given"))]
    pub(crate) error_percent: Field<Count>,
    /// Requests in the window, below which no share is looked at.
    #[schemars(extend("x-default" = "20"))]
    pub(crate) requests_min: Field<Count>,
    /// What is looked back on, in whole seconds, 60 at most.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) window: Field<Period>,
    /// Opens after so many failures in a row.
    #[schemars(extend("x-default" = "never"))]
    pub(crate) consecutive_errors: Field<Count>,
    /// How long it refuses everything once it is open.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) open_time: Field<Period>,
    /// Requests that it then lets through as a trial: it closes when all of them succeed, and opens again when one fails.
    #[schemars(extend("x-default" = "3"))]
    pub(crate) probes: Field<Count>,
}
