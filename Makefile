# Two commands matter: `make local` and `make test`. Needs Python 3.11+, git, make, and root or podman.
PYTHON ?= python3
PY := .venv/bin/python
LASTCOPY := $(PY) -m ops # the command lastcopy, of this checkout
READY := .venv/.ready

DRILL_DIR := .local/drill
# For the tests, on two cores: a test on machines waits most of its time. Each worker takes 600 to 1550 MiB of memory at its peak.
WORKERS ?= 6

.PHONY: local drill clean-local setup test test-all check unit bench

local: setup ## the whole chain on this machine: real engine, relay, two sources, locked storage, first backup, restore, attack
	@$(LASTCOPY) local up

drill: setup ## attack the local stack, every row of the threat model; a report in .local/drill
	@mkdir -p $(DRILL_DIR)
	@$(LASTCOPY) attack-drill --stack local --sandbox .local/sandbox/local --source web1 --trial-stack --json-file $(DRILL_DIR)/report.json --html $(DRILL_DIR)/report.html

clean-local: $(READY) ## remove the local stack and everything it made
	@$(LASTCOPY) local down

setup: $(READY) ## the tools and host packages that the local stack and the tests need
	@$(PY) -m sandbox prepare
	@$(PY) -m toolchain ensure $(ALSO)

check: $(READY) ## format, lint, types, shellcheck, unit tests: under a minute
	@$(LASTCOPY) check

test: ALSO := --tests
test: setup ## everything, against real parts; what CI runs
	@$(LASTCOPY) test-packages
	@$(LASTCOPY) check --no-unit
	@$(PY) -m pytest -n $(WORKERS) --no-loadscope-reorder

test-all: ALSO := --tests
test-all: setup ## all of `make test`, the tests marked nightly, and property tests with many new examples
	@$(LASTCOPY) test-packages
	@$(LASTCOPY) check --no-unit
	@HYPOTHESIS_PROFILE=thorough $(PY) -m pytest -n $(WORKERS) --no-loadscope-reorder --nightly

bench: setup ## figures for the docs, measured on this machine
	@$(PY) -m bench

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@echo "python packages: installing into .venv (about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; fix: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
