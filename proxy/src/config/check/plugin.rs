//! Checks plugins: module, configuration with a place for every value, grants, limits. Knows nothing of Wasm.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::{module, scope::Scope, target, values};
use crate::config::{
    diagnostic::Place,
    document::Kind,
    node::Pos,
    raw::{self, Any, Field, ModuleForm},
    spec::{
        Endpoint, FailurePolicy, Grants, Isolation, Middleware, ModuleTerms, Name, Plugin, PluginLimits, ProxyWasm,
    },
};

/// Checks a plugin.
pub(super) fn plugin(scope: &mut Scope<'_>, raw: raw::Middleware) -> Option<Middleware> {
    let Configured { module, module_place, config, config_places } = configured(scope, raw.module, raw.config);
    let grants = grants(scope, raw.grants.value().unwrap_or_default());
    let limits = limits(scope, raw.limits.value().unwrap_or_default());
    let proxy_wasm = proxy_wasm(scope, raw.proxy_wasm.value().unwrap_or_default(), &grants);
    let environment = environment(scope, raw.environment);
    let on_failure = raw.on_failure.value();
    let (module, module_terms) = module?;
    Some(Middleware::Plugin(Box::new(Plugin {
        module,
        module_terms,
        module_place,
        config,
        config_places,
        grants,
        limits,
        on_failure: match on_failure {
            Some(raw::FailurePolicy::Open) => FailurePolicy::Open,
            Some(raw::FailurePolicy::Closed | raw::FailurePolicy::Previous) | None => FailurePolicy::Closed,
        },
        fall_back: matches!(on_failure, Some(raw::FailurePolicy::Previous)),
        isolation: match raw.isolation.value() {
            Some(raw::Isolation::PerRequest) => Isolation::PerRequest,
            Some(raw::Isolation::Reused) | None => Isolation::Reused,
        },
        proxy_wasm,
        environment,
    })))
}

/// A module with a configuration, and where both stand.
pub(super) struct Configured {
    /// None where it is missing, or wrong and reported.
    pub(super) module: Option<(Arc<str>, ModuleTerms)>,
    pub(super) module_place: Option<Place>,
    pub(super) config: Json,
    pub(super) config_places: Arc<BTreeMap<String, Place>>,
}

/// Checks what plugins and tables have in common.
pub(super) fn configured(scope: &mut Scope<'_>, named: Field<ModuleForm>, given: Field<Any>) -> Configured {
    let module_place = named.pos().map(|pos| scope.place(pos));
    let module = named.spot().and_then(|(form, pos)| module::module(scope, form, pos));
    let mut places = BTreeMap::new();
    let config = match given {
        Field::Given(any, pos) => json(scope, any, pos, "", &mut places),
        Field::Absent | Field::Invalid => Json::Null,
    };
    Configured { module, module_place, config, config_places: Arc::new(places) }
}

/// Reports the fields that go with a plugin alone.
pub(super) fn only(scope: &mut Scope<'_>, raw: &raw::Middleware, step: &str) {
    let fields = [
        ("config", raw.config.pos()),
        ("grants", raw.grants.pos()),
        ("limits", raw.limits.pos()),
        ("on-failure", raw.on_failure.pos()),
        ("isolation", raw.isolation.pos()),
        ("proxy-wasm", raw.proxy_wasm.pos()),
        ("environment", raw.environment.pos()),
    ];
    for (field, pos) in fields {
        if let Some(pos) = pos {
            let message = format!("`{field}` goes with a `module`, and this is a `{step}` step");
            scope.error("misplaced-field", pos, message, format!("remove `{field}`"));
        }
    }
}

/// The configuration as JSON, secrets replaced; the place of each value is noted under its JSON pointer.
fn json(scope: &mut Scope<'_>, any: Any, pos: Pos, pointer: &str, places: &mut BTreeMap<String, Place>) -> Json {
    places.insert(pointer.into(), scope.place(pos));
    match any {
        Any::Null => Json::Null,
        Any::Bool(value) => value.into(),
        Any::Number(number) => number.into(),
        Any::Text(text) => scope.reveal(&text, pos).into(),
        Any::List(items) => {
            let items = items.into_iter().filter_map(Field::spot).enumerate();
            items.map(|(index, (item, pos))| json(scope, item, pos, &format!("{pointer}/{index}"), places)).collect()
        }
        Any::Map(raw::Entries(entries)) => {
            let mut object = serde_json::Map::new();
            for (name, _, field) in entries {
                if let Some((value, pos)) = field.spot() {
                    let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                    let value = json(scope, value, pos, &pointer, places);
                    object.insert(name, value);
                }
            }
            Json::Object(object)
        }
    }
}

fn proxy_wasm(scope: &mut Scope<'_>, raw: raw::ProxyWasm, grants: &Grants) -> ProxyWasm {
    let mut text = |field: Field<raw::Text>| field.spot().map(|(raw::Text(text), pos)| scope.reveal(&text, pos));
    let (root_id, vm_id) = (text(raw.root_id), text(raw.vm_id));
    let environment = environment(scope, raw.environment);
    let vm_config = match raw.vm_config {
        Field::Given(any, pos) => json(scope, any, pos, "", &mut BTreeMap::new()),
        Field::Absent | Field::Invalid => Json::Null,
    };
    let mut clusters = Vec::new();
    for (cluster, _, value) in raw.clusters.value().unwrap_or_default().0 {
        let Some((raw::Text(name), pos)) = value.spot() else { continue };
        match grants.upstreams.iter().find(|granted| ***granted == *name) {
            Some(upstream) => clusters.push((cluster, upstream.clone())),
            None => {
                let message = format!("`{name}` is not granted to this plugin");
                scope.error("not-granted", pos, message, "name it in `grants: {upstreams: [...]}`");
            }
        }
    }
    let allow_on_headers_stop_iteration = raw.allow_on_headers_stop_iteration.value().unwrap_or_default();
    let keep_route = raw.keep_route.value().unwrap_or_default();
    let root_id = root_id.unwrap_or_default();
    ProxyWasm { root_id, vm_id, vm_config, environment, clusters, allow_on_headers_stop_iteration, keep_route }
}

fn grants(scope: &mut Scope<'_>, raw: raw::Grants) -> Grants {
    let upstreams = raw.upstreams.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    let upstreams = upstreams.map(|(name, pos)| scope.mention(Kind::Upstream, &name, pos)).collect();
    let hosts = raw.hosts.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    Grants { upstreams, hosts: hosts.filter_map(|(text, pos)| host(scope, &text, pos)).collect() }
}

// An authority elsewhere: an upstream that is defined by being named.
fn host(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<Name> {
    if text.contains('*') {
        let hint = "name each host, as `HOST:PORT` or `https://HOST[:PORT]`";
        scope.error("bad-address", pos, format!("`{text}` stands for any number of hosts"), hint);
        return None;
    }
    let (address, secure) = values::target(scope, text, pos)?;
    Some(target::in_place(scope, vec![Endpoint::new(address)], secure, pos))
}

fn environment(scope: &mut Scope<'_>, raw: Field<raw::Entries<raw::Text>>) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    for (name, pos, value) in raw.value().unwrap_or_default().0 {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("`{name}` is no name of an environment variable");
            scope.error("bad-environment", pos, message, "a name is not empty and has neither `=` nor a zero byte");
        } else if let Some((raw::Text(text), pos)) = value.spot() {
            environment.push((name, scope.reveal(&text, pos)));
        }
    }
    environment
}

fn limits(scope: &mut Scope<'_>, raw: raw::PluginLimits) -> PluginLimits {
    let default = PluginLimits::default();
    PluginLimits {
        memory_bytes_max: values::optional_size(scope, raw.memory_bytes_max, 64 << 10),
        call_timeout: values::period(scope, raw.call_timeout, default.call_timeout),
        exchange_timeout: values::period(scope, raw.exchange_timeout, default.exchange_timeout),
        guests_max: values::number(scope, raw.guests_max, 1, default.guests_max),
        buffer_bytes_max: values::size(scope, raw.buffer_bytes_max, 0, default.buffer_bytes_max),
        state_bytes_max: values::size(scope, raw.state_bytes_max, 0, default.state_bytes_max),
        kv_bytes_max: values::size(scope, raw.kv_bytes_max, 0, default.kv_bytes_max),
        log_bytes_max: values::size(scope, raw.log_bytes_max, 0, default.log_bytes_max),
        calls_max: values::number(scope, raw.calls_max, 0, default.calls_max),
        call_bytes_max: values::size(scope, raw.call_bytes_max, 0, default.call_bytes_max),
        failures_max: values::number(scope, raw.failures_max, 1, default.failures_max),
        cool_down: values::period(scope, raw.cool_down, default.cool_down),
        guest_calls_max: raw.guest_calls_max.value().and_then(|raw::Limit(limit)| limit).map(|calls| calls.0.max(1)),
        guest_bytes_max: raw
            .guest_bytes_max
            .value()
            .and_then(|raw::Limit(limit)| limit)
            .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
    }
}
