//! The same cases with guests in other languages: played where `TIDEGATE_LANGUAGES` names the folder that they were built into
//! (`make test-languages`).

use std::{fs, path::PathBuf};

use super::play::{Column, play};

/// What a runtime with a heap and a collector of its own needs.
const ROOMY: &str = "limits: {memory-bytes-max: 128MiB, call-timeout: 5s, exchange-timeout: 20s}";

#[tokio::test]
async fn proxy_wasm_in_go() {
    played("proxy-wasm in Go", "interfaces-proxy-wasm-go").await;
}

#[tokio::test]
async fn http_wasm_in_go() {
    played("http-wasm in Go", "interfaces-http-wasm-go").await;
}

#[tokio::test]
async fn wasi_http_in_python() {
    played("wasi:http in Python", "interfaces-wasi-http-python").await;
}

async fn played(interface: &str, file: &str) {
    let Some(folder) = std::env::var_os("TIDEGATE_LANGUAGES").map(PathBuf::from) else { return };
    let path = folder.join(format!("{file}.wasm"));
    let module = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    play(&Column { interface, limits: ROOMY, module: &|_| Some(module.clone()) }).await;
}
