#!/usr/bin/env bash
# wasm-toolchain.sh: finds or makes a rustc that compiles for wasm32-unknown-unknown.
#
# Prints on stdout what to eval: nothing where the rustc in use will do, else `export RUSTC=...`. The rest goes to
# stderr. It takes, in this order:
#   1. a standard library for the target that is installed already;
#   2. on Debian: a private copy of the packages rustc-web and rust-web-src, unpacked under the cache directory and
#      never installed, with the standard library compiled once (1 to 3 minutes; nothing to do the next time);
#   3. else it names the command that installs one, and stops.
# The user's own toolchain is never changed.
#
#   TIDEGATE_CACHE            where the private copy lives (${XDG_CACHE_HOME:-~/.cache}/tidegate)
#   TIDEGATE_WASM_PRIVATE=1   skips 1
set -euo pipefail
exec 3>&1 1>&2

target=wasm32-unknown-unknown
host=x86_64-unknown-linux-gnu
home=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}/wasm-toolchain

say() { printf 'wasm-toolchain: %s\n' "$*"; }
stop() { say "$*"; exit 1; }

has_std() { # RUSTC
  local libs
  libs=$("$1" --print target-libdir --target "$target" 2>/dev/null) && compgen -G "$libs/libstd[-.]*rlib" >/dev/null
}

# Cargo may be what called us (a test, a build script): forget what it set for its own build.
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET \
  CARGO_BUILD_RUSTC CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR LD_LIBRARY_PATH

if [ "${TIDEGATE_WASM_PRIVATE:-}" != 1 ] && has_std rustc; then exit 0; fi

mkdir -p "$home"
exec 9>"$home/.lock"
flock 9 # two builds at once make one copy

unpack() { # DIR: the packages of one version, side by side, with the LLVM that they were linked to
  local dir=$1 version runtime llvm
  depends() { # PACKAGE REGEX
    LC_ALL=C apt-cache show "$1=$version" | sed -n 's/^Depends: //p' | head -n 1 | tr ',' '\n' |
      sed 's/^ *//; s/ .*//' | grep -E "$2" | head -n 1
  }
  version=$(LC_ALL=C apt-cache policy rustc-web | awk '/Candidate:/ { print $2 }')
  [ -n "$version" ] && [ "$version" != '(none)' ] || return 1
  runtime=$(depends libstd-rust-web-dev '^libstd-rust-web-[0-9]')
  llvm=$(depends "$runtime" '^libllvm[0-9]+$')
  say "fetching rustc-web $version (about 130 MB) into $home"
  (cd "$dir" && apt-get download -qq "rustc-web=$version" "libstd-rust-web-dev=$version" "$runtime=$version" \
    "rust-web-src=$version" "$llvm" "lld-${llvm#libllvm}") || return 1
  local package
  for package in "$dir"/*.deb; do dpkg-deb -x "$package" "$dir/tree"; done
  mv "$dir/tree/usr/lib/llvm-${llvm#libllvm}/bin/lld" "$dir/lld"
}

install_private() {
  local new=$home/new tree
  rm -rf "$new" "$home/toolchain"
  mkdir -p "$new/debs" "$new/bin" "$new/lib/rustlib/src/rust"
  [ "$(id -u)" != 0 ] || apt-get update -qq || say "apt-get update failed; trying the lists at hand"
  unpack "$new/debs" || return 1
  tree=$new/debs/tree/usr
  mv "$tree"/lib/x86_64-linux-gnu/*.so* "$new/lib/"
  mv "$tree/lib/rustlib/$host" "$new/lib/rustlib/"
  mv "$tree"/src/rustc-*/library "$new/lib/rustlib/src/rust/"
  mv "$tree/bin/rustc" "$new/bin/rustc.bin"
  mkdir -p "$new/lib/rustlib/$host/bin"
  mv "$new/debs/lld" "$new/lib/rustlib/$host/bin/rust-lld"
  # rustc finds its sysroot beside librustc_driver: a wrapper that says where the libraries are is enough.
  cat >"$new/bin/rustc" <<'WRAPPER'
#!/bin/sh
top=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH="$top/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$top/bin/rustc.bin" "$@"
WRAPPER
  chmod +x "$new/bin/rustc"
  rm -rf "$new/debs"
  "$new/bin/rustc" --version || stop "the private rustc does not start; install libedit2, libxml2 and libz3-4 and run this again"
  mv "$new" "$home/toolchain"
}

compile_std() { # where it belongs in the private copy, in one move at the end
  local top=$home/toolchain
  local library=$top/lib/rustlib/src/rust/library libs=$top/lib/rustlib/$target/lib
  say "compiling the standard library for $target (once)"
  (cd "$library" && RUSTC=$top/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
    RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix=$library=/rustc/library" \
    cargo build --locked --quiet --release --target "$target" --target-dir "$home/build" \
    --manifest-path sysroot/Cargo.toml --features 'panic-unwind backtrace') || stop "the standard library did not compile; see above"
  mkdir -p "$libs.new"
  cp "$home/build/$target"/release/deps/*.rlib "$libs.new/"
  rm -rf "$libs" "$home/build"
  mv "$libs.new" "$libs"
}

private=$home/toolchain/bin/rustc
if ! { [ -x "$private" ] && has_std "$private"; }; then
  if [ "$(uname -m)" != x86_64 ] || ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    stop "no standard library for $target here. Install one with: rustup target add $target"
  fi
  [ -x "$private" ] || install_private ||
    stop "Debian's packages rustc-web and rust-web-src could not be fetched. Install the target with: rustup target add $target"
  compile_std
fi
printf 'export RUSTC=%q\n' "$private" >&3
