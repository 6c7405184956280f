#!/usr/bin/env bash
# dist.sh: builds what releases ship (profile `dist`) into target/dist/tidegate, twice: a build that counts what it does runs the kinds
# of load that the benchmarks measure for a minute, and the build behind it is laid out by what was counted (rustc's -Cprofile-use).
#
# Needs LLVM's llvm-profdata of rustc's own version; takes rustup's (component llvm-tools), or Debian's where apt-get has it. Where
# there is none, or TIDEGATE_DIST_PLAIN is set, the build is the plain one. What was counted is kept in target/profile, and counted
# anew only once that is removed: profiles of yesterday's code are nearly as good.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(--package tidegate --bin tidegate)
major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
host=$(rustc -vV | sed -n 's/^host: //p')
merger() {
  local one
  for one in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" "llvm-profdata-$major" "/usr/lib/llvm-$major/bin/llvm-profdata"; do
    if command -v "$one" >/dev/null; then echo "$one"; return; fi
  done
}
plain() {
  cargo build --profile dist "${packages[@]}"
  exit
}

if [ -n "${TIDEGATE_DIST_PLAIN:-}" ]; then plain; fi
if [ -z "$(merger)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "llvm-$major" >/dev/null || true
fi
if [ -z "$(merger)" ]; then
  echo "dist: no llvm-profdata of LLVM $major is to be had (rustup component llvm-tools, or the package llvm-$major): a plain build" >&2
  plain
fi

# A target that is named keeps the flags from what runs while building.
profile=$PWD/target/profile
if [ ! -s "$profile/tidegate.profdata" ]; then
  plugins/build.sh
  RUSTFLAGS="-Cprofile-generate=$profile/raw" cargo build --profile dist --target "$host" --target-dir "$profile/build" "${packages[@]}"
  cargo build --profile dist --package tidegate-tests --bin tidegate-bench
  rm -rf "$profile/raw"
  LLVM_PROFILE_FILE="$profile/raw/%p.profraw" target/dist/tidegate-bench "$profile/build/$host/dist/tidegate" train
  "$(merger)" merge --output "$profile/tidegate.profdata" "$profile/raw"
fi
RUSTFLAGS="-Cprofile-use=$profile/tidegate.profdata" cargo build --profile dist --target "$host" "${packages[@]}"
mkdir -p target/dist
cp "target/$host/dist/tidegate" target/dist/tidegate
