//! What `tidegate plugin inspect` prints: which ABI a module is for, what it exports, what it imports, and whether
//! that is provided.

use std::fmt;

use super::{
    load::{Abi, LoadError, abi, binary, load},
    provided::PROVIDED,
    surface::{Item, Surface},
};

/// A report on a module.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was made for; `None` where no ABI, or more than one, fits.
    pub abi: Option<Abi>,
    /// Whether the file is a component; else it is a core module.
    pub component: bool,
    /// What it exports.
    pub exports: Vec<Item>,
    /// What it imports, each with whether it is provided.
    pub imports: Vec<(Item, bool)>,
    /// Why it would not be loaded, if it would not.
    pub problem: Option<LoadError>,
}

/// Reads a module without compiling it.
///
/// # Errors
/// Where the bytes are no module at all.
pub fn inspect(bytes: &[u8]) -> Result<Report, LoadError> {
    let module = binary(bytes)?;
    let surface = Surface::read(&module)?;
    let imports = surface.imports.iter().map(|item| (item.clone(), PROVIDED.has(&item.module, &item.name))).collect();
    Ok(Report {
        abi: abi(&surface).ok(),
        component: surface.component,
        exports: surface.exports,
        imports,
        problem: load(bytes).err(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "abi: {}", self.abi.map_or("none", Abi::name))?;
        writeln!(f, "form: {}", if self.component { "component" } else { "core module" })?;
        writeln!(f, "exports:")?;
        for item in &self.exports {
            writeln!(f, "  {item}")?;
        }
        writeln!(f, "imports:")?;
        for (item, provided) in &self.imports {
            writeln!(f, "  {item}{}", if *provided { "" } else { "    NOT PROVIDED" })?;
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
