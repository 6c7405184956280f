# What people type. Needs Rust and a C compiler; `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help run test test-languages test-schema plugins dist bench instructions lint soak

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: plugins ## Build all and run the quickstart: gateway, demo origin and a plugin
	cargo build --release --package tidegate
	@printf '\nIn another terminal, in this folder:\n\n'
	@printf '  %s\n' 'curl -i 127.0.0.1:8080/hello' \
	  "sed -i 's/good morning/good evening/' examples/quickstart/gateway.yaml" 'curl -i 127.0.0.1:8080/hello' \
	  'target/release/tidegate status' ''
	@exec target/release/tidegate run --config examples/quickstart

test: plugins ## Run every test
	cargo test --workspace
	cargo test --manifest-path plugins/Cargo.toml --locked

test-languages: plugins ## Build the plugin of examples/plugins in every language, and test them all
	scripts/languages.sh
	TIDEGATE_LANGUAGES=$(CURDIR)/target/languages cargo test --package tidegate-tests --test suites -- language
	scripts/proxy-wasm-guests.sh
	TIDEGATE_PROXY_WASM=$(CURDIR)/target/proxy-wasm TIDEGATE_ENVOY=$(CURDIR)/target/proxy-wasm/tools/envoy \
	  cargo test --package tidegate-tests --test suites -- sdks interfaces::envoy

plugins: ## Build plugins/* into plugins/dist/NAME.wasm
	plugins/build.sh

dist: ## Build what releases ship into target/dist/tidegate, laid out by a profile of the benchmarks' load
	scripts/dist.sh

bench: ## Print the comparison tables (writes docs/performance.md)
	scripts/bench.sh write

instructions: ## Count the instructions of some operations (valgrind) and hold them to what is committed
	scripts/instructions.sh

test-schema: ## Hold the JSON Schema to examples and broken configurations, with a validator from PyPI
	scripts/check-schema.sh

lint: ## Check what CI checks
	cargo fmt --all --check
	cargo fmt --manifest-path plugins/Cargo.toml --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo clippy --manifest-path plugins/Cargo.toml --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --quiet
	scripts/cargo-deny.sh

SOAK_SECONDS ?= 600
soak: plugins ## Reload under load for SOAK_SECONDS (600) and watch memory and descriptors
	TIDEGATE_SOAK_SECONDS=$(SOAK_SECONDS) cargo test --release --package tidegate-tests --test suites -- --nocapture soak:: under_ten_reloads
