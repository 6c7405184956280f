#!/usr/bin/env bash
# dist.sh: builds what releases ship (profile `dist`) into target/dist/tidegate, twice: a build that counts what it does meets the kinds
# of load that the benchmarks measure for a minute, and the build behind it is laid out by what was counted (rustc's -Cprofile-use).
#
# Needs LLVM's llvm-profdata of rustc's own version; takes rustup's (component llvm-tools), or Debian's where apt-get has it. Where
# there is none, nothing can be counted, or TIDEGATE_DIST_PLAIN is set, the build is the plain one, and says so. What was counted is kept
# in target/profile, and counted anew once the sources are newer: the profile of other code gives a quarter of what its own gives.
set -euo pipefail
cd "$(dirname "$0")/.."
unset CARGO_TARGET_DIR

gateway=(--package tidegate --bin tidegate)
major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
host=$(rustc -vV | sed -n 's/^host: //p')
profile=$PWD/target/profile

plain() {
  echo "dist: a plain build: $1" >&2
  cargo build --profile dist "${gateway[@]}"
  exit
}
merger() {
  local one
  for one in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" "llvm-profdata-$major" "/usr/lib/llvm-$major/bin/llvm-profdata"; do
    if command -v "$one"; then return; fi
  done
}
# A chain, because nothing ends a function by itself that a condition calls. A target that is named keeps the flags from what runs
# while building.
learn() {
  plugins/build.sh &&
    CARGO_ENCODED_RUSTFLAGS="-Cprofile-generate=$profile/raw" \
      cargo build --profile dist --target "$host" --target-dir "$profile/build" "${gateway[@]}" &&
    cargo build --profile dist --package tidegate-tests --bin tidegate-bench &&
    rm -rf "$profile/raw" &&
    LLVM_PROFILE_FILE="$profile/raw/%p.profraw" target/dist/tidegate-bench "$profile/build/$host/dist/tidegate" train &&
    "$(merger)" merge --output "$profile/tidegate.profdata" "$profile/raw" &&
    # cargo does not see that what it built by another profile is old.
    rm -rf "target/$host/dist"
}

is_current() {
  [ -s "$profile/tidegate.profdata" ] &&
    [ -z "$(find proxy Cargo.toml Cargo.lock -type f -newer "$profile/tidegate.profdata" -print -quit)" ]
}

[ -z "${TIDEGATE_DIST_PLAIN:-}" ] || plain 'TIDEGATE_DIST_PLAIN is set'
if [ -z "$(merger)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "llvm-$major" >/dev/null || true
fi
[ -n "$(merger)" ] || plain "no llvm-profdata of LLVM $major is to be had (rustup component llvm-tools, or the package llvm-$major)"
if ! is_current && ! learn; then
  rm -f "$profile/tidegate.profdata"
  plain 'nothing was counted, see above'
fi
CARGO_ENCODED_RUSTFLAGS="-Cprofile-use=$profile/tidegate.profdata" cargo build --profile dist --target "$host" "${gateway[@]}"
mkdir -p target/dist
# Not through the link that a plain build left there.
cp --remove-destination "target/$host/dist/tidegate" target/dist/tidegate
