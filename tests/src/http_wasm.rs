//! http-wasm guests in WebAssembly text, put together from what a test wants its handlers to do. `@"text"` in a body
//! stands for the address and the length of that text in the guest's memory.

use crate::texts::Texts;

/// What every guest has: all imports of the ABI, and helpers. See there.
const PRELUDE: &str = include_str!("../guests/http_wasm/prelude.wat");

/// A guest whose functions and exports are `body`; the memory is exported.
pub fn guest(body: &str) -> String {
    let mut texts = Texts::default();
    let (prelude, body) = (texts.place(PRELUDE), texts.place(body));
    format!("(module\n{prelude}\n{body}\n{})", texts.data)
}

/// A guest that does `request` with a request and leaves `ctx_next`, and does `response` with the response; there
/// `(local.get $context)` and `(local.get $error)` are what it is told.
pub fn handlers(request: &str, response: &str) -> String {
    guest(&(on_request(request) + &on_response(response)))
}

/// The handler of requests.
pub fn on_request(does: &str) -> String {
    format!("(func (export \"handle_request\") (result i64) (local $n i32) {does})\n")
}

/// The handler of responses.
pub fn on_response(does: &str) -> String {
    format!("(func (export \"handle_response\") (param $context i32) (param $error i32) (local $n i32) {does})\n")
}

/// A function that runs when the guest starts, by the section for that.
pub fn at_start(does: &str) -> String {
    format!("(func $start (local $n i32) {does}) (start $start)\n")
}

/// Enables features while the guest starts: 1 to read requests without consuming, 2 to change responses, 4 for trailers.
pub fn features(bits: u32) -> String {
    at_start(&format!("(drop (call $features (i32.const {bits})))"))
}

/// Sets a field: of the kind 0 for the request, 1 for the response, 2 and 3 for their trailers.
pub fn set(kind: u32, name: &str, value: &str) -> String {
    format!("(call $set (i32.const {kind}) @\"{name}\" @\"{value}\")\n")
}

/// Goes on to the next handler.
pub const NEXT: &str = "(i64.const 1)";
/// Answers by itself.
pub const ANSWER: &str = "(i64.const 0)";
