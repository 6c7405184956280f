//! What a binary asks for and offers: the imports and exports of a core module or component, read without compiling
//! anything. Knows no ABI.

use wasmparser::{Encoding, Parser, Payload};
use wit_parser::{WorldItem, decoding::DecodedWasm};

use super::LoadError;

/// One import or export: an interface or module, and a function or item in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// `tidegate:plugin/http@0.1.0`, `wasi_snapshot_preview1`; empty for an export that belongs to no interface.
    pub module: String,
    /// `[method]request.header`, `fd_write`.
    pub name: String,
}

/// The imports and exports of a binary.
#[derive(Clone, Debug, Default)]
pub(super) struct Surface {
    pub(super) component: bool,
    /// Whether a core module carries the description of its component type, as `wit-bindgen` leaves it.
    pub(super) described: bool,
    pub(super) imports: Vec<Item>,
    pub(super) exports: Vec<Item>,
}

impl Item {
    pub(super) fn new(module: impl Into<String>, name: impl Into<String>) -> Self {
        Self { module: module.into(), name: name.into() }
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.module.as_str(), self.name.as_str()) {
            ("", name) => f.write_str(name),
            (module, "") => f.write_str(module),
            (module, name) => write!(f, "{module}#{name}"),
        }
    }
}

impl Surface {
    /// Reads a binary.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        match Parser::new(0).parse_all(bytes).next() {
            Some(Ok(Payload::Version { encoding: Encoding::Component, .. })) => component(bytes),
            Some(Ok(_)) => core(bytes).map_err(|error| LoadError::Invalid(error.to_string())),
            Some(Err(error)) => Err(LoadError::Invalid(error.to_string())),
            None => Err(LoadError::NotWasm),
        }
    }
}

fn core(bytes: &[u8]) -> wasmparser::Result<Surface> {
    let mut surface = Surface::default();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    surface.imports.push(Item::new(import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export?.name;
                    // wit-component's way to name the function of an interface.
                    let (module, name) = name.rsplit_once('#').unwrap_or(("", name));
                    surface.exports.push(Item::new(module, name));
                }
            }
            Payload::CustomSection(section) => surface.described |= section.name().starts_with("component-type"),
            _ => {}
        }
    }
    Ok(surface)
}

fn component(bytes: &[u8]) -> Result<Surface, LoadError> {
    let decoded = wit_parser::decoding::decode(bytes).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(LoadError::Invalid("this is a WIT package in binary form, not a component".into()));
    };
    let world = &resolve.worlds[world];
    let items = |(key, item): (&wit_parser::WorldKey, &WorldItem)| match item {
        WorldItem::Interface { id, .. } => {
            let module = resolve.name_world_key(key);
            let functions = resolve.interfaces[*id].functions.keys();
            let mut items: Vec<_> = functions.map(|name| Item::new(module.clone(), name)).collect();
            // An interface of types only.
            if items.is_empty() {
                items.push(Item::new(module, ""));
            }
            items
        }
        WorldItem::Function(function) => vec![Item::new("", &function.name)],
        WorldItem::Type { .. } => Vec::new(),
    };
    Ok(Surface {
        component: true,
        described: true,
        imports: world.imports.iter().flat_map(items).collect(),
        exports: world.exports.iter().flat_map(items).collect(),
    })
}
