#!/usr/bin/env bash
# check-schema.sh: holds docs/tidegate.schema.json to what the gateway accepts, and what `check --format sarif` prints to
# SARIF's own schema, with a validator from PyPI (check-jsonschema, put below target/schema).
#
# Every example and the corpus's document with everything must pass; the broken configurations of tests/diagnostics whose
# fault is one of form must not. The findings of all of them must be SARIF 2.1.0, as OASIS publishes its schema; the crate
# serde-sarif carries that file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=target/schema
[ -x "$tools/bin/pip" ] || python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check check-jsonschema==0.39.0
validate() { "$tools/bin/check-jsonschema" --schemafile "$@"; }

mapfile -t valid < <(git ls-files 'examples/*.yaml' 'examples/*/routes/*.json' fuzz/corpus/config/everything.yaml)
validate docs/tidegate.schema.json "${valid[@]}"

count=0
# By name: a foreign reader would expand the alias bombs that stand beside these.
for folder in tests/diagnostics/{unknown-field,wrong-type,section-unknown,size-with,duration-with}*; do
  mapfile -t documents < <(find "$folder" -name '*.yaml' -o -name '*.yml' -o -name '*.json' | sort)
  if validate docs/tidegate.schema.json "${documents[@]}" >"$tools/said" 2>&1; then
    echo "$folder passes, and should not"
    exit 1
  fi
  count=$((count + 1))
done
[ "$count" -ge 10 ]

# A crate of its own, so that it is no dependency of ours.
sarif=$tools/sarif
mkdir -p "$sarif/src"
printf '[package]\nname = "sarif"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\nserde-sarif = "=0.8.0"\n' \
  >"$sarif/Cargo.toml"
: >"$sarif/src/lib.rs"
manifest=$(cargo metadata --quiet --format-version 1 --manifest-path "$sarif/Cargo.toml" |
  python3 -c 'import json, sys; print(*(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "serde-sarif"))')
cp "$(dirname "$manifest")/src/schema.json" "$sarif/schema.json"
cargo build --quiet --package tidegate
logs=0
for folder in tests/diagnostics/*/; do
  name=$(basename "$folder")
  # 0 valid with warnings, 1 refused.
  "${CARGO_TARGET_DIR:-target}/debug/tidegate" check --config "$folder" --format sarif >"$sarif/$name.sarif" || [ $? = 1 ]
  logs=$((logs + 1))
done
[ "$logs" -ge 50 ]
# Patterns as Python reads them: to a stricter reader, that of `language` is none.
validate "$sarif/schema.json" --regex-variant python "$sarif"/*.sarif
# The schema can refuse: a log without a version is none.
sed '0,/"version"/s//"edition"/' "$sarif/unknown-field.sarif" >"$sarif/broken.json"
if validate "$sarif/schema.json" --regex-variant python "$sarif/broken.json" >"$tools/said" 2>&1; then
  echo "a log without a version passes, and should not"
  exit 1
fi
grep -q version "$tools/said"
rm -f "$sarif"/*.sarif
echo "${#valid[@]} documents passed, $count were refused as they should be, $logs logs are SARIF"
