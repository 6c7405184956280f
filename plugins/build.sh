#!/usr/bin/env bash
# build.sh: builds every plugin of this folder into dist/NAME.wasm, and puts a copy beside each example that uses it.
#
# What cargo writes is what the gateway takes; the one thing needed is a rustc that compiles for
# wasm32-unknown-unknown, which scripts/wasm-toolchain.sh finds or makes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
eval "$(../scripts/wasm-toolchain.sh)"
# Flags for the machine that builds do not suit the guests; nor does a target directory that others share.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET CARGO_BUILD_TARGET_DIR \
  RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
# What a module says when it panics names its sources, and not where they lay on this machine. (The separator is that of
# CARGO_ENCODED_RUSTFLAGS, so that a path may have spaces.)
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
export CARGO_ENCODED_RUSTFLAGS=--remap-path-prefix=$registry=registry$'\x1f'--remap-path-prefix=$(cd .. && pwd)=tidegate
cargo build --quiet --locked --release --target wasm32-unknown-unknown --target-dir target

# A rename, so that a gateway that watches never reads half a module; and only where something changed, so that building
# again reloads nothing.
place() { # FROM TO
  cmp -s "$1" "$2" && return
  mkdir -p "$(dirname "$2")"
  cp "$1" "$2.part"
  mv "$2.part" "$2"
}

for manifest in */Cargo.toml ../examples/*/Cargo.toml ../examples/plugins/rust/Cargo.toml ../tests/guests/*/Cargo.toml; do
  name=$(sed -n 's/^name = "\(.*\)"/\1/p;T;q' "$manifest")
  built=target/wasm32-unknown-unknown/release/${name//-/_}.wasm
  place "$built" "dist/$name.wasm"
  for example in ../examples/*/; do
    if grep -rqsF "plugins/$name.wasm" --include='*.yaml' "$example"; then place "$built" "${example}plugins/$name.wasm"; fi
  done
  printf 'plugins/dist/%s.wasm  %s bytes\n' "$name" "$(stat -c %s "$built")"
done
