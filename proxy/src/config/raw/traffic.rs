//! Steps that shape what passes. Knows nothing of what they do.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, OneOrMany, Size};

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

/// A content coding.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Coding {
    Gzip,
    Br,
    Zstd,
}
