//! Guests of Proxy-Wasm and http-wasm: core modules that import all that is linked.

use wasmtime::{Engine, Linker, Store, ValType};

use super::text::{Choices, Function, STATUS, imports};
use crate::wasm::{
    http_wasm::{self, HANDLER},
    proxy_wasm,
};

/// Of WASI preview 1.
const ERRNO_MAX: u32 = 76;
/// Of Proxy-Wasm.
const STATUS_MAX: u32 = 12;

pub(super) const MEMORY: &str = "(memory (export \"memory\") 1)
  (data (i32.const 0) \"x-a\\00/PUT\")
  (data (i32.const 16) \"u\")
  (data (i32.const 1024) \"\\01\\00\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00a\\00b\\00\")\n";

/// A guest of Proxy-Wasm.
pub(super) fn proxy_wasm(data: &[u8]) -> String {
    let (mut from, functions) = (Choices::new(data), of_proxy_wasm());
    let mut text = format!("(module {}{MEMORY}{STATUS}", imports(&functions));
    text += "(func (export \"proxy_abi_version_0_2_1\"))\n";
    // An allocator as they are, or one that gives what it should not.
    let address = [32_768, 0, -8, 65_530][from.below(4)];
    text += &format!("(func (export \"proxy_on_memory_allocate\") (param i32) (result i32) (i32.const {address}))\n");
    for (name, params, answers) in [
        ("context_create", 2, None),
        ("configure", 2, Some([1, 1, 1, 1])),
        ("request_headers", 3, Some([0, 1, 2, 99])),
        ("request_body", 3, Some([0, 1, 2, 3])),
        ("response_headers", 3, Some([0, 1, 2, 99])),
        ("response_body", 3, Some([0, 1, 0, 0])),
        ("done", 1, Some([1, 0, 1, 1])),
        ("log", 1, None),
        ("tick", 1, None),
        ("http_call_response", 5, None),
    ] {
        // Few know all of them.
        if from.below(3) == 0 && name != "request_headers" {
            continue;
        }
        let (calls, result) = (from.calls(&functions, params), if answers.is_some() { "(result i32)" } else { "" });
        let answer = answers.map(|all| format!("(i32.const {})", all[from.below(4)])).unwrap_or_default();
        let params = "i32 ".repeat(params);
        text += &format!("(func (export \"proxy_on_{name}\") (param {params}) {result}\n{calls}{answer})\n");
    }
    text + ")"
}

/// A guest of http-wasm.
pub(super) fn http_wasm(data: &[u8]) -> String {
    let (mut from, functions) = (Choices::new(data), of_http_wasm());
    let start = if from.below(4) == 0 { from.calls(&functions, 0) } else { String::new() };
    let (request, response) = (from.calls(&functions, 0), from.calls(&functions, 2));
    let next = [0, 1, 2, -1][from.below(4)];
    format!(
        "(module {}{MEMORY}{STATUS}
         (func (export \"_start\") {start})
         (func (export \"handle_request\") (result i64) {request} (i64.const {next}))
         (func (export \"handle_response\") (param i32 i32) {response}))",
        imports(&functions)
    )
}

pub(super) fn of_proxy_wasm() -> Vec<Function> {
    let engine = Engine::default();
    let linker = proxy_wasm::linker(&engine).expect("what is provided can be linked");
    linked(&linker, Store::new(&engine, proxy_wasm::testing::data()))
}

// Those of a linker, with the types that they are linked with. Names of old age are left out.
fn linked<D: 'static>(linker: &Linker<D>, mut store: Store<D>) -> Vec<Function> {
    let all: Vec<_> =
        linker.iter(&mut store).map(|(module, name, what)| (module.to_owned(), name.to_owned(), what)).collect();
    let functions =
        all.into_iter().filter(|(module, ..)| module != "wasi_unstable").filter_map(|(module, name, what)| {
            let own = what.into_func()?.ty(&store);
            let status_max = match module.as_str() {
                "env" => name.starts_with("proxy_").then_some(STATUS_MAX),
                _ => Some(ERRNO_MAX),
            };
            let (takes, gives): (Vec<_>, Vec<_>) =
                (own.params().map(kind).collect(), own.results().map(kind).collect());
            Some(Function { module, name, takes, status_max: status_max.filter(|_| gives == ["i32"]), gives })
        });
    let mut functions: Vec<_> = functions.collect();
    // A corpus means the same functions tomorrow.
    functions.sort_by(|one, other| (&one.module, &one.name).cmp(&(&other.module, &other.name)));
    functions
}

fn kind(own: ValType) -> &'static str {
    match own {
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        _ => "i32",
    }
}

/// The functions of http-wasm, how many numbers each takes, and what it gives.
const HTTP_WASM: [(&str, usize, &[&str]); 19] = [
    ("add_header_value", 5, &[]),
    ("enable_features", 1, &["i32"]),
    ("get_config", 2, &["i32"]),
    ("get_header_names", 3, &["i64"]),
    ("get_header_values", 5, &["i64"]),
    ("get_method", 2, &["i32"]),
    ("get_protocol_version", 2, &["i32"]),
    ("get_source_addr", 2, &["i32"]),
    ("get_status_code", 0, &["i32"]),
    ("get_uri", 2, &["i32"]),
    ("log", 3, &[]),
    ("log_enabled", 1, &["i32"]),
    ("read_body", 3, &["i64"]),
    ("remove_header", 3, &[]),
    ("set_header_value", 5, &[]),
    ("set_method", 2, &[]),
    ("set_status_code", 1, &[]),
    ("set_uri", 2, &[]),
    ("write_body", 3, &[]),
];

// Its own, and those of WASI as Proxy-Wasm has them.
pub(super) fn of_http_wasm() -> Vec<Function> {
    let own = HTTP_WASM.iter().map(|(name, takes, gives)| Function {
        module: HANDLER.to_owned(),
        name: (*name).to_owned(),
        takes: vec!["i32"; *takes],
        gives: gives.to_vec(),
        status_max: None,
    });
    own.chain(of_proxy_wasm().into_iter().filter(|function| function.module != "env")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::surface::Item;

    #[test]
    fn all_functions_of_http_wasm_are_called() {
        let provided = |name: &str| http_wasm::provides(&Item::new(HANDLER, name));
        assert!(HTTP_WASM.iter().all(|(name, ..)| provided(name)));
        assert_eq!(HTTP_WASM.len(), 19, "as many as `provided` lists");
    }
}
