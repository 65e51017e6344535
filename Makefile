# Everything starts here: `make run` and `make test` work on a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
export HOST ?= 127.0.0.1
export PORT ?= 8000
export SENTINEL_DATA_DIR ?= $(CURDIR)/var
export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(VIRTUAL_ENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH
# Whether `make run` starts the bot on X too.
export SENTINEL_BOT := $(if $(TWITTER_API_KEY)$(TWITTER_API_KEY_FILE),true,false)

# From here: make splits names of files at blanks, which the way to this folder may have.
RUNTIME := .venv/.runtime
DEVELOPMENT := .venv/.development

.PHONY: help setup setup-dev run test test-fast test-browser test-slow test-long test-postgresql test-postgresql-short test-mongodb test-mongodb-short test-hosts test-outage check check-types check-rest audit sbom format i18n messages schema client fuzz screenshots clean

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

.venv/bin/pip:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "Python 3.11 is needed. Name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	"$(PYTHON)" -m venv .venv

$(RUNTIME): requirements.txt | .venv/bin/pip
	pip install --quiet -r requirements.txt
	touch $@

$(DEVELOPMENT): requirements.txt requirements-dev.txt | .venv/bin/pip
	pip install --quiet -r requirements-dev.txt
	touch $@ $(RUNTIME)

setup: $(RUNTIME) ## Install what a running site needs
setup-dev: $(DEVELOPMENT) ## Install what tests and checks need

run: setup ## Start the site and the worker on 127.0.0.1:8000
	@scripts/check_port
	@mkdir -p "$(SENTINEL_DATA_DIR)"
	@python manage.py migrate --no-input --verbosity 0
	@python manage.py collectstatic --no-input --verbosity 0
	@$(MAKE) --no-print-directory messages
	@echo "Sentinel is starting on http://$(HOST):$(PORT)/ (Ctrl-C stops it)"
	@exec supervisord -c supervisord.conf

test: setup-dev test-fast test-slow test-browser ## Run all tests

test-fast: setup-dev messages ## Run the tests that need neither a browser nor a large network
	pytest -n 2 -m "not browser and not slow"

# Many of these wait for something to die or to be noticed: four at a time keep two cores busy. In the order of their
# names, which begins those that train networks in the middle and not at the end.
test-slow: setup-dev messages ## Run the tests that load large networks or kill processes
	pytest -n 4 --dist loadfile --no-loadscope-reorder --durations 40 -m "slow and not browser and not long" --ignore tests/media_analysis/test_database_crashes.py

test-long: setup-dev messages ## Run the slow tests that take half a minute or more each
	pytest -n 3 --dist loadfile --durations 15 -m long

# Those of the live view say how soon something is seen: nothing else runs beside them.
test-browser: setup-dev messages ## Run the tests in Chromium
	pytest -n 2 --dist loadfile --durations 15 -m "browser and not long" --ignore tests/browser/test_live.py
	pytest -m "browser and not long" tests/browser/test_live.py

test-postgresql: setup-dev messages ## Run the tests of the application on a PostgreSQL server of their own
	scripts/test_on_postgresql

test-postgresql-short: setup-dev messages ## Run those that depend on the database
	scripts/test_on_postgresql --short

test-mongodb: setup-dev messages ## Run the tests of the application on a server of their own that speaks MongoDB's protocol
	scripts/test_on_mongodb

test-mongodb-short: setup-dev messages ## Run those that would break first without transactions
	scripts/test_on_mongodb --short

# The types take as long as all the rest together: beside each other, on two cores.
check: setup-dev ## Format, lint, types, layers, migrations, translations, schema
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check-types check-rest

check-types: setup-dev
	mypy .

check-rest: setup-dev
	ruff format --check .
	ruff check .
	lint-imports
	djlint --check --lint --quiet templates
	python manage.py check --fail-level WARNING
	python manage.py makemigrations --check --dry-run
	DATABASE_URL="mongodb://127.0.0.1:9/none?serverSelectionTimeoutMS=1" python manage.py makemigrations --check --dry-run
	@mkdir -p build
	python manage.py spectacular --validate --fail-on-warn --file build/openapi.yaml
	diff -u docs/openapi.yaml build/openapi.yaml
	python clients/python/generate.py build/client
	./scripts/check_translations

test-outage: setup-dev messages ## Kill and start PostgreSQL under load, which takes a minute or two
	pytest -n 0 tests/media_analysis/test_database_crashes.py

# Where PyPI cannot be reached it ends with 75 and says so: that is no answer.
audit: setup-dev ## Ask PyPI for known vulnerabilities of everything that is installed
	python scripts/audit

sbom: setup-dev ## Write every installed package with its licence to build/sbom.json (CycloneDX)
	mkdir -p build
	python scripts/sbom > build/sbom.json

format: setup-dev ## Format everything
	ruff format .
	ruff check --fix .
	djlint --reformat --quiet templates

schema: setup-dev ## Write docs/openapi.yaml
	python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

client: setup-dev ## Write the Python client made from docs/openapi.yaml to build/client
	python clients/python/generate.py build/client

test-hosts: setup-dev messages ## Kill workers, Redis and web server of three hosts, and count what became of the work
	python -m benchmarks.hosts --analyses 60 --compare 0

fuzz: setup-dev ## Attack the API of a site of its own with REQUESTS random requests (5000)
	python -m tests.api.fuzz --requests $(or $(REQUESTS),5000)

screenshots: setup-dev messages ## Take pictures of every page into build/screenshots, and weigh the pages
	python scripts/screenshots

i18n: setup-dev ## Bring the message files in step with the code
	python manage.py makemessages -a --no-location --no-obsolete --no-wrap --ignore 'build/*' --ignore 'var/*' --ignore '.venv/*'

messages: setup ## Compile the translations
	@pybabel --quiet compile --domain django --directory locale

clean: ## Remove what can be made again, but no data
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .venv
