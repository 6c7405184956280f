//! Checks routing tables. What a table yields is checked by `yielded`, once it is known. Knows nothing of Wasm.

use std::sync::Arc;

use super::{
    plugin::{Configured, configured},
    route::hosts,
    scope::{Scope, Value},
    values,
};
use crate::config::{
    document::Kind,
    raw::{self, Field},
    spec::{Part, Table, TableLimits},
};

/// Checks a table.
pub(super) fn table(scope: &mut Scope<'_>) -> Option<Value> {
    let raw: raw::Table = scope.read()?;
    let at = scope.at();
    if raw.module.is_absent() {
        scope.missing("module", at, "name the module that yields the routes, such as `module: tables/main.wasm`");
    }
    let Configured { module, module_place, config, config_places } = configured(scope, raw.module, raw.config);
    let listeners = raw.listeners.many();
    let listeners = listeners.into_iter().map(|(name, pos)| scope.mention(Kind::Listener, &name, pos)).collect();
    let hosts = hosts(scope, [Field::Absent, raw.hosts]);
    let limits = limits(scope, raw.limits.value().unwrap_or_default());
    let (module, module_terms) = module?;
    let table = Table { module, module_terms, module_place, config, config_places, listeners, hosts, limits };
    let at = scope.place(at);
    Some(Value::Table(Arc::new(Part::new(at, table))))
}

fn limits(scope: &mut Scope<'_>, raw: raw::TableLimits) -> TableLimits {
    let default = TableLimits::default();
    TableLimits {
        routes_max: values::number(scope, raw.routes_max, 1, default.routes_max),
        call_timeout: values::period(scope, raw.call_timeout, default.call_timeout),
        memory_bytes_max: values::size(scope, raw.memory_bytes_max, 64 << 10, default.memory_bytes_max),
        guests_max: values::number(scope, raw.guests_max, 1, default.guests_max),
        log_bytes_max: values::size(scope, raw.log_bytes_max, 0, default.log_bytes_max),
    }
}
