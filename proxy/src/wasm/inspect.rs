//! What `tidegate plugin inspect` prints: which ABI a module is for, what it exports, what it imports, whether that is
//! provided, and what its settings look like.

use std::fmt;

use serde_json::Value;

use super::{
    http_wasm,
    load::{Abi, LoadError, Loadable, abi, binary, load, load_table},
    proxy_wasm,
    schema::schema,
    surface::{Item, Surface},
    wasi_http,
};

/// A report on a module.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was made for; `None` where no ABI, or more than one, fits.
    pub abi: Option<Abi>,
    /// Whether the file is a component; else it is a core module.
    pub component: bool,
    /// Which version of its ABI it was made for, where the ABI has several.
    pub version: Option<&'static str>,
    /// What it exports.
    pub exports: Vec<Item>,
    /// What it imports, each with whether it is provided.
    pub imports: Vec<(Item, bool)>,
    /// A JSON Schema (2020-12) of its settings, if it gives one.
    pub settings_schema: Option<Value>,
    /// Why it gives none, where it should.
    pub settings_error: Option<String>,
    /// Why it would not be loaded, if it would not.
    pub problem: Option<LoadError>,
}

/// Reads a module. One that describes its settings is compiled and asked for them, which takes as long as compiling it
/// does; others are not compiled.
///
/// # Errors
/// Where the bytes are no module at all.
pub fn inspect(bytes: &[u8]) -> Result<Report, LoadError> {
    let module = binary(bytes)?;
    let surface = Surface::read(&module)?;
    let abi = abi(&surface).ok();
    let provided = abi.unwrap_or(Abi::Native).provided();
    let has = |item: &Item| match abi {
        Some(Abi::ProxyWasm) => proxy_wasm::provides(item),
        Some(Abi::HttpWasm) => http_wasm::provides(item),
        Some(Abi::WasiHttp) => wasi_http::provides(item),
        _ => provided.has(&item.module, &item.name),
    };
    let imports = surface.imports.iter().map(|item| (item.clone(), has(item))).collect();
    let loaded = if abi == Some(Abi::Table) { load_table(bytes) } else { load(bytes) };
    let asked = match (&loaded, provided.describes(&surface)) {
        (Ok(Loadable::Component(component)), Some(described)) => schema(component, &described.settings_name),
        _ => Ok(None),
    };
    let (settings_schema, settings_error) = asked.map_or_else(|error| (None, Some(error)), |schema| (schema, None));
    Ok(Report {
        abi,
        component: surface.component,
        version: proxy_wasm::version(&surface).filter(|_| abi == Some(Abi::ProxyWasm)),
        exports: surface.exports,
        imports,
        settings_schema,
        settings_error,
        problem: loaded.err(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "abi: {}", self.abi.map_or("none", Abi::name))?;
        writeln!(f, "{}", self.version.map(|version| format!(" {version}")).unwrap_or_default())?;
        writeln!(f, "form: {}", if self.component { "component" } else { "core module" })?;
        writeln!(f, "exports:")?;
        for item in &self.exports {
            writeln!(f, "  {item}")?;
        }
        writeln!(f, "imports:")?;
        for (item, provided) in &self.imports {
            writeln!(f, "  {item}{}", if *provided { "" } else { "    NOT PROVIDED" })?;
        }
        match (&self.settings_schema, &self.settings_error) {
            (Some(schema), _) => writeln!(f, "settings: {schema:#}")?,
            (None, Some(error)) => writeln!(f, "settings: it does not say: {error}")?,
            (None, None) => writeln!(f, "settings: not described")?,
        }
        match &self.problem {
            None => writeln!(f, "loads: yes"),
            Some(problem) => {
                writeln!(f, "loads: no: {problem}")?;
                problem.hint().map_or(Ok(()), |hint| writeln!(f, "hint: {hint}"))
            }
        }
    }
}
