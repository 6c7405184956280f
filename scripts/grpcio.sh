#!/usr/bin/env bash
# Installs Python's gRPC (PyPI: grpcio) into a virtual environment of its own below FOLDER, once, and prints its interpreter. Where
# that cannot be done, it says why and fails.
#
# usage: scripts/grpcio.sh FOLDER
set -euo pipefail
folder=${1:?usage: scripts/grpcio.sh FOLDER}
version=1.76.0
tools="$folder/grpcio-$version"
if [ ! -e "$tools/whole" ]; then
  command -v python3 >/dev/null || { echo "there is no python3" >&2; exit 1; }
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "grpcio==$version" >&2
  touch "$tools/whole"
fi
echo "$tools/bin/python"
