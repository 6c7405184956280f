#!/usr/bin/env bash
# check-schema.sh: holds docs/tidegate.schema.json to what the gateway accepts, with a validator from PyPI
# (check-jsonschema, put below target/schema). Every example and the corpus's document with everything must pass; the
# broken configurations of tests/diagnostics whose fault is one of form must not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=target/schema
[ -x "$tools/bin/pip" ] || python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check check-jsonschema==0.39.0
validate() { "$tools/bin/check-jsonschema" --schemafile docs/tidegate.schema.json "$@"; }

mapfile -t valid < <(git ls-files 'examples/*.yaml' 'examples/*/routes/*.json' fuzz/corpus/config/everything.yaml)
validate "${valid[@]}"

count=0
# By name: a foreign reader would expand the alias bombs that stand beside these.
for folder in tests/diagnostics/{unknown-field,wrong-type,section-unknown,size-with,duration-with}*; do
  mapfile -t documents < <(find "$folder" -name '*.yaml' -o -name '*.yml' -o -name '*.json' | sort)
  if validate "${documents[@]}" >"$tools/said" 2>&1; then
    echo "$folder passes, and should not"
    exit 1
  fi
  count=$((count + 1))
done
[ "$count" -ge 10 ]
echo "${#valid[@]} passed, $count refused as they should be"
