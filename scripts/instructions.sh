#!/usr/bin/env bash
# instructions.sh [write]: counts the instructions of some operations with valgrind and holds them to tests/bench/instructions.txt;
# `write` renews that file. Uses what the tests have built. Installs valgrind where apt-get can; without it, it says so and ends well.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "instructions: not counted: $1" >&2
  exit 0
}

[ "$(uname -s)" = Linux ] || skip 'valgrind is used on Linux only'
if ! command -v valgrind >/dev/null || ! command -v vgdb >/dev/null; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || skip 'install valgrind first'
  { DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends valgrind ||
    { apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends valgrind; }; } \
    >/dev/null 2>&1 || skip 'valgrind cannot be installed'
fi

cargo build --quiet --workspace --bins
target=${CARGO_TARGET_DIR:-target}
# Valgrind reads all that a binary says of its lines before it begins: names are enough.
lean=$target/instructions
mkdir -p "$lean"
for binary in tidegate tidegate-bench; do
  strip --strip-debug -o "$lean/$binary" "$target/debug/$binary" 2>/dev/null || cp "$target/debug/$binary" "$lean/$binary"
done
trap 'rm -rf "$lean"' EXIT

status=0
"$lean/tidegate-bench" "$lean/tidegate" instructions "$@" || status=$?
# Only a count that is too high is a failure: what keeps it from being counted says so.
[ "$status" -le 1 ] || skip 'see above'
exit "$status"
