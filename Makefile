# The menu. `make demo` and `make test` need nothing but Python 3.11+ and make.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-grid test test-quick lowest check conformance reference-3 fmt lint types chaos cluster docs clean

help: ## Show this menu
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Create the virtual environment with pinned dependencies

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## Prepare real weather data and run the search of configs/hyperparameter_search.yaml
	$(BIN)/sequifier-hpo init . > /dev/null
	$(BIN)/sequifier-hpo preprocess --config-path configs/preprocess.yaml
	$(BIN)/sequifier hyperparameter-search --config-path configs/hyperparameter_search.yaml
	@echo; echo 'to type these commands: source $(BIN)/activate'

demo-grid: $(INSTALLED) ## The same data, every combination of a small space
	$(BIN)/sequifier-hpo init . > /dev/null
	$(BIN)/sequifier-hpo preprocess --config-path configs/preprocess.yaml
	$(BIN)/sequifier hyperparameter-search --config-path configs/hyperparameter_search_grid.yaml
	@echo; echo 'to type these commands: source $(BIN)/activate'

# A file at a time on each processor, in the order of tests/conftest.py. Hundreds of processes are
# started, each of which would compile our modules anew where bytecode is not kept.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: $(INSTALLED) ## All tests
	$(PYTEST)

test-quick: $(INSTALLED) ## The tests that take less than a minute
	$(PYTEST) -m 'not slow'

# torch stays at the release of constraints.txt: another one brings gigabytes of CUDA. Its own lower
# bound is tested as far as can be without: mypy finds the names that we use in torch 2.6.0.
lowest: ## The quick tests with the lowest version that pyproject.toml allows of each dependency
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet -c constraints.txt torch
	.venv-lowest/bin/pip install --quiet uv
	grep '^torch==' constraints.txt > .venv-lowest/torch.txt
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct \
	  --override .venv-lowest/torch.txt -e '.[test]'
	.venv-lowest/bin/python -m pytest -n auto --dist loadfile -m 'not slow' -W default::DeprecationWarning

check: lint types test ## Everything that must be green: format, lint, layers, types, tests

fmt: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(INSTALLED) ## Format, lint rules and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(INSTALLED) ## Static types
	$(BIN)/mypy

conformance: $(INSTALLED) reference-3 ## Let Sequifier 1.0.0.6, in an environment of its own, compare its networks and read our files
	test -x .venv-reference/bin/sequifier || { \
	  $(PYTHON) -m venv .venv-reference \
	  && .venv-reference/bin/pip install --quiet -r tests/conformance/requirements.txt \
	  && .venv-reference/bin/pip install --quiet --no-deps sequifier==1.0.0.6; }
	SEQUIFIER_REFERENCE=$(CURDIR)/.venv-reference SEQUIFIER_REFERENCE_3=$(CURDIR)/.venv-reference-3 \
	  $(BIN)/python -m pytest tests/conformance

reference-3: ## Sequifier 3.1.1.0 in an environment of its own, also for studies/throughput/run.py
	test -x .venv-reference-3/bin/sequifier || { \
	  $(PYTHON) -m venv .venv-reference-3 \
	  && .venv-reference-3/bin/pip install --quiet -c constraints.txt torch \
	  && .venv-reference-3/bin/pip install --quiet -r studies/throughput/requirements-3.1.1.0.txt \
	  && .venv-reference-3/bin/pip install --quiet --no-deps sequifier==3.1.1.0; }

chaos: $(INSTALLED) ## Kill searches 600 times, cut two hosts off from their server 1,000 times (hours)
	SEQUIFIER_HPO_KILLS=50 SEQUIFIER_HPO_FAULTS=334 $(BIN)/python -m pytest -s tests/process/test_chaos.py

# Needs root, and the Debian packages that it names. PARTS: classic, containerd, slurm.
cluster: $(INSTALLED) ## Run the files of docker/ on real engines: Docker, Compose, Slurm (as root)
	$(BIN)/python -m tests.cluster $(PARTS)

docs: $(INSTALLED) ## Write the generated reference pages
	$(BIN)/python -m sequifier_hpo.cli.reference

clean: ## Remove what demo and tests wrote (not the virtual environment)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf data logs models checkpoints outputs configs/hp_search configs/hp_search_grid configs/metadata_configs
	rm -rf studies/seattle-weather studies/seattle-weather-grid
