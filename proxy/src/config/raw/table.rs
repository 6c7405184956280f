//! Routing tables as modules. Knows nothing of Wasm.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Any, Count, Field, ModuleForm, OneOrMany, Period, Size};

/// A routing table: a module that yields routes when the configuration is loaded, and may choose among them for each
/// request. `listeners` and `hosts` bound what it may route.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Table {
    /// A module, named as a plugin's. Required.
    pub(crate) module: Field<ModuleForm>,
    /// What the table is made of: any value. `${env:NAME}` and `${file:PATH}` in its texts are replaced.
    pub(crate) config: Field<Any>,
    /// Listeners that its routes may serve; those that name none serve all of these.
    #[schemars(extend("x-default" = "all"))]
    pub(crate) listeners: Field<OneOrMany<String>>,
    /// Hosts that its routes may serve, as a route's `host`; those that name none serve all of these.
    #[schemars(extend("x-default" = "any"))]
    pub(crate) hosts: Field<OneOrMany<String>>,
    /// What the table may use.
    pub(crate) limits: Field<TableLimits>,
}

/// Bounds of a routing table.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct TableLimits {
    /// Routes that it may yield. Over it: the configuration is refused.
    #[schemars(extend("x-default" = "10000"))]
    pub(crate) routes_max: Field<Count>,
    /// Of one `select`. Over it: the routes that are matched serve.
    #[schemars(extend("x-default" = "50ms"))]
    pub(crate) call_timeout: Field<Period>,
    /// Linear memory of one guest.
    #[schemars(extend("x-default" = "32MiB"))]
    pub(crate) memory_bytes_max: Field<Size>,
    /// Guests that may be busy at a time, in the whole process. Over it: the routes that are matched serve.
    #[schemars(extend("x-default" = "64"))]
    pub(crate) guests_max: Field<Count>,
    /// One log message.
    #[schemars(extend("x-default" = "8KiB"))]
    pub(crate) log_bytes_max: Field<Size>,
}
