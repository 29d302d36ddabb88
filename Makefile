# The verbs of this project. Everything runs from .venv, which `make setup` builds from requirements.lock.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: help setup demo example test test-slow check format generate bench matching growth alarms soak soak-serve lock clean

RUN := .venv/bin/python
# Every processor for the tests: a worker has servers of its own.
WORKERS ?= auto
# The folder of an example.
NAME ?= stock-two-tills
# More arguments for pytest: make test ARGS="-k excel"
ARGS ?=
# How long `make soak-serve` plays.
SECONDS ?= 1800
# How many operations `make soak` plays.
OPS ?= 1000000

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## .venv from the lock file; afterwards .venv/bin/trueup works
	@scripts/setup.sh

demo: setup ## a small company appears in ./demo, drifted apart, and is brought into agreement
	@$(RUN) scripts/demo.py

example: setup ## one example at work, command by command: make example NAME=stock-two-tills
	@$(RUN) -m tests.docs.pages --show examples/$(NAME)/README.md

test: setup ## unit, conformance, stories, system and documentation tests, with private servers
	@$(RUN) -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-slow: setup ## the long ones
	@$(RUN) -m pytest -n $(WORKERS) --dist worksteal -m slow --timeout 3600 $(ARGS)

check: setup ## formatting, lint, types, import rules, generated pages not stale
	@failed=0; \
	$(RUN) -m ruff format --check --output-format concise . || { echo 'not formatted: run `make format`'; failed=1; }; \
	$(RUN) -m ruff check --output-format concise . || failed=1; \
	$(RUN) -m mypy || failed=1; \
	.venv/bin/lint-imports --no-logo || failed=1; \
	$(RUN) scripts/generate.py --check || failed=1; \
	$(RUN) scripts/release_notes.py --check || failed=1; \
	exit $$failed

format: setup ## format the code and mend what lint can mend
	@$(RUN) -m ruff check --fix --quiet . || true
	@$(RUN) -m ruff format .

generate: setup ## write the generated pages again
	@$(RUN) scripts/generate.py

bench: ## the benchmarks, each beside its floor and its peers
	@scripts/setup.sh bench
	@$(RUN) benchmarks/run.py $(ARGS)

matching: setup ## precision and recall of `dedupe` on data sets with known pairs, and the picture in docs/matching.md
	@$(RUN) benchmarks/matching.py $(ARGS)

growth: setup ## the size of the state over 100 simulated days of edits
	@$(RUN) benchmarks/growth.py $(ARGS)

alarms: setup ## how often guards hold ordinary work, and how often damage
	@$(RUN) benchmarks/alarms.py $(ARGS)

soak: setup ## the simulator for OPS operations (default 1,000,000)
	@$(RUN) -m trueup.testing.simulator --operations $(OPS) $(ARGS)

soak-serve: setup ## serve in bad weather for SECONDS (default 1,800): servers die, networks fail, no edit is lost
	@$(RUN) -m tests.weather.soak --seconds $(SECONDS) $(ARGS)

lock: setup ## resolve the dependencies again and write the lock files
	@scripts/lock.sh

clean: ## remove what the other verbs made, but not ./demo
	@rm -rf .venv .servers .bench .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
