//! A compiled module of http-wasm.

use wasmparser::{ExternalKind, Operator, Parser, Payload};
use wasmtime::{ExternType, FuncType, InstancePre, Linker, Module, ValType};

use super::{data::Data, provided::HANDLER};
use crate::wasm::LoadError;

/// See the module.
pub(in crate::wasm) struct Program {
    pub(super) pre: InstancePre<Data>,
    /// Whether `handle_response` does anything. Where it does not, a guest is free as soon as the request goes on.
    pub(super) sees_response: bool,
}

impl Program {
    /// Links what was compiled of `binary`.
    ///
    /// # Errors
    /// Where a type does not fit.
    pub(in crate::wasm) fn new(module: &Module, linker: &Linker<Data>, binary: &[u8]) -> Result<Self, LoadError> {
        exported(module, "handle_request", &[], &[ValType::I64])?;
        exported(module, "handle_response", &[ValType::I32, ValType::I32], &[])?;
        let refused = |error: wasmtime::Error| LoadError::Refused(format!("{error:#}"));
        let pre = if is_wide(module) {
            let mut linker = linker.clone();
            super::host::widen(&mut linker).map_err(refused)?;
            linker.instantiate_pre(module)
        } else {
            linker.instantiate_pre(module)
        };
        let sees_response = !does_nothing(binary, "handle_response").unwrap_or(false);
        Ok(Self { pre: pre.map_err(refused)?, sees_response })
    }
}

fn exported(module: &Module, name: &str, takes: &[ValType], gives: &[ValType]) -> Result<(), LoadError> {
    let same = |types: &mut dyn Iterator<Item = ValType>, wanted: &[ValType]| {
        let types: Vec<_> = types.collect();
        types.len() == wanted.len() && types.iter().zip(wanted).all(|(own, wanted)| ValType::eq(own, wanted))
    };
    let fits = |own: &FuncType| same(&mut own.params(), takes) && same(&mut own.results(), gives);
    match module.get_export(name) {
        Some(ExternType::Func(own)) if fits(&own) => Ok(()),
        Some(ExternType::Func(own)) => {
            let (own, wanted) = (typed(own.params(), own.results()), typed(takes.to_vec(), gives.to_vec()));
            Err(LoadError::Refused(format!("it exports `{name}` as {own}, and {wanted} is called")))
        }
        _ => Err(LoadError::Refused(format!("its export `{name}` is no function"))),
    }
}

// As the ABI's own documents write it: `(i32, i32) -> ()`.
fn typed<T: ToString>(takes: impl IntoIterator<Item = T>, gives: impl IntoIterator<Item = T>) -> String {
    let list = |types: Vec<String>| types.join(", ");
    let text = |types: &mut dyn Iterator<Item = T>| list(types.map(|one| one.to_string()).collect());
    format!("({}) -> ({})", text(&mut takes.into_iter()), text(&mut gives.into_iter()))
}

// Guests of the ABI's first year have features of 64 bits.
fn is_wide(module: &Module) -> bool {
    module.imports().filter(|import| (import.module(), import.name()) == (HANDLER, "enable_features")).any(|import| {
        matches!(import.ty(), ExternType::Func(own) if own.params().next().is_some_and(|first| first.is_i64()))
    })
}

// Whether the body of an exported function is empty; `None` where it cannot be told.
fn does_nothing(binary: &[u8], name: &str) -> Option<bool> {
    let (mut imported, mut exported, mut bodies) = (0, None, 0);
    for payload in Parser::new(0).parse_all(binary) {
        match payload.ok()? {
            Payload::ImportSection(section) => {
                let functions = section.into_imports().filter_map(Result::ok);
                imported = functions.filter(|import| matches!(import.ty, wasmparser::TypeRef::Func(_))).count();
            }
            Payload::ExportSection(section) => {
                let mut exports = section.into_iter().filter_map(Result::ok);
                let export = exports.find(|export| export.kind == ExternalKind::Func && export.name == name)?;
                exported = Some(export.index as usize);
            }
            Payload::CodeSectionEntry(body) => {
                if Some(imported + bodies) == exported {
                    let mut operators = body.get_operators_reader().ok()?.into_iter();
                    return Some(matches!(operators.next()?, Ok(Operator::End)));
                }
                bodies += 1;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_does_nothing_is_known() {
        let module = |body: &str| {
            wat::parse_str(format!(
                "(module (import \"a\" \"b\" (func)) (func unreachable)
                   (func (export \"f\") (param i32) (local i64) {body}) (func (export \"g\") unreachable))"
            ))
            .unwrap()
        };
        assert_eq!(does_nothing(&module(""), "f"), Some(true));
        assert_eq!(does_nothing(&module("(nop)"), "f"), Some(false));
        assert_eq!(does_nothing(&module(""), "g"), Some(false));
        assert_eq!(does_nothing(&module(""), "none"), None);
    }
}
