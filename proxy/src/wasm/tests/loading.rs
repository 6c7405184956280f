//! Which bytes are a plugin, and what is said of those that are not. Compiles nothing.

use super::*;

const HANDLER: &str = "tidegate:plugin/handler@0.1.0";

/// A core module that is a plugin but for what `more` adds to it.
fn module(more: &str) -> String {
    format!(
        r#"(module {more}
             (import "[export]{HANDLER}" "[resource-new]plugin" (func $new (param i32) (result i32)))
             (memory (export "memory") 1)
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
             (func (export "{HANDLER}#[static]plugin.create") (param i32 i32) (result i32) unreachable))"#
    )
}

#[test]
fn what_cannot_be_loaded_is_named_with_the_next_step() {
    let import = |module: &str, name: &str| self::module(&format!(r#"(import "{module}" "{name}" (func))"#));
    let proxy_wasm = |module: &str, name: &str| {
        format!(r#"(module (import "{module}" "{name}" (func)) (func (export "proxy_abi_version_0_2_1")))"#)
    };
    let export = |name: &str| format!(r#"(module (func (export "{name}")))"#);
    let whole = module("");
    let rest = whole.strip_suffix(')').unwrap();
    let typo = format!(r#"{rest} (func (export "{HANDLER}#[method]plugin.on-reqest") (param i32 i32)))"#);
    let cases: Vec<(String, &str, &str)> = vec![
        ("hello".into(), "not a Wasm module", "a module is a .wasm file"),
        (String::new(), "not a Wasm module", "a module is a .wasm file"),
        ("(module (func".into(), "not valid in Wasm's text format", ""),
        ("(module)".into(), "not a plugin: it exports nothing", "`tidegate_guest::export!`"),
        (export("_start"), "not a plugin: it exports only _start", "`tidegate_guest::export!`"),
        (
            export("proxy_abi_version_0_3_0"),
            "a version of proxy-wasm that there is not: proxy_abi_version_0_3_0",
            "0.2.1",
        ),
        (export("proxy_on_tick"), "no `proxy_abi_version_…`", "docs/proxy-wasm.md"),
        (proxy_wasm("env", "proxy_new"), "env#proxy_new", "in none of the versions"),
        (proxy_wasm("wasi_snapshot_preview1", "thread_spawn"), "wasi_snapshot_preview1#thread_spawn", "WASI preview 1"),
        (
            "(module (import \"http_handler\" \"get_uri\" (func)) (func (export \"handle_request\")))".into(),
            "made for http-wasm, but it does not export handle_response, memory",
            "docs/http-wasm.md",
        ),
        (import("wasi_snapshot_preview1", "fd_write"), "wasi_snapshot_preview1#fd_write", "wasm32-unknown-unknown"),
        (import("__wbindgen_placeholder__", "__wbindgen_throw"), "imports what is not provided", "wasm-bindgen"),
        (import("env", "log"), "env#log", ""),
        (
            import("tidegate:plugin/http@0.9.0", "[method]request.path"),
            "tidegate:plugin/http@0.9.0#[method]request.path",
            "this gateway provides tidegate:plugin/body@0.1.0, tidegate:plugin/clock@0.1.0",
        ),
        (import("tidegate:plugin/http@0.1.0", "[method]request.heder"), "request.heder", "has [method]request.header"),
        (typo, "exports what plugins do not have", "[method]plugin.on-request"),
        (module(r#"(import "tidegate:plugin/exchange@0.1.0" "kept" (func (param f64)))"#), "does not fit its ABI", ""),
    ];
    for (text, message, hint) in cases {
        let error = load::load(text.as_bytes()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(message), "{text}: {error}");
        let said = error.hint().unwrap_or_default();
        assert!(said.contains(hint) && said.is_empty() == hint.is_empty(), "{text}: {said}");
    }
}

#[test]
fn a_module_and_the_component_made_of_it_are_both_taken() {
    let load::Loadable::Component(component) = load::load(module("").as_bytes()).unwrap() else {
        panic!("a plugin of the native ABI is a component")
    };
    assert_eq!(load::load(&component).unwrap(), load::Loadable::Component(component.clone()));
    let report = inspect(&component).unwrap();
    assert_eq!((report.abi, report.component, report.problem), (Some(Abi::Native), true, None));
    assert!(matches!(load::load(&component[..component.len() / 2]), Err(LoadError::Invalid(_))));
}

#[test]
fn an_inspection_says_of_each_import_whether_it_is_provided() {
    let text = module(
        r#"(import "tidegate:plugin/kv@0.1.0" "delete" (func (param i32 i32) (result i32)))
           (import "env" "log" (func))"#,
    );
    let report = inspect(text.as_bytes()).unwrap();
    let of = |name: &str| report.imports.iter().find(|(item, _)| item.name == name).map(|(_, provided)| *provided);
    assert_eq!((of("delete"), of("log")), (Some(true), Some(false)));
    assert!(report.to_string().contains("env#log    NOT PROVIDED"), "{report}");
    assert!(report.to_string().contains("loads: no"), "{report}");
}

#[test]
fn an_inspection_asks_for_the_schema_of_the_settings() {
    let whole = module("");
    let rest = whole.strip_suffix(')').unwrap();
    let described = |code: &str, schema: &str| {
        let length = schema.len();
        let option = format!(r"\01\00\00\00\20\00\00\00\{length:02x}\00\00\00");
        let schema = schema.replace('"', "\\22");
        let text = format!(
            r#"{rest} (data (i32.const 16) "{option}{0}{schema}")
               (func (export "tidegate:plugin/settings@0.1.0#schema") (result i32) {code}))"#,
            r"\00\00\00\00",
        );
        inspect(text.as_bytes()).unwrap()
    };
    let report = described("i32.const 16", r#"{"type": "object"}"#);
    assert_eq!((report.problem, report.settings_error), (None, None));
    assert_eq!(report.settings_schema, Some(serde_json::json!({ "type": "object" })));
    assert_eq!(described("i32.const 64", "").settings_schema, None, "it may have none to show");
    for (code, schema, error) in [
        ("unreachable", "{}", "unreachable"),
        ("i32.const 16", "{]", "not JSON"),
        ("i32.const 16", "5", "neither an object nor a boolean"),
    ] {
        let report = described(code, schema);
        assert_eq!(report.problem, None, "it serves all the same");
        let said = report.settings_error.unwrap();
        assert!(report.settings_schema.is_none() && said.contains(error), "{said}");
    }
    assert!(inspect(whole.as_bytes()).unwrap().settings_error.is_none(), "nothing is asked of those that do not say");
}

#[test]
fn every_function_of_the_wit_is_linked_with_its_type() {
    let imports = imports(&provided::PROVIDED.resolve, provided::PROVIDED.world);
    assert!(imports.lines().count() > 40, "{imports}");
    on_worker(async {
        Bench::new().module(&module(&imports)).await;
    });
}

#[test]
fn a_guest_of_the_released_wit_still_fits_with_every_function_that_it_had() {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_source("plugin.wit", include_str!("released/plugin-0.1.0.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let imports = imports(&resolve, world);
    assert!(imports.lines().count() > 40, "{imports}");
    let handler = resolve.packages[package].interfaces["handler"];
    resolve.interfaces[handler].functions.retain(|name, _| name == "[static]plugin.create");
    let mut bytes = wat::parse_str(module(&imports)).unwrap();
    let utf8 = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, utf8).unwrap();
    on_worker(async {
        Bench::new().wasm.module(&Entry::new(bytes)).await.unwrap();
    });
}

/// Imports of everything that a world imports, as a core module writes them.
fn imports(resolve: &wit_parser::Resolve, world: wit_parser::WorldId) -> String {
    let mut imports = String::new();
    for (key, item) in &resolve.worlds[world].imports {
        let wit_parser::WorldItem::Interface { id, .. } = item else { continue };
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(wit_parser::abi::AbiVariant::GuestImport, function);
            let types = |types: &[wit_parser::abi::WasmType]| {
                let word = |wasm: &wit_parser::abi::WasmType| match wasm {
                    wit_parser::abi::WasmType::I64 => " i64",
                    wit_parser::abi::WasmType::F32 => " f32",
                    wit_parser::abi::WasmType::F64 => " f64",
                    _ => " i32",
                };
                types.iter().map(word).collect::<String>()
            };
            let (params, results) = (types(&signature.params), types(&signature.results));
            let module = resolve.name_world_key(key);
            imports += &format!("(import \"{module}\" \"{name}\" (func (param{params}) (result{results})))\n");
        }
    }
    imports
}
