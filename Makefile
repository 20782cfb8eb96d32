# Two commands for a fresh machine with Python >= 3.11 and make:
#
#   make demo    three nodes, a kill -9 in mid-stream, nothing lost
#   make test    every check there is, as .ci/run runs them
#
# Both set up .venv by themselves. PYTHON=python3.12 chooses another interpreter for it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One worker more than the cores that continuous integration has: much of the tests' time is waiting for processes.
# These begin by the hundred, so bytecode is kept whatever the environment says.
WORKERS ?= 3
PYTEST := -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test lint types imports replay generated tests bugs chaos fuzz minimums wheel-check compatibility codec-java bench-kafka clean

demo: $(VENV)/.installed
	@$(BIN)/kraftpy demo

test: $(VENV)/.installed-dev lint types imports replay generated tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy .

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports --no-logo --no-cache

replay: $(VENV)/.installed-dev
	$(BIN)/python -m tests.tools.replay_check

generated: $(VENV)/.installed-dev
	$(BIN)/python -m tests.tools.generate_protobuf --check
	$(BIN)/python -m tests.tools.generate_configuration --check
	$(BIN)/python -m tests.tools.generate_compatibility --check

tests: $(VENV)/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python $(PYTEST)

# Real nodes whose networks, disks and power really fail, under load: ROUNDS, SEED and FAULTS choose how many and which.
# Needs root and Linux; whatever is missing is skipped with its reason.
chaos: $(VENV)/.installed-dev
	$(BIN)/python -m tests.chaos.campaign --rounds $(or $(ROUNDS),40) $(if $(SEED),--seed $(SEED)) \
	  $(if $(FAULTS),--faults $(FAULTS))

# Known bugs, each put back into a copy of the sources, and which check finds it after how many seeds; the table goes to
# docs/known-bugs.md. ONLY=NAME,… JOBS=N SEEDS=COUNT RESULTS=FILE; stopped at any time, it goes on where it was.
bugs: $(VENV)/.installed-dev
	$(BIN)/python -m tests.bugs --jobs $(or $(JOBS),1) $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(RESULTS),--results $(RESULTS))

# Frames at the Kafka door, right and wrong: every API, every version. FRAMES and SEED choose how many and which.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.kafka.fuzz --frames $(or $(FRAMES),1000000) $(if $(SEED),--seed $(SEED))

# The oldest releases that pyproject allows, in an environment of their own.
minimums:
	PIP_CONSTRAINT=tests/minimums.txt $(MAKE) VENV=.venv-minimums .venv-minimums/.installed-dev
	PYTHONDONTWRITEBYTECODE= .venv-minimums/bin/python $(PYTEST)

.venv-minimums/.installed-dev: tests/minimums.txt

# The wheel, installed into an empty environment outside the checkout, serves a record.
wheel-check: $(VENV)/.installed-dev
	$(BIN)/python -m tests.tools.wheel_check

# Other people's clients, all that this machine can have, against kraftpy; the matrix goes to docs/compatibility.md.
# COMPATIBILITY='--cluster kafka' tries the cases themselves on Apache Kafka; `--help` tells the rest. What it installs
# goes to KRAFTPY_COMPATIBILITY_CACHE (default: a folder in the user's cache).
COMPATIBILITY ?=
compatibility: $(VENV)/.installed-dev codec-java
	$(BIN)/python -m tests.compatibility --write $(COMPATIBILITY)

# What we pack by hand, against kafka-clients' own messages.
codec-java: $(VENV)/.installed-dev
	$(BIN)/python -m tests.compatibility.codec_java

# Apache Kafka and kraftpy by turns on one machine, with the same clients (needs Java and Maven; about an hour and a half);
# table and plots go to docs/benchmarks.md. VERSUS='--quick --only produce' and the like; `--help` tells the rest.
VERSUS ?=
bench-kafka: $(VENV)/.installed-versus
	$(BIN)/python -m bench.versus --write $(VERSUS)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "kraftpy needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "This Python cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-versus: $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,versus]'
	@touch $@

clean:
	rm -rf .venv .venv-minimums dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
