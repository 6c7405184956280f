//! What the gateway provides to Proxy-Wasm modules, by name, and since which version of the ABI it exists. A test holds
//! the list to what is linked.

use crate::wasm::{
    LoadError,
    load::missing,
    surface::{Item, Surface},
};

/// The versions, oldest first, and the export that says so.
pub(super) const VERSIONS: [(&str, &str); 3] =
    [("0.1.0", "proxy_abi_version_0_1_0"), ("0.2.0", "proxy_abi_version_0_2_0"), ("0.2.1", "proxy_abi_version_0_2_1")];

/// Functions of the module `env`.
pub(super) const ENV: [&str; 51] = [
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
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
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
    "pthread_equal",
    "seed",
    "trace",
];

/// Modules that carry WASI preview 1, by its names of all ages.
pub(super) const WASI_MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Functions of WASI preview 1.
pub(super) const WASI: [&str; 45] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
];

/// Refuses a module that imports what there is not.
pub(in crate::wasm) fn check(surface: &Surface) -> Result<(), LoadError> {
    if version(surface).is_none() {
        let named = surface.exports.iter().filter(|item| item.name.starts_with("proxy_abi_version")).cloned().collect();
        return Err(LoadError::Version(named));
    }
    match missing(surface, provides) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(LoadError::NotProvided(missing)),
    }
}

/// Whether a module gets this import.
pub(in crate::wasm) fn provides(item: &Item) -> bool {
    match item.module.as_str() {
        "env" => ENV.contains(&item.name.as_str()),
        module => WASI_MODULES.contains(&module) && WASI.contains(&item.name.as_str()),
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
    if WASI_MODULES.contains(&item.module.as_str()) && !WASI.contains(&name) {
        return Some(format!("{name} is not in WASI preview 1; docs/proxy-wasm.md lists what is"));
    }
    if item.module != "env" || !name.starts_with("proxy_") {
        return None;
    }
    Some(
        if ["proxy_redis_", "proxy_inject_", "proxy_get_upstream_hosts", "proxy_set_upstream_override"]
            .iter()
            .any(|own| name.starts_with(own))
        {
            format!("{name} is in no version of Proxy-Wasm: one proxy (Higress) added it for its own plugins")
        } else {
            format!("{name} is in none of the versions 0.1.0, 0.2.0 and 0.2.1; docs/proxy-wasm.md lists what is")
        },
    )
}
