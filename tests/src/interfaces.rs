//! The guests of `tests/tables/interfaces.txt` that are WebAssembly text: one for each case.

use crate::{http_wasm, proxy_wasm};

const PROXY_WASM: &str = include_str!("../guests/proxy_wasm/cases.wat");
const HTTP_WASM: &str = include_str!("../guests/http_wasm/cases.wat");

/// The guest of a case for a version of Proxy-Wasm (`0_2_1`); `None` where there is none.
pub fn proxy_wasm(version: &str, name: &str) -> Option<String> {
    let body = case(PROXY_WASM, name)?;
    let (head, resume, back, import) = match version {
        "0_1_0" => (
            "(param $id i32) (param $fields i32)",
            "(call $go_on)",
            "(call $go_back)",
            "(import \"env\" \"proxy_continue_request\" (func $go_on (result i32)))
             (import \"env\" \"proxy_continue_response\" (func $go_back (result i32)))",
        ),
        _ => (
            "(param $id i32) (param $fields i32) (param $end i32)",
            "(call $go_on (i32.const 0))",
            "(call $go_on (i32.const 1))",
            "(import \"env\" \"proxy_continue_stream\" (func $go_on (param i32) (result i32)))",
        ),
    };
    let body = body.replace("{head}", head).replace("{go-on}", resume).replace("{go-back}", back);
    // Whether the request asks for what the case is about.
    let asked = "(func $asked (result i32)
        (i32.store (i32.const 0x8004) (i32.const 0))
        (drop (call $get (i32.const 0) @\"x-now\" (i32.const 0x8000) (i32.const 0x8004)))
        (i32.ne (call $given_length) (i32.const 0)))\n";
    let guest = proxy_wasm::guest(version, &format!("{asked}{body}"));
    Some(guest.replacen("(module\n", &format!("(module\n{import}\n"), 1))
}

/// The guest of a case for http-wasm; `None` where there is none.
pub fn http_wasm(name: &str) -> Option<String> {
    let mut body = "(func $asked (result i32)
        (call $count (call $values (i32.const 0) @\"x-now\" (i32.const 0) (i32.const 0))))\n"
        .to_owned();
    body += case(HTTP_WASM, name)?;
    if !body.contains("\"handle_request\"") {
        body += &http_wasm::on_request(http_wasm::NEXT);
    }
    if !body.contains("\"handle_response\"") {
        body += &http_wasm::on_response("");
    }
    Some(http_wasm::guest(&body))
}

// What stands after the line with its name.
fn case<'a>(all: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = all.split_once(&format!("\n;; case {name}\n"))?;
    Some(rest.split("\n;; case ").next().unwrap_or(rest))
}
