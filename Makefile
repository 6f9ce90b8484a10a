# make run: set everything up and do the main job. make test: set everything up and check it.
# Variables: PYTHON (the interpreter to use; it has a virtual environment of its own),
# ARGS (further arguments of `clickloop demo`).

SHELL := /bin/sh
VERSION := $(if $(PYTHON),$(shell $(PYTHON) -c 'import sys; print("-%d.%d" % sys.version_info[:2])'))
VENV := .venv$(VERSION)
BIN := $(VENV)/bin
DEMO_DATA := .cache/demo
READY := $(VENV)/.ready-run
READY_DEV := $(VENV)/.ready-dev
# Not compiled at once (--no-compile): Python compiles what is imported, a small part of it.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The tests start Python hundreds of times, and pytest rewrites every test module: both only once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test test-all rest quick slow setup check warm kernels pythons pythons-setup on-a-python faults soak \
	lock clean bad-input quality results kafka rooms

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(READY) $(DEMO_DATA)/.ready ## the main job on real logs, with everything set up
	@$(BIN)/clickloop demo --data $(DEMO_DATA) $(ARGS)

TIMED := sh .ci/timed
PYTEST := $(BIN)/python -m pytest -n 4 --dist worksteal
# Hypothesis tries a quarter as much in `make test`; each test without the mark `slow` is in it.
QUICK := --hypothesis-profile=quick -m "not slow"
REST := -m "slow or hypothesis"

test: $(READY_DEV) $(DEMO_DATA)/.ready ## lint, types, unit and property tests, the loop on Kafka once
	@$(TIMED) "make test" $(MAKE) --no-print-directory quick

test-all: test rest ## and all that takes longer: Kafka, faults, real logs, no compiler, browser

rest: $(READY_DEV) $(DEMO_DATA)/.ready ## of test-all, what `make test` leaves out
	@$(TIMED) "the slow tests" $(MAKE) --no-print-directory slow
	@$(TIMED) "make kernels" $(MAKE) --no-print-directory kernels

quick: check warm
	@$(PYTEST) $(QUICK)

slow: warm # most of it waits for Kafka, so more of it may run at a time
	@$(BIN)/python -m pytest -n 6 --dist worksteal $(REST)

setup: $(READY_DEV) $(DEMO_DATA)/.ready ## all that the tests need

check: $(READY_DEV) ## lint and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

warm: $(READY_DEV)
	@echo "compiling the kernels"
	@$(BIN)/python -m tests.support.warm_up

kernels: $(READY_DEV) ## the kernels once more as plain Python, without the compiler
	@NUMBA_DISABLE_JIT=1 $(PYTEST) -m kernel -W ignore::RuntimeWarning

pythons: ## the kernels' tests and a replay on the other Pythons that are supported
	@sh .ci/pythons on-a-python $(MAKE) --no-print-directory

pythons-setup:
	@sh .ci/pythons setup $(MAKE) --no-print-directory

on-a-python: $(READY_DEV)
	@$(BIN)/python -m tests.support.warm_up
	@$(PYTEST) -m "kernel and not slow" --hypothesis-profile=quick
	@$(PYTEST) tests/system/test_past_replay.py tests/system/test_past_learner.py
	@rm -rf $(VENV)/replay
	@$(BIN)/clickloop replay --config docs/examples/small/config.toml \
		--impressions docs/examples/small/impressions.ndjson \
		--clicks docs/examples/small/clicks.ndjson --out $(VENV)/replay

rooms: $(READY_DEV) ## each folder, its modules, what it may import; the modules that a score loads
	@$(BIN)/python -m pytest -q -s tests/test_architecture.py::test_the_rooms \
		tests/deploy/test_versions.py -k "rooms or score"

bad-input: $(READY_DEV) ## what each kind of bad input gives
	@$(BIN)/python -m tests.system.bad_inputs

results: $(READY_DEV) $(DEMO_DATA)/.ready ## the paper's tables on logs at hand: docs/results.md
	@$(BIN)/python -m tests.system.results

quality: $(READY_DEV) ## what late labels, 16 bits and subsampling cost
	@$(BIN)/python -m tests.system.quality

$(VENV)/.made:
	@sh deploy/venv.sh $(VENV) $(PYTHON)
	@touch $@

$(READY): requirements/run.txt pyproject.toml $(VENV)/.made
	@echo "setting up: installing pinned dependencies into $(VENV)"
	@$(PIP) install --no-compile --require-hashes -r requirements/run.txt
	@$(PIP) install --no-compile --require-hashes -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(READY_DEV): requirements/dev.txt $(READY)
	@echo "setting up: installing what tests and checks need"
	@$(PIP) install --no-compile --require-hashes -r requirements/dev.txt
	@touch $@

$(DEMO_DATA)/.ready: requirements/demo-data.txt | $(READY)
	@echo "setting up: fetching the Open Bandit logs"
	@$(PIP) download --no-deps --require-hashes -r requirements/demo-data.txt -d $(DEMO_DATA)
	@touch $@

LOCK := $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

faults: $(READY_DEV) ## kill -9 and resume; a million simulated schedules; every fault on a real broker
	@$(BIN)/python -m tests.system.faults
	@$(BIN)/python -m tests.system.simulation --schedules 1000000
	@$(BIN)/python -m tests.system.kafka.faults

soak: $(READY_DEV) ## ten minutes of load and random faults: memory stays flat, lag returns to 0
	@$(BIN)/python -m tests.system.kafka.soak

kafka: $(READY_DEV) ## a real Apache Kafka on loopback, until Ctrl-C
	@$(BIN)/python -m tests.system.kafka

lock: $(READY_DEV) ## renew the pinned dependencies
	@$(LOCK) --upgrade -o requirements/run.txt pyproject.toml
	@$(LOCK) --upgrade -c requirements/run.txt -o requirements/build.txt requirements/build.in
	@$(LOCK) --upgrade -c requirements/run.txt -c requirements/build.txt --extra dev \
		-o requirements/dev.txt pyproject.toml

clean: ## remove what set-up and runs made
	@rm -rf $(VENV) .venv-* .cache build *.egg-info
