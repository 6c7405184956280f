//! Steps that shape what passes. Knows nothing of what they do.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Field;

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
