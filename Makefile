# What one does with this repository. `make` alone lists it.
#
# The demo and the tests share one build in the dev profile, which takes half the time to compile; what is measured or
# shipped is built with the release profile. Downloads go to ${NANGO_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/nango-runtime}; nothing is installed
# system-wide.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# cargo-nextest runs tests side by side; plain cargo does as well.
TEST_RUNNER = $(if $(shell command -v cargo-nextest),cargo nextest run --no-fail-fast,cargo test --no-fail-fast)
# One test: make test-it TEST=proxy
TEST ?=

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build target/release/nango-runtime
	cargo build --release -p nango-runtime

.PHONY: demo
demo: ## See an action and a sync work end to end, without any account (KEEP=1 leaves it running)
	@scripts/demo

.PHONY: test
test: lint ## Check formatting and lints, then run all tests, on SQLite and Postgres
	cargo build --workspace
	@scripts/test-deps
	@$(MAKE) --no-print-directory test-it

.PHONY: test-it
test-it: ## Run the tests only (TEST=name for some of them)
	cargo build --workspace
	NANGO_TEST_POSTGRES_URL="$${NANGO_TEST_POSTGRES_URL:-$$(scripts/postgres start)}"; export NANGO_TEST_POSTGRES_URL; \
		$(TEST_RUNNER) --workspace $(TEST)
	$(if $(TEST),,cargo test --workspace --doc)

.PHONY: test-deps
test-deps: ## Bring what the tests need: upstreams, clients, guests
	@scripts/test-deps

.PHONY: lint
lint: ## Check formatting, lints and the licences, sources and advisories of dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	@scripts/cargo-deny

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

# One part: make bench BENCH=records (executor, action, proxy, stream, rate-limit, start, deploy, dev, records, schedules)
BENCH ?=

.PHONY: bench
bench: ## Measure side by side with bare wasmtime, bare axum and nginx (BENCH=name for a part)
	cargo build --release --workspace
	@NANGO_PROFILE=release scripts/test-deps guests nginx
	NANGO_TEST_POSTGRES_URL="$${NANGO_TEST_POSTGRES_URL:-$$(scripts/postgres start)}"; export NANGO_TEST_POSTGRES_URL; \
		target/release/bench $(BENCH)

# Tests that repeat something more often in a soak; each prints how long it took, and fails after half an hour.
SOAK ?= kill mirror record_readers flood

.PHONY: soak
soak: ## Kill servers some hundred times, follow a million changes, crowd, then run the bench's load for ten minutes (SOAK_SECONDS=600)
	cargo build --workspace
	@scripts/test-deps guests node
	NANGO_TEST_POSTGRES_URL="$${NANGO_TEST_POSTGRES_URL:-$$(scripts/postgres start)}"; export NANGO_TEST_POSTGRES_URL; \
		NANGO_SOAK=1 cargo test --package nango-runtime-tests --test it -- --nocapture --test-threads=1 $(SOAK)
	cargo build --release --workspace
	@NANGO_PROFILE=release scripts/test-deps guests nginx
	target/release/bench soak --seconds "$${SOAK_SECONDS:-600}"
