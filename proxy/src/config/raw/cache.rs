//! The response cache. Knows nothing of what it does.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, Period, Size};

/// A shared response cache (RFC 9111), bounded for the whole process.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Cache {
    /// All that is kept, heads and bodies, what is being stored among it. What was not asked for lately makes room.
    #[schemars(extend("x-default" = "64MiB"))]
    pub(crate) bytes_max: Field<Size>,
    /// URIs of which something is kept.
    #[schemars(extend("x-default" = "16384"))]
    pub(crate) entries_max: Field<Count>,
    /// One response's body. A larger one passes and is not kept.
    #[schemars(extend("x-default" = "1MiB"))]
    pub(crate) entry_bytes_max: Field<Size>,
    /// How long responses are fresh that say nothing of it.
    #[schemars(extend("x-default" = "they are not"))]
    pub(crate) default_max_age: Field<Period>,
    /// Responses that say nothing of it are fresh for this share of the time since they last changed, a day at most.
    #[schemars(extend("x-default" = "0"))]
    pub(crate) heuristic_percent: Field<Count>,
    /// How long a stale response is served while it is fetched anew, where it says nothing of it.
    #[schemars(extend("x-default" = "it is not"))]
    pub(crate) stale_while_revalidate: Field<Period>,
    /// How long a stale response is served where the upstream fails, where it says nothing of it.
    #[schemars(extend("x-default" = "it is not"))]
    pub(crate) stale_if_error: Field<Period>,
    /// How long a request waits for the answer that another one has asked for, before it asks for its own.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) wait_timeout: Field<Period>,
    /// Whether responses say in `Cache-Status` (RFC 9211) what became of them.
    #[schemars(extend("x-default" = "true"))]
    pub(crate) status_header: Field<bool>,
}
