//! Guests of Proxy-Wasm and http-wasm for every function that is linked, which call it with addresses and lengths that are not
//! of their memory, or not of what is in it: in all of its arguments, and in one after the other.

use super::{
    core::{MEMORY, of_http_wasm, of_proxy_wasm},
    text::{Function, STATUS, called, constant, imports},
};

/// All of them.
pub(super) fn guests() -> Vec<String> {
    let mut guests: Vec<_> = of_proxy_wasm().iter().map(misled_proxy_wasm).collect();
    for function in of_http_wasm() {
        let calls = misleading(&function);
        // What is not answered with a status is a trap, behind which nothing is called any more.
        let at_once = if function.status_max.is_some() { calls.len().max(1) } else { 1 };
        guests.extend(calls.chunks(at_once).map(|calls| misled_http_wasm(&function, &calls.concat())));
    }
    guests
}

fn misleading(function: &Function) -> Vec<String> {
    // The end of its memory is 65,536.
    const BAD: [i64; 4] = [-1, -8, i32::MAX as i64, 65_533];
    let count = function.takes.len();
    let all = BAD.map(|bad| vec![bad; count]);
    let single =
        (0..count).flat_map(|bad| BAD.map(|number| (0..count).map(|at| if at == bad { number } else { 16 }).collect()));
    let call = |numbers: Vec<i64>| {
        let arguments: Vec<_> =
            function.takes.iter().zip(numbers).map(|(kind, number)| constant(kind, number)).collect();
        called(0, function, &arguments)
    };
    all.into_iter().chain(single).map(call).collect()
}

fn misled_proxy_wasm(function: &Function) -> String {
    let (imports, calls) = (imports(std::slice::from_ref(function)), misleading(function).concat());
    format!(
        "(module {imports}{MEMORY}{STATUS}
         (func (export \"proxy_abi_version_0_2_1\"))
         (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) (i32.const 32768))
         (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {calls} (i32.const 0))
         (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32) {calls} (i32.const 0)))"
    )
}

fn misled_http_wasm(function: &Function, calls: &str) -> String {
    let imports = imports(std::slice::from_ref(function));
    format!(
        "(module {imports}{MEMORY}{STATUS}
         (func (export \"handle_request\") (result i64) {calls} (i64.const 1))
         (func (export \"handle_response\") (param i32 i32) {calls}))"
    )
}
