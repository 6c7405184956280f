//! Proxy-Wasm guests in WebAssembly text, put together from what a test wants its callbacks to do. `@"text"` in a body
//! stands for the address and the length of that text in the guest's memory.

use crate::texts::Texts;

/// What every guest has: imports, an allocator, and helpers. See there.
const PRELUDE: &str = include_str!("../guests/proxy_wasm/prelude.wat");

/// A guest of version `version` (`0_2_1`), whose functions and exports are `body`.
pub fn guest(version: &str, body: &str) -> String {
    let body = format!("(func (export \"proxy_abi_version_{version}\"))\n{body}");
    let mut texts = Texts::default();
    let prelude = texts.place(PRELUDE);
    let body = texts.place(&body);
    format!("(module\n{prelude}\n{body}\n{})", texts.data)
}

/// A guest of the newest version that does `does` with the head of a request; `(local.get $id)` is its context, and the
/// body leaves the action.
pub fn on_request(does: &str) -> String {
    guest("0_2_1", &request_headers(does))
}

/// The callback for the head of a request.
pub fn request_headers(does: &str) -> String {
    callback("proxy_on_request_headers", "$id $fields $end", does)
}

/// A callback that takes `params` (names, all numbers) and leaves a number.
pub fn callback(name: &str, params: &str, does: &str) -> String {
    let params: String = params.split_whitespace().map(|param| format!(" (param {param} i32)")).collect();
    format!("(func (export \"{name}\"){params} (result i32) {does})\n")
}

/// The same of one that leaves nothing.
pub fn told(name: &str, params: &str, does: &str) -> String {
    callback(name, params, does).replacen(" (result i32)", "", 1)
}

/// Sets a field of the map: 0 the request's head, 2 the response's.
pub fn set(map: u32, name: &str, value: &str) -> String {
    format!("(drop (call $replace (i32.const {map}) @\"{name}\" @\"{value}\"))\n")
}

/// Goes on.
pub const CONTINUE: &str = "(i32.const 0)";
/// Pauses.
pub const PAUSE: &str = "(i32.const 1)";
