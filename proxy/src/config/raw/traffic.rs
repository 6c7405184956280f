//! Steps that shape what passes. Knows nothing of what they do.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, OneOrMany, Period, Size};

/// An id for every exchange: sent to the upstream and to the client, and logged as the attribute `request.id`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RequestId {
    /// The field that carries it.
    #[schemars(extend("x-default" = "x-request-id"))]
    pub(crate) header: Field<String>,
    /// Whether an id that the client sends is kept, where it is 1 to 128 letters, digits and `-._~+/=:@`. Otherwise it is
    /// replaced.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) accept: Field<bool>,
    /// Whether the response carries it.
    #[schemars(extend("x-default" = "true"))]
    pub(crate) respond: Field<bool>,
}

/// Compression of responses, as they stream, for clients that accept it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Compress {
    /// Content codings, the dearest first: which one is taken where a client likes several alike.
    #[schemars(extend("x-default" = "[zstd, br, gzip]"))]
    pub(crate) codings: Field<OneOrMany<Coding>>,
    /// Content types that are compressed: `text/html`, `text/*`, `application/*+json`.
    #[schemars(extend("x-default" = "text, JSON, XML, JavaScript, SVG, Wasm and the like"))]
    pub(crate) types: Field<OneOrMany<String>>,
    /// A body that is known to be shorter is left alone.
    #[schemars(extend("x-default" = "1KiB"))]
    pub(crate) body_bytes_min: Field<Size>,
    /// Effort of gzip, 1 (fast) to 9 (small).
    #[schemars(extend("x-default" = "5"))]
    pub(crate) gzip_level: Field<Count>,
    /// Effort of brotli, 0 (fast) to 9 (small).
    #[schemars(extend("x-default" = "4"))]
    pub(crate) br_level: Field<Count>,
    /// Effort of zstd, 1 (fast) to 15 (small).
    #[schemars(extend("x-default" = "3"))]
    pub(crate) zstd_level: Field<Count>,
}

/// Decompression of request bodies, as they stream, for upstreams and plugins that read none of it. A body in another
/// coding is answered with 415.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Decompress {
    /// Content codings that are read.
    #[schemars(extend("x-default" = "[gzip, br, zstd]"))]
    pub(crate) codings: Field<OneOrMany<Coding>>,
    /// How much may come of a body. Over it: 413.
    #[schemars(extend("x-default" = "10MiB"))]
    pub(crate) body_bytes_max: Field<Size>,
    /// How many times what was sent may come of it, beside 64 KiB. Over it: 413.
    #[schemars(extend("x-default" = "100"))]
    pub(crate) ratio_max: Field<Count>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Coding {
    Gzip,
    Br,
    Zstd,
}

/// How many exchanges may be under way at a time, in the whole process. Who comes when there are so many waits, or is turned
/// away.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Concurrency {
    /// Under way at a time, for each value of `key`. Required.
    pub(crate) exchanges_max: Field<Count>,
    /// What is counted apart: `all` (everything together), `route`, `client-ip`, or the values of a request field,
    /// `{header: NAME}`.
    #[schemars(extend("x-default" = "all"))]
    pub(crate) key: Field<ConcurrencyKeyForm>,
    /// How many may wait, for each value of `key`.
    #[schemars(extend("x-default" = "0"))]
    pub(crate) queue_max: Field<Count>,
    /// How long one may wait.
    #[schemars(extend("x-default" = "1s"))]
    pub(crate) queue_timeout: Field<Period>,
    /// The answer to who is turned away: 503 or 429.
    #[schemars(extend("x-default" = "503"))]
    pub(crate) status: Field<u16>,
    /// When they should try again, in `Retry-After`, in whole seconds.
    #[schemars(extend("x-default" = "1s"))]
    pub(crate) retry_after: Field<Period>,
}

/// `all`, `route` or `client-ip`, or a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum ConcurrencyKeyForm {
    Text(String),
    Map(ConcurrencyKey),
}

/// What is counted apart.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ConcurrencyKey {
    /// The values of this request field. Required.
    pub(crate) header: Field<String>,
}
