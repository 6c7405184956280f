//! Which components fit, and what they may import: told from names, before anything is compiled. Knows no engine.

use wasmparser::{Encoding, Parser, Payload};

use super::keyvalue;
use crate::wasm::{
    LoadError, load,
    surface::{Item, Surface},
};

/// Interfaces of WASI 0.2, whichever patch version is asked for: the newest that the engine's library has serves all.
const INTERFACES: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Drafts that are in use, each version by itself.
pub(super) const CONFIG: [&str; 5] = [
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/runtime@0.2.0-draft",
    "wasi:config/runtime@0.2.0-rc.1",
];
/// See [`CONFIG`].
pub(super) const LOGGING: &str = "wasi:logging/logging@0.1.0-draft";

/// Whether a file is meant for `wasi:http`, of whichever version: a look at names of exports, which is cheap, because
/// compiled code of these is kept by another engine.
pub(in crate::wasm) fn is_meant(bytes: &[u8]) -> bool {
    let Ok(bytes) = load::binary(bytes) else { return false };
    let mut depth = 0_usize;
    let (mut component, mut found) = (false, false);
    for payload in Parser::new(0).parse_all(&bytes) {
        let Ok(payload) = payload else { return false };
        match payload {
            Payload::Version { encoding, .. } if depth == 0 => component = encoding == Encoding::Component,
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                found |= section.into_iter().flatten().any(|export| export.name.name.starts_with(PACKAGE));
            }
            Payload::ExportSection(section) if !component => {
                let names = section.into_iter().flatten().map(|export| export.name);
                return names.filter(|name| name.contains('#')).any(|name| name.starts_with(PACKAGE));
            }
            _ => {}
        }
    }
    found
}

const PACKAGE: &str = "wasi:http/";
const HANDLER: &str = "wasi:http/incoming-handler@";

/// Whether a component, or a module that becomes one, can be run.
///
/// # Errors
/// It is for another version, or imports what is not provided.
pub(in crate::wasm) fn check(surface: &Surface) -> Result<(), LoadError> {
    let exported = || surface.exports.iter().filter(|item| item.module.starts_with(PACKAGE));
    if !exported().any(|item| item.module.strip_prefix(HANDLER).is_some_and(is_second)) {
        return Err(LoadError::WasiHttpVersion(exported().cloned().collect()));
    }
    let missing = load::missing(surface, provides);
    if missing.is_empty() { Ok(()) } else { Err(LoadError::WasiHttpLacks(missing)) }
}

// 0.2 of whichever patch, and no draft of it.
fn is_second(version: &str) -> bool {
    version
        .strip_prefix("0.2.")
        .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether an import is provided.
pub(in crate::wasm) fn provides(item: &Item) -> bool {
    let module = item.module.as_str();
    if module == LOGGING || CONFIG.contains(&module) || keyvalue::has(module) {
        return true;
    }
    // What a core module imports to make resources of the host's; exports have none of their own.
    let module = module.strip_prefix("[export]").unwrap_or(module);
    match module.split_once('@') {
        Some((interface, version)) => INTERFACES.contains(&interface) && is_second(version),
        // Wit-component's own.
        // What toolchains for WASI preview 1 leave is put in terms of 0.2.
        None => module == "wasi_snapshot_preview1" || module == "$root",
    }
}

/// What to do about an import of a `wasi:http` component that is not provided.
pub(in crate::wasm) fn hint(item: &Item) -> Option<String> {
    let module = item.module.as_str();
    let (interface, version) = module.split_once('@').unwrap_or((module, ""));
    let elsewhere = |what: &str| {
        Some(format!(
            "{interface} is {what}, and the gateway keeps none: call a service that does by `wasi:http/outgoing-handler`, \
             granted as `grants: {{upstreams: […]}}`; see docs/wasi-http.md"
        ))
    };
    match interface.split('/').next().unwrap_or_default() {
        "wasi_unstable" => {
            Some("this is for WASI before preview 1: build it anew, with a toolchain of this decade".into())
        }
        "wasi:keyvalue" => Some(
            "of wasi:keyvalue there are `store`, `atomics` and `batch`, in the versions 0.2.0-draft and 0.2.0-draft2"
                .into(),
        ),
        "wasi:blobstore" => elsewhere("an object store"),
        "wasi:messaging" => elsewhere("a message broker"),
        "wasi:sql" => elsewhere("a database"),
        "fermyon:spin" | "spin:sqlite" | "spin:postgres" | "spin:redis" => elsewhere("of Spin alone"),
        "wasmcloud:bus" | "wasmcloud:messaging" | "wasmcloud:secrets" | "wasmcloud:postgres" => {
            elsewhere("of wasmCloud alone")
        }
        "wasi:config" => Some(format!("the versions of wasi:config that are provided are {}", CONFIG.join(", "))),
        "wasi:logging" => Some(format!("the version of wasi:logging that is provided is {LOGGING}")),
        "wasi:http" | "wasi:io" | "wasi:cli" | "wasi:clocks" | "wasi:random" | "wasi:filesystem" | "wasi:sockets" => {
            Some(format!("{interface} is provided in versions 0.2, and this asks for {version}"))
        }
        _ => Some(
            "a component may import WASI 0.2, wasi:config, wasi:keyvalue and wasi:logging; see docs/wasi-http.md"
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(module: &str) -> Item {
        Item::new(module, "f")
    }

    #[test]
    fn every_patch_version_of_the_second_is_provided() {
        for module in ["wasi:http/types@0.2.0", "wasi:io/streams@0.2.12", "wasi:config/store@0.2.0-rc.1"] {
            assert!(provides(&item(module)), "{module}");
        }
        for module in
            ["wasi:http/types@0.2.0-rc-2023-11-10", "wasi:io/poll@0.3.0", "wasi:keyvalue/watcher@0.2.0-draft2"]
        {
            assert!(!provides(&item(module)), "{module}");
            assert!(hint(&item(module)).is_some(), "{module}");
        }
    }

    #[test]
    fn what_is_meant_is_told_by_its_exports() {
        let core = |export: &str| wat::parse_str(format!("(module (func (export \"{export}\")))")).unwrap();
        assert!(is_meant(&core("wasi:http/incoming-handler@0.2.0#handle")));
        assert!(!is_meant(&core("tidegate:plugin/handler@0.1.0#[method]plugin.on-request")));
        let component = "(component (instance $i) (export \"wasi:http/incoming-handler@0.2.3\" (instance $i)))";
        assert!(is_meant(component.as_bytes()));
        let inner = "(component (component (instance $i) (export \"wasi:http/incoming-handler@0.2.3\" (instance $i))))";
        assert!(!is_meant(inner.as_bytes()));
        assert!(!is_meant(b"no module"));
    }
}
