//! What plugins do, by interface: every case of `tests/tables/interfaces.txt` with a guest for each interface, in
//! WebAssembly text, or in Rust for components. `docs/conformance.md` has the table that this comes to.

mod envoy;
mod languages;
mod page;
mod play;
mod public;
mod rows;

use tidegate_tests::{interfaces, plugin};

use self::{
    play::{Column, play},
    rows::{INTERFACES, cases},
};

/// Small limits, so that what has no end ends soon.
const TIGHT: &str = "limits: {memory-bytes-max: 8MiB, call-timeout: 500ms, exchange-timeout: 10s}";

#[tokio::test]
async fn native() {
    let module = plugin("interfaces-native");
    play(&Column { interface: "native", limits: TIGHT, module: &|_| Some(module.clone()) }).await;
}

#[tokio::test]
async fn proxy_wasm_0_1_0() {
    let module = |name: &str| interfaces::proxy_wasm("0_1_0", name).map(String::into_bytes);
    play(&Column { interface: "proxy-wasm 0.1.0", limits: TIGHT, module: &module }).await;
}

#[tokio::test]
async fn proxy_wasm_0_2_0() {
    let module = |name: &str| interfaces::proxy_wasm("0_2_0", name).map(String::into_bytes);
    play(&Column { interface: "proxy-wasm 0.2.0", limits: TIGHT, module: &module }).await;
}

#[tokio::test]
async fn proxy_wasm_0_2_1() {
    let module = |name: &str| interfaces::proxy_wasm("0_2_1", name).map(String::into_bytes);
    play(&Column { interface: "proxy-wasm 0.2.1", limits: TIGHT, module: &module }).await;
}

#[tokio::test]
async fn http_wasm() {
    let module = |name: &str| interfaces::http_wasm(name).map(String::into_bytes);
    play(&Column { interface: "http-wasm", limits: TIGHT, module: &module }).await;
}

#[tokio::test]
async fn wasi_http() {
    let module = plugin("interfaces-wasi");
    play(&Column { interface: "wasi:http", limits: TIGHT, module: &|_| Some(module.clone()) }).await;
}

#[test]
fn an_interface_without_a_way_has_no_guest_and_one_with_a_way_has_one() {
    let mut strays = Vec::new();
    for case in cases() {
        for guest in &case.chain {
            for interface in INTERFACES {
                let has = match interface {
                    "http-wasm" => interfaces::http_wasm(guest).is_some(),
                    "proxy-wasm 0.2.1" => interfaces::proxy_wasm("0_2_1", guest).is_some(),
                    _ => continue,
                };
                if has != case.reason(interface).is_none() {
                    strays.push(format!("{interface}: {guest}"));
                }
            }
        }
        let reasons = case.reasons.iter().filter(|(_, reason)| reason.split_whitespace().count() < 4);
        strays.extend(reasons.map(|(interface, reason)| format!("{}: {interface}: no reason: {reason}", case.name)));
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn the_page_has_the_table_that_is_played() {
    page::hold();
}
