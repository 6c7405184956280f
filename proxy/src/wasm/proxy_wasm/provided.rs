//! What the gateway provides to Proxy-Wasm modules, by name, and since which version of the ABI it exists. A test holds
//! the list to what is linked.

use crate::wasm::{
    LoadError,
    load::missing,
    preview1,
    surface::{Item, Surface},
};

/// The versions, oldest first, and the export that says so. The last is 0.2.1 as Higress has it: a head can be held back
/// alone, while its body is shown.
pub(super) const VERSIONS: [(&str, &str); 4] = [
    ("0.1.0", "proxy_abi_version_0_1_0"),
    ("0.2.0", "proxy_abi_version_0_2_0"),
    ("0.2.1", "proxy_abi_version_0_2_1"),
    ("0.2.100", "proxy_abi_version_0_2_100"),
];

/// Functions of the module `env`.
pub(super) const ENV: [&str; 56] = [
    "abort",
    "emscripten_memcpy_big",
    "emscripten_memcpy_js",
    "emscripten_notify_memory_growth",
    "emscripten_resize_heap",
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_clear_route_cache",
    "proxy_close_stream",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_get_configuration",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_size",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_get_upstream_hosts",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_inject_encoded_data_to_filter_chain",
    "proxy_log",
    "proxy_record_metric",
    "proxy_redis_call",
    "proxy_redis_init",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "proxy_set_upstream_override_host",
    "pthread_equal",
    "seed",
    "trace",
];

/// Refuses a module that imports what there is not.
pub(in crate::wasm) fn check(surface: &Surface) -> Result<(), LoadError> {
    if version(surface).is_none() {
        let named = surface.exports.iter().filter(|item| item.name.starts_with("proxy_abi_version")).cloned().collect();
        return Err(LoadError::Version(named));
    }
    let exports = |of: fn(&str) -> bool| surface.exports.iter().any(|item| of(&item.name));
    if exports(is_of_connections) && !exports(is_of_exchanges) {
        return Err(LoadError::Refused(
            "it has callbacks for connections only (proxy_on_new_connection, proxy_on_downstream_data and the like), which \
             are not made here: it would never run"
                .into(),
        ));
    }
    match missing(surface, provides) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(LoadError::NotProvided(missing)),
    }
}

fn is_of_connections(export: &str) -> bool {
    ["proxy_on_new_connection", "proxy_on_downstream_data", "proxy_on_upstream_data"].contains(&export)
}

// Or something that runs beside them.
fn is_of_exchanges(export: &str) -> bool {
    export.starts_with("proxy_on_request_")
        || export.starts_with("proxy_on_response_")
        || ["proxy_on_tick", "proxy_on_queue_ready", "proxy_on_log"].contains(&export)
}

/// Whether a module gets this import.
pub(in crate::wasm) fn provides(item: &Item) -> bool {
    match item.module.as_str() {
        "env" => ENV.contains(&item.name.as_str()),
        _ => preview1::provides(item),
    }
}

/// The version that a module says it was made for; the newest, where it names several.
pub(in crate::wasm) fn version(surface: &Surface) -> Option<&'static str> {
    let exports = |name: &str| surface.exports.iter().any(|item| item.module.is_empty() && item.name == name);
    VERSIONS.iter().rev().find(|(_, export)| exports(export)).map(|(version, _)| *version)
}

/// What to do about an import of a Proxy-Wasm module that there is not.
pub(in crate::wasm) fn hint(item: &Item) -> Option<String> {
    let name = item.name.as_str();
    if item.module != "env" || !name.starts_with("proxy_") {
        return None;
    }
    Some(format!("{name} is in none of the versions 0.1.0, 0.2.0 and 0.2.1; docs/proxy-wasm.md lists what is"))
}
