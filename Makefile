# Everything starts here: `make` lists the commands.
PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

VENV := .venv
LABEL_STUDIO_VENV := .venv-label-studio
BIN := $(VENV)/bin
UV_VERSION := 0.13.8

# One line that counts packages on a terminal, silence elsewhere; errors always come through.
define pip_install
pip_flags="--disable-pip-version-check --require-hashes --no-deps"; \
$(1)/bin/python -m pip install $$pip_flags -r $(2) 2> >(grep -v ^WARNING >&2) | awk -v all="$$(grep -c '^[a-z0-9].*==' $(2))" \
	-v terminal="$$([ -t 2 ] && echo 1)" -v name="$(1)" ' \
	/^(Collecting|Processing|Requirement already)/ { \
		done++; if (terminal) printf "\r\033[K%s: %d of %d packages  %.50s", name, done, all, $$2 > "/dev/stderr" } \
	/^Installing collected/ { if (terminal) printf "\r\033[K%s: unpacking", name > "/dev/stderr" } \
	END { if (terminal) printf "\r\033[K" > "/dev/stderr"; print name ": " done " packages installed" }'
endef

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Label Studio and labelpilot with a sample project, ready to click in (Ctrl-C stops both)
	@$(BIN)/labelpilot demo $(DEMO)

.PHONY: install
install: install-server $(LABEL_STUDIO_VENV)/.installed ## Make the two environments from the lock files

.PHONY: install-server
install-server: $(VENV)/.installed ## Make labelpilot's own environment only

.PHONY: install-packages
install-packages: $(VENV)/.packages # the part of install-server that a Docker layer keeps

.PHONY: test
test: install ## All tests that need no browser
	@$(BIN)/pytest -n 2

.PHONY: e2e
e2e: install ## Tests with a real Label Studio and a real Chromium
	@$(BIN)/pytest -m e2e

.PHONY: lint
lint: install-server ## Format, lint, types, import rules, what bandit finds
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive backends micro_models

.PHONY: audit
audit: install-server ## Known vulnerabilities of the packages; skipped where their database is out of reach
	@$(BIN)/python -m tests.security.audit requirements.lock label-studio.lock

.PHONY: check
check: lint audit test ## lint, audit and test: what has to pass before a commit

.PHONY: docs
docs: install-server ## The documentation as a site, in build/docs
	@# Its theme tells at each run that it is maintained until 2027 and has a successor. With --quiet
	@# mkdocs would not count its warnings.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml
	@echo "build/docs/index.html"

.PHONY: dist
dist: install-server ## The wheel and the source distribution, in dist/
	@rm -rf dist *.egg-info && mkdir -p build
	@$(BIN)/python -m build --no-isolation . >build/dist.log 2>&1 || { cat build/dist.log >&2; exit 1; }
	@rm -rf *.egg-info && ls dist/*

.PHONY: lock
lock: | $(VENV)/bin/python ## Resolve the lock files again, for every system and Python that is supported
	@$(BIN)/python -m venv build/uv
	@build/uv/bin/python -m pip install --disable-pip-version-check --quiet uv==$(UV_VERSION)
	@build/uv/bin/uv pip compile pyproject.toml $(UV_LOCK) \
		--extra ultralytics --extra demo --extra s3 --extra dev -o requirements.lock
	@echo "label-studio==1.23.2" | build/uv/bin/uv pip compile - $(UV_LOCK) -o label-studio.lock
UV_LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

$(VENV)/.packages: requirements.lock | $(VENV)/bin/python
	@$(call pip_install,$(VENV),requirements.lock)
	@touch $@

$(VENV)/.installed: $(VENV)/.packages pyproject.toml
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(LABEL_STUDIO_VENV)/.installed: label-studio.lock | $(LABEL_STUDIO_VENV)/bin/python
	@$(call pip_install,$(LABEL_STUDIO_VENV),label-studio.lock)
	@touch $@

$(VENV)/bin/python $(LABEL_STUDIO_VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo >&2 \
		"labelpilot needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Say: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(@D)/..
