# Each target sets up what it needs; a repeat does nothing. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
ARGS ?=

ifndef PYTHON
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif
BIN := .venv/bin
RUNTIME := .venv/.meterhall-runtime
DEV := .venv/.meterhall-dev
NODE := node_modules/.meterhall
LITELLM := .venv-litellm/.meterhall-litellm

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

.PHONY: run
run: $(RUNTIME) $(NODE) ## Start the whole product on 127.0.0.1:$PORT (default 8000); Ctrl-C stops it
	@exec $(BIN)/python -m config.supervise

.PHONY: test
test: $(DEV) $(NODE) $(LITELLM) browser ## Run the tests; ARGS="-k name" or a path narrows them
	@exec $(BIN)/python -m tests $(ARGS)

.PHONY: check
check: $(DEV) $(NODE) ## Format, lint, types, layering, migrations, deploy settings, secrets, known vulnerabilities
	@$(MAKE) -k $(CHECKS)

.PHONY: bench
bench: $(DEV) $(NODE) ## Measure, each figure beside its floor; ARGS names single figures
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: chaos
chaos: $(DEV) $(NODE) ## Kill parts of the running product at random; nothing may be lost or doubled (ARGS="--seed 2")
	@exec $(BIN)/python -m bench.chaos $(ARGS)

.PHONY: manage
manage: $(RUNTIME) $(NODE) ## Run manage.py in the same environment: make manage ARGS="verify_books"
	@exec $(BIN)/python manage.py $(ARGS)

.PHONY: messages
messages: $(DEV) ## Collect strings to translate (needs GNU gettext) and compile the catalogues
	@$(BIN)/python manage.py messages $(ARGS)

.PHONY: lock
lock: $(DEV) ## Pin the newest allowed versions again, with hashes
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip compile pyproject.toml $(LOCKING) --upgrade -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml $(LOCKING) --upgrade --group dev -o requirements-dev.lock
LOCKING := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --system-certs --quiet

.PHONY: clean
clean: ## Remove caches and what was built; the data in .data stays
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles test-output
	find . -name __pycache__ -not -path './.venv/*' -not -path './node_modules/*' -prune -exec rm -rf {} +

.PHONY: litellm
litellm: $(LITELLM) ## Install LiteLLM in an environment of its own, for the tests with a real gateway

.PHONY: browser
browser:
	@if (command -v chromium || command -v google-chrome) >/dev/null && command -v pdftotext >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the browser tests, and pdftotext for those that read receipts ..."; \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			chromium poppler-utils) >/dev/null || echo "They could not be installed; these tests will be skipped."; \
	else echo "No Chromium or no pdftotext here; the tests that need them will be skipped."; fi

# --- what `make check` does, piece by piece ---------------------------------------------------------------------
CHECKS := check-format check-lint check-layers check-types check-migrations check-deploy check-hosts check-secrets check-audit
.PHONY: $(CHECKS)
check-format:
	@echo "== format"; $(BIN)/ruff format --check .
check-lint:
	@echo "== lint"; $(BIN)/ruff check .
check-layers:
	@echo "== layers"; $(BIN)/lint-imports
check-types:
	@echo "== types"; $(BIN)/mypy .
check-migrations:
	@echo "== migrations"; $(BIN)/python manage.py makemigrations --check --dry-run
check-deploy:
	@echo "== deploy"; $(BIN)/python -m tests.house deploy
check-hosts:
	@echo "== hosts"; $(BIN)/python -m tests.house hosts
check-secrets:
	@echo "== secrets"; $(BIN)/python -m tests.house secrets
check-audit:
	@echo "== audit"; $(BIN)/python -m tests.house audit

# --- set-up ------------------------------------------------------------------------------------------------------
$(RUNTIME): requirements.lock requirements-uv.lock config/install.py
	@$(call install,runtime)
$(DEV): requirements-dev.lock requirements-uv.lock config/install.py
	@$(call install,dev)
$(NODE): package.json package-lock.json | $(RUNTIME)
	@$(call install,node)
$(LITELLM): integrations/litellm/requirements.lock integrations/litellm/install.py requirements-uv.lock config/install.py
	@$(PYTHON) integrations/litellm/install.py || echo "LiteLLM could not be installed; the tests with it will be skipped."
define install
if [ -z "$(PYTHON)" ]; then echo "Meterhall needs Python 3.11 or newer; set PYTHON=/path/to/python3." >&2; exit 1; fi; \
	$(PYTHON) config/install.py $(1)
endef
