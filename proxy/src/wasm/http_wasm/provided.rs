//! What the gateway provides to modules of http-wasm, by name, and what it wants of them. A test holds the list to what is
//! linked.

use crate::wasm::{
    LoadError,
    load::missing,
    preview1::{self, toolchains},
    surface::{Item, Surface},
};

/// The module that the ABI's functions are imported from.
pub(in crate::wasm) const HANDLER: &str = "http_handler";

/// The ABI's functions.
pub(super) const FUNCTIONS: [&str; 19] = [
    "add_header_value",
    "enable_features",
    "get_config",
    "get_header_names",
    "get_header_values",
    "get_method",
    "get_protocol_version",
    "get_source_addr",
    "get_status_code",
    "get_uri",
    "log",
    "log_enabled",
    "read_body",
    "remove_header",
    "set_header_value",
    "set_method",
    "set_status_code",
    "set_uri",
    "write_body",
];

/// What a module must export.
const EXPORTS: [&str; 3] = ["handle_request", "handle_response", "memory"];

// Functions of drafts before October 2022, when a guest called the next handler itself.
const DRAFTS: [&str; 13] = [
    "get_header",
    "get_path",
    "set_path",
    "next",
    "get_request_header",
    "get_request_headers",
    "get_response_header",
    "set_request_header",
    "set_response_header",
    "read_request_body",
    "read_response_body",
    "write_response_body",
    "send_response",
];

/// Refuses a module that lacks what is called, or imports what there is not.
pub(in crate::wasm) fn check(surface: &Surface) -> Result<(), LoadError> {
    let missing = missing(surface, provides);
    if !missing.is_empty() {
        return Err(LoadError::NotProvided(missing));
    }
    let exports = |name: &str| surface.exports.iter().any(|item| item.module.is_empty() && item.name == name);
    let lacks: Vec<_> = EXPORTS.iter().filter(|name| !exports(name)).map(|name| Item::new("", *name)).collect();
    if lacks.is_empty() { Ok(()) } else { Err(LoadError::Lacks(lacks)) }
}

/// Whether a module gets this import.
pub(in crate::wasm) fn provides(item: &Item) -> bool {
    let name = item.name.as_str();
    match item.module.as_str() {
        HANDLER => FUNCTIONS.contains(&name),
        "env" => toolchains::FUNCTIONS.contains(&name),
        _ => preview1::provides(item),
    }
}

/// What to do about an import of an http-wasm module that there is not.
pub(in crate::wasm) fn hint(item: &Item) -> Option<String> {
    let name = item.name.as_str();
    if item.module != HANDLER {
        return None;
    }
    if DRAFTS.contains(&name) {
        return Some(format!(
            "{name} is of drafts of http-wasm before `handle_request`; build the plugin with a present SDK, \
             such as http-wasm-guest-tinygo 0.4 or the crate http-wasm-guest"
        ));
    }
    let score = |known: &&&str| (strsim::jaro_winkler(known, name) * 1000.0) as u32;
    let best = FUNCTIONS.iter().max_by_key(score)?;
    Some(match score(&best) {
        851.. => format!("http-wasm has {best}: is it meant?"),
        _ => format!("{name} is not in http-wasm; docs/http-wasm.md lists what is"),
    })
}
