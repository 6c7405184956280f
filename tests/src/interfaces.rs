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

/// The guests that are compared with Envoy, by name: whole modules, with their notes.
pub fn compared() -> Vec<(String, String)> {
    const COMPARED: &str = include_str!("../guests/proxy_wasm/compared.wat");
    let cases = COMPARED.split("\n;; case ").skip(1);
    let guest = |case: &str| {
        let (name, body) = case.split_once('\n').expect("a case has a name and a body");
        let body = body
            .replace("{head}", "(param $id i32) (param $fields i32) (param $end i32)")
            .replace("{go-on}", "(call $go_on (i32.const 0))");
        let guest = proxy_wasm::guest("0_2_1", &format!("{TELL}{body}"));
        (name.to_owned(), guest.replacen("(module\n", &format!("(module\n{MORE}\n"), 1))
    };
    cases.map(guest).collect()
}

const MORE: &str = r#"
    (import "env" "proxy_continue_stream" (func $go_on (param i32) (result i32)))
    (import "env" "proxy_get_header_map_size" (func $map_size (param i32 i32) (result i32)))
    (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))"#;

// How guests tell what they see: a number as a letter, bytes in hexadecimal.
const TELL: &str = r#"
(func $note-in (param $map i32) (param $name i32) (param $length i32) (param $number i32)
  (i32.store8 (i32.const 0x8100) (i32.add (i32.const 97) (local.get $number)))
  (drop (call $replace (local.get $map) (local.get $name) (local.get $length) (i32.const 0x8100) (i32.const 1))))
(func $note (param $name i32) (param $length i32) (param $number i32)
  (call $note-in (i32.const 0) (local.get $name) (local.get $length) (local.get $number)))
(func $note2 (param $name i32) (param $length i32) (param $number i32)
  (call $note-in (i32.const 2) (local.get $name) (local.get $length) (local.get $number)))
;; What was given, in hexadecimal, or the status.
(func $given-in (param $map i32) (param $name i32) (param $length i32) (param $status i32)
  (local $at i32) (local $out i32) (local $left i32)
  (if (local.get $status) (then
    (return (call $note-in (local.get $map) (local.get $name) (local.get $length) (local.get $status)))))
  (local.set $at (call $given)) (local.set $left (call $given_length)) (local.set $out (i32.const 0xa000))
  (if (i32.gt_u (local.get $left) (i32.const 200)) (then (local.set $left (i32.const 200))))
  (block $end (loop $next
    (br_if $end (i32.eqz (local.get $left)))
    (i32.store8 (local.get $out) (call $hex (i32.shr_u (i32.load8_u (local.get $at)) (i32.const 4))))
    (i32.store8 offset=1 (local.get $out) (call $hex (i32.and (i32.load8_u (local.get $at)) (i32.const 15))))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (local.set $out (i32.add (local.get $out) (i32.const 2)))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br $next)))
  (i32.store8 (local.get $out) (i32.const 46))
  (drop (call $replace (local.get $map) (local.get $name) (local.get $length)
    (i32.const 0xa000) (i32.sub (i32.add (local.get $out) (i32.const 1)) (i32.const 0xa000)))))
(func $hex (param $digit i32) (result i32)
  (i32.add (local.get $digit) (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
;; A property, its value or only whether there is one.
(func $read (param $path i32) (param $bytes i32) (result i32)
  (i32.store (i32.const 0x8004) (i32.const 0))
  (call $property (local.get $path) (local.get $bytes) (i32.const 0x8000) (i32.const 0x8004)))
(func $shown (param $name i32) (param $length i32) (param $path i32) (param $bytes i32)
  (call $given-in (i32.const 0) (local.get $name) (local.get $length) (call $read (local.get $path) (local.get $bytes))))
(func $shown2 (param $name i32) (param $length i32) (param $path i32) (param $bytes i32)
  (call $given-in (i32.const 2) (local.get $name) (local.get $length) (call $read (local.get $path) (local.get $bytes))))
(func $known (param $name i32) (param $length i32) (param $path i32) (param $bytes i32)
  (call $note (local.get $name) (local.get $length) (call $read (local.get $path) (local.get $bytes))))
(func $known2 (param $name i32) (param $length i32) (param $path i32) (param $bytes i32)
  (call $note2 (local.get $name) (local.get $length) (call $read (local.get $path) (local.get $bytes))))
"#;

// What stands after the line with its name.
fn case<'a>(all: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = all.split_once(&format!("\n;; case {name}\n"))?;
    Some(rest.split("\n;; case ").next().unwrap_or(rest))
}
