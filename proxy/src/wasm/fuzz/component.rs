//! Guests of the native interface and of `wasi:http`: what they import has types, and is lowered to numbers.

use wit_parser::{
    Function as WitFunction, WorldItem,
    abi::{AbiVariant, WasmType},
};

use super::text::{Choices, Function, imports, signature};
use crate::wasm::provided::PROVIDED;

/// A guest of the native interface, of all functions that it has.
pub(super) fn native(data: &[u8]) -> String {
    let (mut from, functions) = (Choices::new(data), of_native());
    let handler = PROVIDED.handler_name.as_str();
    // Memory as it should be given, or as it should not.
    let address = ["(global.get $heap)", "(i32.const 0)", "(i32.const -8)"][from.below(9) / 4];
    let (request, response) = (from.calls(&functions, 2), from.calls(&functions, 2));
    // In good order, with an error, or with anything.
    let answer = [2048, 2048, 2304, -4][from.below(4)];
    format!(
        "(module {}
         (import \"[export]{handler}\" \"[resource-new]plugin\" (func $new (param i32) (result i32)))
         (memory (export \"memory\") 1)
         (data (i32.const 0) \"x-a\") (data (i32.const 16) \"u\") (data (i32.const 2304) \"\\01\")
         (global $heap (mut i32) (i32.const 8192))
         (func (export \"cabi_realloc\") (param i32 i32 i32) (param $size i32) (result i32)
           {address}
           (global.set $heap
             (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))
         (func (export \"{handler}#[static]plugin.create\") (param i32 i32) (result i32)
           (i32.store (i32.const 1028) (call $new (i32.const 0))) (i32.const 1024))
         (func (export \"{handler}#[method]plugin.on-request\") (param i32 i32) (result i32)
           (global.set $heap (i32.const 8192))
           {request} (i32.const {answer}))
         (func (export \"{handler}#[method]plugin.on-response\") (param i32 i32) (result i32)
           {response} (i32.const 2048)))",
        imports(&functions)
    )
}

// Read off the WIT that is shipped.
fn of_native() -> Vec<Function> {
    let resolve = &PROVIDED.resolve;
    let mut functions = Vec::new();
    for (key, item) in &resolve.worlds[PROVIDED.world].imports {
        let WorldItem::Interface { id, .. } = item else { continue };
        let module = resolve.name_world_key(key);
        functions.extend(resolve.interfaces[*id].functions.values().map(|function| lowered(&module, function)));
        let drops = PROVIDED.functions(&module).iter().filter(|name| name.starts_with("[resource-drop]"));
        functions.extend(drops.map(|name| Function {
            module: module.clone(),
            name: name.clone(),
            takes: vec!["i32"],
            gives: Vec::new(),
            status_max: None,
        }));
    }
    functions
}

fn lowered(module: &str, function: &WitFunction) -> Function {
    let own = PROVIDED.resolve.wasm_signature(AbiVariant::GuestImport, function);
    let kinds = |kinds: &[WasmType]| kinds.iter().map(kind).collect();
    let (module, name) = (module.to_owned(), function.name.clone());
    Function { module, name, takes: kinds(&own.params), gives: kinds(&own.results), status_max: None }
}

const fn kind(own: &WasmType) -> &'static str {
    match own {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}

/// A function that components import: its interface, its name, what it takes and gives as a component has it, and both as numbers.
type Imported = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// Those that are called here.
const WASI: [Imported; 11] = [
    (
        "types",
        "[method]incoming-request.path-with-query",
        "(param \"self\" (borrow $request)) (result (option string))",
        &["i32", "i32"],
        &[],
    ),
    (
        "types",
        "[method]incoming-request.headers",
        "(param \"self\" (borrow $request)) (result (own $fields))",
        &["i32"],
        &["i32"],
    ),
    (
        "types",
        "[method]incoming-request.consume",
        "(param \"self\" (borrow $request)) (result (result (own $body)))",
        &["i32", "i32"],
        &[],
    ),
    ("types", "[constructor]fields", "(result (own $fields))", &[], &["i32"]),
    (
        "types",
        "[method]fields.has",
        "(param \"self\" (borrow $fields)) (param \"name\" string) (result bool)",
        &["i32", "i32", "i32"],
        &["i32"],
    ),
    (
        "types",
        "[method]fields.get",
        "(param \"self\" (borrow $fields)) (param \"name\" string) (result (list (list u8)))",
        &["i32", "i32", "i32", "i32"],
        &[],
    ),
    ("types", "[method]fields.clone", "(param \"self\" (borrow $fields)) (result (own $fields))", &["i32"], &["i32"]),
    (
        "types",
        "[constructor]outgoing-response",
        "(param \"headers\" (own $fields)) (result (own $response))",
        &["i32"],
        &["i32"],
    ),
    (
        "types",
        "[method]outgoing-response.set-status-code",
        "(param \"self\" (borrow $response)) (param \"status-code\" u16) (result (result))",
        &["i32", "i32"],
        &["i32"],
    ),
    ("clock", "now", "(result u64)", &[], &["i64"]),
    ("random", "get-random-bytes", "(param \"len\" u64) (result (list u8))", &["i64", "i32"], &[]),
];

/// Its resources: the name here, and in the interface.
const RESOURCES: [(&str, &str); 5] = [
    ("request", "incoming-request"),
    ("out", "response-outparam"),
    ("fields", "fields"),
    ("body", "incoming-body"),
    ("response", "outgoing-response"),
];

/// A component of `wasi:http`.
pub(super) fn wasi_http(data: &[u8]) -> String {
    let (mut from, functions) = (Choices::new(data), of_wasi());
    let address = ["(global.get $heap)", "(i32.const 0)", "(i32.const -8)"][from.below(9) / 4];
    let calls = from.calls(&functions, 2);
    let of = |interface: &str| {
        let own = WASI.iter().filter(|(module, ..)| *module == interface);
        own.map(|(_, name, types, ..)| format!("(export \"{name}\" (func {types}))\n")).collect::<String>()
    };
    let resources: String =
        RESOURCES.iter().map(|(own, name)| format!("(export \"{name}\" (type ${own} (sub resource)))\n")).collect();
    let aliases: String =
        RESOURCES.iter().map(|(own, name)| format!("(alias export $types \"{name}\" (type ${own}))\n")).collect();
    let (mut lowers, mut given, mut wanted) = (String::new(), String::new(), String::new());
    for (at, function) in functions.iter().enumerate() {
        let Function { module, name, .. } = function;
        lowers += &match module.as_str() {
            "drop" => format!("(core func $c{at} (canon resource.drop ${name}))\n"),
            _ => format!(
                "(core func $c{at} (canon lower (func ${module} \"{name}\") (memory $libc \"memory\") \
                 (realloc (func $libc \"realloc\"))))\n"
            ),
        };
        given += &format!("(export \"f{at}\" (func $c{at}))\n");
        wanted += &format!("(import \"host\" \"f{at}\" (func $f{at} {}))\n", signature(function));
    }
    format!(
        "(component
  (import \"wasi:http/types@0.2.3\" (instance $types {resources}{}))
  (import \"wasi:clocks/monotonic-clock@0.2.3\" (instance $clock {}))
  (import \"wasi:random/random@0.2.3\" (instance $random {}))
  {aliases}
  (core module $libc
    (memory (export \"memory\") 1)
    (data (i32.const 0) \"x-a\")
    (global $heap (mut i32) (i32.const 8192))
    (func (export \"realloc\") (param i32 i32 i32) (param $size i32) (result i32)
      {address}
      (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8)))))
  (core instance $libc (instantiate $libc))
  {lowers}
  (core module $main {wanted} (func (export \"handle\") (param i32 i32) {calls}))
  (core instance $main (instantiate $main (with \"host\" (instance {given}))))
  (func $handle (param \"request\" (own $request)) (param \"response-out\" (own $out))
    (canon lift (core func $main \"handle\")))
  (instance $handler (export \"handle\" (func $handle)))
  (export \"wasi:http/incoming-handler@0.2.3\" (instance $handler)))",
        of("types"),
        of("clock"),
        of("random")
    )
}

fn of_wasi() -> Vec<Function> {
    let functions = WASI.iter().map(|(module, name, _, takes, gives)| (*module, *name, takes.to_vec(), gives.to_vec()));
    let drops = RESOURCES.iter().map(|(own, _)| ("drop", *own, vec!["i32"], Vec::new()));
    let made = functions.chain(drops).map(|(module, name, takes, gives)| Function {
        module: module.to_owned(),
        name: name.to_owned(),
        takes,
        gives,
        status_max: None,
    });
    made.collect()
}
