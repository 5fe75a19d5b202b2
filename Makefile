# Everything a person types. `make demo` and `make test` work on a fresh clone with python3 and make.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest -q
# Where the demo listens: the two author instances and the worker.
DEMO_PORTS ?= 4502 4503 4512

.PHONY: demo run test test-sqlite test-postgresql test-journeys lint format bench openapi lock clean

demo: .venv/.runtime
	@$(BIN)/python manage.py demo --ports $(DEMO_PORTS)

run: .venv/.runtime
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py runinstance

test: test-sqlite test-postgresql test-journeys

test-sqlite: .venv/.dev
	$(PYTEST) -m "not journey" -n 2

test-postgresql: .venv/.dev
	$(BIN)/python -m tests.postgresql $(PYTEST) -m "not journey" -n 2

test-journeys: .venv/.dev
	$(PYTEST) -m journey

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.bench
	for file in tests/benchmarks/[a-z]*.py; do $(BIN)/python -m $$(echo $${file%.py} | tr / .) || exit 1; done

# Writes the description of the API anew from the code.
openapi: .venv/.dev
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/reference/openapi.yaml

# Writes the lock files anew from pyproject.toml; needs pip-tools in the environment that runs it.
lock:
	pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --output-file requirements.lock pyproject.toml
	pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --extra bench --constraint requirements.lock --output-file requirements-bench.lock pyproject.toml

clean:
	rm -rf .venv var .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Offloading needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv

.venv/.runtime: requirements.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

.venv/.dev: requirements-dev.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@ .venv/.runtime

# What the benchmarks compare with.
.venv/.bench: requirements-bench.lock .venv/.dev
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-bench.lock
	@touch $@
