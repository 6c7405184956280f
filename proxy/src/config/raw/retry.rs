//! How a request is tried: again, in parallel, for how long. Knows nothing of requests.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, OneOrMany, Period, Size, Text};

/// When a request is sent again, and how often. Never after a byte of the response was passed on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Retry {
    /// What is retried: `connect-failure` (no connection, in time or at all), `refused-stream` (refused unprocessed), `reset`
    /// (the connection ended before a whole head, or what came is not HTTP), `timeout` (`response-timeout` or
    /// `try-timeout`), and answers: `gateway-error` (502, 503, 504), `5xx`, `retriable-4xx` (409), or any status. Of calls of gRPC, answers
    /// that are a status and nothing else: `cancelled`, `deadline-exceeded`, `internal`, `resource-exhausted`,
    /// `unavailable`.
    #[schemars(extend("x-default" = "connect-failure, refused-stream, reset, timeout and gateway-error"))]
    pub(crate) on: Field<OneOrMany<Text>>,
    /// How often it is sent again at most, beside the first time.
    #[schemars(extend("x-default" = "2"))]
    pub(crate) attempts: Field<Count>,
    /// The wait before each retry.
    pub(crate) back_off: Field<BackOff>,
    /// How many retries there may be beside ordinary requests, in the whole process.
    pub(crate) budget: Field<RetryBudget>,
    /// Methods that may be sent again after they may have reached an endpoint: `idempotent` (`GET`, `HEAD`, `OPTIONS`, `TRACE`,
    /// `PUT`, `DELETE`), `all`, or names. What certainly reached nobody is retried whatever the method.
    #[schemars(extend("x-default" = "idempotent"))]
    pub(crate) methods: Field<OneOrMany<String>>,
    /// How much of a streamed request body is kept to be sent again. A longer one is sent once.
    #[schemars(extend("x-default" = "64KiB"))]
    pub(crate) body_bytes_max: Field<Size>,
}

/// A random time up to `base`, doubled with each retry, up to `max`. No wait where nothing was sent and another endpoint
/// is tried.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct BackOff {
    /// The most before the first retry.
    #[schemars(extend("x-default" = "25ms"))]
    pub(crate) base: Field<Period>,
    /// The most before any.
    #[schemars(extend("x-default" = "250ms"))]
    pub(crate) max: Field<Period>,
    /// An endpoint's `Retry-After` up to this is waited for before it is tried again; with a longer one it is not.
    #[schemars(extend("x-default" = "2s"))]
    pub(crate) retry_after_max: Field<Period>,
}

/// Retries, over ten seconds: this share of the requests, and beside it so many a second. Over it: no retry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RetryBudget {
    /// Retries for a hundred requests.
    #[schemars(extend("x-default" = "20"))]
    pub(crate) percent: Field<Count>,
    /// Retries a second that are allowed however few requests there are.
    #[schemars(extend("x-default" = "10"))]
    pub(crate) per_second_min: Field<Count>,
}

/// A second try on another endpoint where the first is slow; the first answer wins and the others are cancelled. For
/// idempotent methods whose body is at hand.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Hedge {
    /// How long an answer is waited for before one more try begins. Required.
    pub(crate) after: Field<Period>,
    /// Tries under way at once for one request, the first included.
    #[schemars(extend("x-default" = "2"))]
    pub(crate) requests_max: Field<Count>,
    /// How many further tries there may be beside ordinary requests, in the whole process; retries count, too.
    pub(crate) budget: Field<RetryBudget>,
}
