//! From a file's bytes to what the engine compiles: for the native ABI a component, of core modules with or without a
//! description of their type; for Proxy-Wasm and http-wasm a core module; either in binary or in the text format. The ABI is read from
//! imports and exports; exactly one must fit. Compiles nothing.

use std::fmt;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::{
    http_wasm, preview1,
    provided::{PROVIDED, Provided, TABLE},
    proxy_wasm,
    surface::{Item, Surface},
    wasi_http,
};
use crate::config::diagnostic::{Diagnostic, Place};

/// A module's file. Over it, the module is refused.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

/// How host and guest talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// The WIT worlds in `proxy/wit`.
    Native,
    /// The WIT world of routing tables in `proxy/wit/table`.
    Table,
    /// <https://http-wasm.io>, as Traefik and Dapr run it.
    HttpWasm,
    /// Proxy-Wasm, as Envoy and its kin run it.
    ProxyWasm,
    /// Components that export `wasi:http`.
    WasiHttp,
}

/// Why a module cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// Neither Wasm nor its text format.
    NotWasm,
    /// Over [`MODULE_BYTES_MAX`].
    TooLarge(usize),
    /// The text format, with a mistake in it.
    Text(String),
    /// Wasm, but not valid.
    Invalid(String),
    /// It fits no ABI: it exports nothing that the gateway could call.
    NotAPlugin(Vec<Item>),
    /// It fits more than one ABI.
    Ambiguous(Vec<Abi>),
    /// It is for Proxy-Wasm, but for no version of it that there is; what it exports to say so.
    Version(Vec<Item>),
    /// It is for `wasi:http`, but for no version of it that is run; what it exports of it.
    WasiHttpVersion(Vec<Item>),
    /// It is a component of `wasi:http` that imports what is not provided.
    WasiHttpLacks(Vec<Item>),
    /// It is a plugin where a table is wanted, or the other way round.
    Misplaced(Abi),
    /// It imports what is not provided.
    NotProvided(Vec<Item>),
    /// It does not export what its ABI calls.
    Lacks(Vec<Item>),
    /// It exports under the plugin's interface what that interface does not have.
    Unknown(Vec<Item>),
    /// The engine refuses it: a type does not fit, or it is over a limit.
    Refused(String),
    /// The engine or its disk failed.
    Engine(String),
}

impl Abi {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native (tidegate:plugin@0.1.0)",
            Self::Table => "table (tidegate:table@0.1.0)",
            Self::HttpWasm => "http-wasm",
            Self::ProxyWasm => "proxy-wasm",
            Self::WasiHttp => "wasi:http",
        }
    }

    /// What modules of it may import and export.
    pub(super) fn provided(self) -> &'static Provided {
        if self == Self::Table { &TABLE } else { &PROVIDED }
    }
}

/// What the engine compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loadable {
    Component(Vec<u8>),
    /// A core module, of Proxy-Wasm or http-wasm.
    Core(Vec<u8>),
}

/// A plugin's module: a component for the native ABI, or a core module for Proxy-Wasm or http-wasm.
pub(super) fn load(bytes: &[u8]) -> Result<Loadable, LoadError> {
    let bytes = binary(bytes)?;
    let surface = Surface::read(&bytes)?;
    match abi(&surface)? {
        Abi::Native => component(Abi::Native, bytes, &surface).map(Loadable::Component),
        Abi::ProxyWasm => proxy_wasm::check(&surface).map(|()| Loadable::Core(bytes)),
        Abi::HttpWasm => http_wasm::check(&surface).map(|()| Loadable::Core(bytes)),
        Abi::WasiHttp => {
            wasi_http::check(&surface)?;
            if surface.component { Ok(bytes) } else { adapted(&bytes, &surface) }.map(Loadable::Component)
        }
        Abi::Table => Err(LoadError::Misplaced(Abi::Table)),
    }
}

/// A component for the ABI of routing tables.
pub(super) fn load_table(bytes: &[u8]) -> Result<Loadable, LoadError> {
    let bytes = binary(bytes)?;
    let surface = Surface::read(&bytes)?;
    match abi(&surface)? {
        Abi::Table => component(Abi::Table, bytes, &surface).map(Loadable::Component),
        found => Err(LoadError::Misplaced(found)),
    }
}

fn component(wanted: Abi, bytes: Vec<u8>, surface: &Surface) -> Result<Vec<u8>, LoadError> {
    let provided = wanted.provided();
    let missing = missing(surface, |item| provided.has(&item.module, &item.name));
    if !missing.is_empty() {
        return Err(LoadError::NotProvided(missing));
    }
    let unknown: Vec<_> =
        own_exports(surface, provided).filter(|item| !provided.has(&item.module, &item.name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(LoadError::Unknown(unknown));
    }
    if surface.component { Ok(bytes) } else { encode(bytes, surface, provided) }
}

/// The binary form of what is a binary or text.
pub(super) fn binary(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge(bytes.len()));
    }
    if bytes.starts_with(b"\0asm") {
        return Ok(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| LoadError::NotWasm)?;
    if !(text.trim_start().starts_with('(') || text.trim_start().starts_with(";;")) {
        return Err(LoadError::NotWasm);
    }
    wat::parse_str(text).map_err(|error| LoadError::Text(error.to_string()))
}

/// The one ABI that fits.
pub(super) fn abi(surface: &Surface) -> Result<Abi, LoadError> {
    let mut fits = Vec::new();
    let imports = |prefix: &str| surface.imports.iter().any(|item| item.module.starts_with(prefix));
    let exports = |module: &str, name: &str| {
        surface.exports.iter().any(|item| item.module.starts_with(module) && item.name.starts_with(name))
    };
    if exports("tidegate:plugin/handler", "") {
        fits.push(Abi::Native);
    }
    if exports("tidegate:table/routing", "") {
        fits.push(Abi::Table);
    }
    if imports(http_wasm::HANDLER) || (exports("", "handle_request") && exports("", "handle_response")) {
        fits.push(Abi::HttpWasm);
    }
    if exports("", "proxy_abi_version") || exports("", "proxy_on_") {
        fits.push(Abi::ProxyWasm);
    }
    if exports("wasi:http/", "") {
        fits.push(Abi::WasiHttp);
    }
    match fits[..] {
        [one] => Ok(one),
        [] => Err(LoadError::NotAPlugin(surface.exports.clone())),
        _ => Err(LoadError::Ambiguous(fits)),
    }
}

/// The imports that are not provided.
pub(super) fn missing(surface: &Surface, provided: impl Fn(&Item) -> bool) -> Vec<Item> {
    let mut missing: Vec<_> = surface.imports.iter().filter(|item| !provided(item)).cloned().collect();
    missing.sort();
    missing.dedup();
    missing
}

fn own_exports<'a>(surface: &'a Surface, provided: &Provided) -> impl Iterator<Item = &'a Item> {
    let (package, _) = provided.handler_name.split_once('/').expect("the name of an interface has its package's");
    surface.exports.iter().filter(move |item| item.module.split_once('/').is_some_and(|(own, _)| own == package))
}

// A core module that does not say what it is gets the shipped world, less the methods that it leaves out.
fn encode(mut bytes: Vec<u8>, surface: &Surface, provided: &Provided) -> Result<Vec<u8>, LoadError> {
    if !surface.described {
        let mut resolve = provided.resolve.clone();
        let exported = |name: &String| own_exports(surface, provided).any(|item| &item.name == name);
        resolve.interfaces[provided.handler].functions.retain(|name, _| exported(name));
        let world = provided.describes(surface).map_or(provided.world, |described| described.world);
        embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| LoadError::Refused(format!("{error:#}")))?;
    }
    encoded(&bytes)
}

// What toolchains for WASI preview 1 make, for Spin among others: the functions that it imports of that are put in terms
// of WASI 0.2.
fn adapted(bytes: &[u8], surface: &Surface) -> Result<Vec<u8>, LoadError> {
    if !surface.described {
        let why = "it does not say of what types its functions are: build it with wit-bindgen or an SDK";
        return Err(LoadError::Refused(why.into()));
    }
    let refused = |error| LoadError::Refused(format!("{error:#}"));
    let mut encoder = ComponentEncoder::default().validate(false).module(bytes).map_err(refused)?;
    if surface.imports.iter().any(|item| item.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME) {
        let adapter = (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
        encoder = encoder.adapter(adapter.0, adapter.1).map_err(refused)?;
    }
    encoder.encode().map_err(refused)
}

fn encoded(described: &[u8]) -> Result<Vec<u8>, LoadError> {
    let encoder = ComponentEncoder::default().validate(false).module(described);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| LoadError::Refused(format!("{error:#}")))
}

impl LoadError {
    /// The next step, if there is one to name.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotWasm => Some("a module is a .wasm file, or a .wat file in the text format".into()),
            Self::Misplaced(Abi::Table) => Some("name it under `tables:`; see docs/tables.md".into()),
            Self::Misplaced(_) => Some("name it as a `module` under `middleware:`; see docs/plugins.md".into()),
            Self::WasiHttpVersion(_) => Some(
                "components export wasi:http/incoming-handler in a version 0.2; build for WASI 0.2 (an SDK for 0.3 has a \
                 setting for it), and see docs/wasi-http.md"
                    .into(),
            ),
            Self::Version(_) => {
                Some("the versions are 0.1.0, 0.2.0, 0.2.1, and 0.2.100 of Higress; see docs/proxy-wasm.md".into())
            }
            Self::NotAPlugin(_) => Some(format!(
                "a plugin exports the interface {}; in Rust, `tidegate_guest::export!` does it",
                PROVIDED.handler_name
            )),
            Self::WasiHttpLacks(items) => items.iter().find_map(wasi_http::hint),
            Self::NotProvided(items) => items.iter().find_map(not_provided_hint),
            Self::Lacks(_) => Some(
                "a plugin of http-wasm exports handle_request, handle_response and its memory; see docs/http-wasm.md".into(),
            ),
            Self::Unknown(items) => items.iter().find_map(|item| nearest(item, &PROVIDED.handler_name)),
            _ => None,
        }
    }

    /// The diagnostic, at the place that names the module.
    pub fn diagnostic(&self, module: &str, place: Option<Place>) -> Diagnostic {
        let mut diagnostic = Diagnostic::error("module-load", format!("{module}: {self}"));
        diagnostic.at = place;
        diagnostic.hint = self.hint();
        diagnostic
    }
}

fn not_provided_hint(item: &Item) -> Option<String> {
    let module = item.module.as_str();
    if let Some(hint) = proxy_wasm::hint(item).or_else(|| http_wasm::hint(item)) {
        return Some(hint);
    }
    if preview1::MODULES.contains(&module) && !preview1::provides(item) {
        return Some(format!("{} is not in WASI preview 1, or not in what plugins have of it", item.name));
    }
    if module.starts_with("wasi_snapshot_preview1") || module.starts_with("wasi:") {
        return Some("plugins get no WASI: build for the target wasm32-unknown-unknown".into());
    }
    if module.starts_with("wbg") || module.starts_with("__wbindgen") {
        return Some("this is made for a JavaScript host (wasm-bindgen); a dependency's `js` feature is on".into());
    }
    if let Some((package, _)) = module.split_once('/')
        && package == "tidegate:plugin"
        && !PROVIDED.interfaces().any(|interface| interface == module)
    {
        let provided: Vec<_> = PROVIDED.interfaces().filter(|interface| !interface.starts_with('[')).collect();
        return Some(format!("this gateway provides {}", provided.join(", ")));
    }
    nearest(item, module)
}

fn nearest(item: &Item, interface: &str) -> Option<String> {
    let score = |name: &&String| (strsim::jaro_winkler(name, &item.name) * 1000.0) as u32;
    let best = PROVIDED.functions(interface).iter().max_by_key(score)?;
    (score(&best) > 850).then(|| format!("{interface} has {best}: is it meant?"))
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[Item]| {
            let mut names: Vec<_> = items.iter().take(8).map(Item::to_string).collect();
            if items.len() > names.len() {
                names.push(format!("and {} more", items.len() - names.len()));
            }
            names.join(", ")
        };
        match self {
            Self::NotWasm => f.write_str("not a Wasm module"),
            Self::TooLarge(bytes) => write!(f, "{bytes} bytes are over the limit of {MODULE_BYTES_MAX} for a module"),
            Self::Text(error) => write!(f, "not valid in Wasm's text format: {error}"),
            Self::Invalid(error) => write!(f, "not a valid Wasm module: {error}"),
            Self::NotAPlugin(exports) if exports.is_empty() => f.write_str("not a plugin: it exports nothing"),
            Self::NotAPlugin(exports) => write!(f, "not a plugin: it exports only {}", list(exports)),
            Self::Ambiguous(abis) => {
                let names: Vec<_> = abis.iter().map(|abi| abi.name()).collect();
                write!(f, "fits more than one ABI: {}", names.join(", "))
            }
            Self::Misplaced(Abi::Table) => f.write_str("a routing table, not a plugin"),
            Self::Misplaced(_) => f.write_str("a plugin, not a routing table"),
            Self::Version(items) if items.is_empty() => {
                f.write_str("made for proxy-wasm, but it exports no `proxy_abi_version_…` that says for which version")
            }
            Self::Version(items) => write!(f, "made for a version of proxy-wasm that there is not: {}", list(items)),
            Self::Lacks(items) => write!(f, "made for http-wasm, but it does not export {}", list(items)),
            Self::WasiHttpVersion(items) => {
                write!(f, "made for a version of wasi:http that is not run: {}", list(items))
            }
            Self::NotProvided(items) | Self::WasiHttpLacks(items) => {
                write!(f, "imports what is not provided: {}", list(items))
            }
            Self::Unknown(items) => write!(f, "exports what plugins do not have: {}", list(items)),
            Self::Refused(error) => write!(f, "does not fit its ABI: {error}"),
            Self::Engine(error) => write!(f, "the Wasm engine failed: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}
