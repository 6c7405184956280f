//! What the gateway provides to plugins and expects of them, read from the WIT that it ships. One table: a function
//! added to the WIT is known here.

use std::{collections::BTreeMap, sync::LazyLock};

use wit_parser::{InterfaceId, Resolve, WorldId, WorldItem};

use super::surface::Surface;

/// The WIT of the native ABI.
pub(super) const WIT: &str = include_str!("../../wit/plugin.wit");
/// The WIT of routing tables.
pub(super) const TABLE_WIT: &str = include_str!("../../wit/table/table.wit");

/// The WIT, resolved.
pub(super) struct Provided {
    pub(super) resolve: Resolve,
    /// What a guest exports.
    pub(super) world: WorldId,
    /// What one exports that describes its settings, where there is such a thing.
    pub(super) described: Option<Described>,
    pub(super) handler: InterfaceId,
    /// `tidegate:plugin/handler@0.1.0`.
    pub(super) handler_name: String,
    /// Functions by interface, with those that core modules import beside them (`[resource-drop]request`).
    functions: BTreeMap<String, Vec<String>>,
}

/// The world of guests that describe their settings.
pub(super) struct Described {
    pub(super) world: WorldId,
    /// `tidegate:plugin/settings@0.1.0` or `tidegate:table/settings@0.1.0`.
    pub(super) settings_name: String,
}

/// The one of plugins that this gateway ships.
pub(super) static PROVIDED: LazyLock<Provided> = LazyLock::new(|| Provided::read(WIT, "plugin", "handler"));
/// The one of routing tables.
pub(super) static TABLE: LazyLock<Provided> = LazyLock::new(|| Provided::read(TABLE_WIT, "table", "routing"));

impl Provided {
    fn read(wit: &str, name: &str, exported: &str) -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("shipped.wit", wit).expect("the shipped WIT is valid");
        let world = resolve.select_world(&[package], Some(name)).expect("the shipped WIT has this world");
        let mut functions = BTreeMap::new();
        for (key, item) in &resolve.worlds[world].imports {
            if let WorldItem::Interface { id, .. } = item {
                functions.insert(resolve.name_world_key(key), names(&resolve, *id, &["resource-drop"]));
            }
        }
        let handler = resolve.packages[package].interfaces[exported];
        let handler_name = resolve.id_of(handler).expect("an interface of a package has an id");
        // What a core module imports to make handles of its own plugins.
        let own = names(&resolve, handler, &["resource-new", "resource-rep", "resource-drop"]);
        functions.insert(format!("[export]{handler_name}"), own);
        functions.insert(handler_name.clone(), names(&resolve, handler, &["dtor"]));
        let described = resolve.packages[package].interfaces.get("settings").map(|settings| {
            let world = resolve.select_world(&[package], Some(&format!("described-{name}")));
            let settings_name = resolve.id_of(*settings).expect("an interface of a package has an id");
            functions.insert(settings_name.clone(), names(&resolve, *settings, &[]));
            Described { world: world.expect("the shipped WIT has this world"), settings_name }
        });
        Self { resolve, world, described, handler, handler_name, functions }
    }

    /// The interface by which a module describes its settings, if it does.
    pub(super) fn describes(&self, surface: &Surface) -> Option<&Described> {
        let exports = |name: &String| surface.exports.iter().any(|item| &item.module == name);
        self.described.as_ref().filter(|described| exports(&described.settings_name))
    }

    /// Whether the function exists.
    pub(super) fn has(&self, interface: &str, function: &str) -> bool {
        self.functions
            .get(interface)
            .is_some_and(|names| function.is_empty() || names.iter().any(|name| name == function))
    }

    /// The functions of an interface; none if there is no such interface.
    pub(super) fn functions(&self, interface: &str) -> &[String] {
        self.functions.get(interface).map_or(&[], Vec::as_slice)
    }

    /// The interfaces, the handler's among them.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }
}

fn names(resolve: &Resolve, interface: InterfaceId, intrinsics: &[&str]) -> Vec<String> {
    let interface = &resolve.interfaces[interface];
    let resources =
        interface.types.iter().filter(|(_, id)| resolve.types[**id].kind == wit_parser::TypeDefKind::Resource);
    let intrinsics =
        resources.flat_map(|(name, _)| intrinsics.iter().map(move |intrinsic| format!("[{intrinsic}]{name}")));
    interface.functions.keys().cloned().chain(intrinsics).collect()
}
