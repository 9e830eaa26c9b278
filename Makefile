# The two commands a fresh machine needs are `make demo` and `make test`; they install what they need
# into .venv with nothing but Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROFILE ?= laptop
CODE := pitboss flows tasks deployments training tests bench docs/_site

.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs bench lab up down faults

help:  ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

install: $(STAMP)  ## Install the locked versions into .venv (done once, and again when they change)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Pitboss needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $(STAMP)

demo: $(STAMP)  ## Carry out the whole plan at small scale: start everything, run the campaign, say where the results are
	$(BIN)/python -m deployments.demo

test: $(STAMP) lint  ## Everything that must hold: style, types, layers, prefect.yaml, documentation, tests
	$(BIN)/python -m deployments.prefect_yaml
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile  # many tests wait for a server

faults: $(STAMP)  ## Kill, starve and damage a study at random, 50 times; each must end with the same bytes
	$(BIN)/python -m tests.faults.harness $(FAULTS)

lint: $(STAMP)  ## Style, types and layers only
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)  ## Build the documentation as a site into site/; every link must lead somewhere
	$(BIN)/pitboss schema > docs/schema.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "Open site/index.html; to search, too: $(BIN)/python -m http.server, then http://localhost:8000/site/index.html"

bench: $(STAMP)  ## Measure our speed against the alternatives, in one run on this machine (docs/benchmarks.md)
	$(BIN)/python -m bench all $(BENCH)

lab: $(STAMP)  ## Train the tiny models and SAEs of lab/ again
	$(BIN)/python -m training build

up: $(STAMP)  ## Start server, work pools, workers and deployments; PROFILE=floor with PostgreSQL and Redis
	@$(BIN)/python -m deployments.up --profile $(PROFILE)

down: $(STAMP)  ## Stop exactly what `make up` started
	@$(BIN)/python -m deployments.down
