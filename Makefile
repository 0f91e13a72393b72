# `make help` lists what stands here. Needs Python 3.11 or newer and a JDK 17 or 21.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROWS ?= 2000000
CASES := whole small watched start scale checks features lookups
.DEFAULT_GOAL := help
.PHONY: help setup comet demo test check test-faults bench map clean $(CASES)

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/jars.stamp ## make .venv with everything in it, and fetch the Delta jars once

$(VENV)/installed.stamp: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; found = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else f"Python: expected 3.11 or newer; found {found}. Name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cpu,demo,dev,lineage,metrics]' -c constraints.txt
	@touch $@

$(VENV)/jars.stamp: $(VENV)/installed.stamp
	$(BIN)/python -c 'import sys; sys.tracebacklimit = 0; from batchscore.jvm import fetch_jars; fetch_jars()'
	@touch $@

demo: setup ## build the demo in ./demo on real flights, run one day, and show the result
	$(BIN)/batchscore demo --dir demo

$(VENV)/comet.stamp: $(VENV)/installed.stamp
	$(BIN)/python -c 'import sys; sys.tracebacklimit = 0; from batchscore.jvm import fetch_comet; fetch_comet()'
	@touch $@

comet: setup $(VENV)/comet.stamp ## fetch the jar of Apache DataFusion Comet, for `engine.accelerator: comet`

test: comet ## run the default test suite, about ten minutes
	$(BIN)/python -m pytest --durations=10

check: setup ## lint, format, types, import contracts and the unit tests, about a minute
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit

test-faults: comet ## run the long tests that `make test` leaves out: faults, local cluster, wheel
	$(BIN)/python -m pytest -m slow

$(VENV)/bench.stamp: $(VENV)/installed.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' -c constraints.txt
	@touch $@

bench: comet $(VENV)/bench.stamp ## time runs beside what else does the same work; `make bench whole`: one case; ROWS=2000000
	$(BIN)/python tests/bench/bench.py --rows $(ROWS) --case $(or $(filter $(CASES),$(MAKECMDGOALS)),all)

$(CASES): bench
	@:

map: setup ## redraw the map of modules in docs/architecture.md
	$(BIN)/python tests/unit/module_map.py

clean: ## remove .venv, ./demo, builds and caches
	rm -rf $(VENV) demo build dist *.egg-info spark-warehouse metastore_db derby.log
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
