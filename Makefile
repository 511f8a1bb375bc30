# Every target does its own set-up: a fresh clone needs nothing but this file, Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The newest 5.x of which name server, broker and tools are all released as Maven artifacts.
ROCKETMQ5 ?= 5.5.0
STAMP := $(VENV)/.installed
SAM_VENV := .venv-sam
SAM_STAMP := $(SAM_VENV)/.installed
# sam's Makefiles of layers need Python with pip and mqbridge; it sends statistics home unless told not to.
SAM := PATH="$(CURDIR)/$(BIN):$$PATH" SAM_CLI_TELEMETRY=0 $(SAM_VENV)/bin/sam
# Of what `make build` builds; see layers/common/Makefile.
ARCH ?= arm64

.DEFAULT_GOAL := help
.PHONY: help setup system demo demo-up demo-down test test-rocketmq5 check unit build build-fc invoke invoke-fc conformance bench soak chaos docs lock clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mqbridge needs Python 3.11 or newer; name one with make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: run  sudo apt-get install -y python3-venv  and try again"; exit 2; }
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Apart, as its pins contradict those of $(VENV). Everything is pinned: pip need not resolve. It stays out of git, too.
$(SAM_STAMP): requirements-sam.txt
	@$(PYTHON) -m venv $(SAM_VENV)
	@echo '*' > $(SAM_VENV)/.gitignore
	@$(SAM_VENV)/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-sam.txt
	@touch $@

setup: $(STAMP)  ## make .venv with everything development needs, pinned

system: $(STAMP)  ## mosquitto, a JDK, maven and RocketMQ's jars, where they are missing
	@$(BIN)/python -m devstack.setup

demo: system  ## the whole way of a message on real brokers, with proof, in a minute
	@$(BIN)/python -m examples.demo.run

demo-up: system  ## keep the brokers and the bridge running, to play by hand
	@$(BIN)/python -m examples.demo.stack up

demo-down: $(STAMP)  ## end what demo-up started
	@$(BIN)/python -m examples.demo.stack down

check: $(STAMP)  ## lint and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

build: $(STAMP) $(SAM_STAMP)  ## what `sam deploy` deploys to AWS, without Docker: ARCH=arm64 by default, or x86_64
	@ARCH=$(ARCH) $(SAM) build --parameter-overrides Architecture=$(ARCH)

build-fc: $(STAMP)  ## what `s deploy` deploys to Alibaba Cloud, in .fc/code: RULES=FILE, config/rules.yaml by default
	@$(MAKE) -s -C functions build-Fc ARTIFACTS_DIR="$(CURDIR)/.fc/code" PYTHON="$(CURDIR)/$(BIN)/python" $(if $(RULES),RULES="$(abspath $(RULES))")
	@echo "built .fc/code: s deploy"

invoke-fc: $(STAMP)  ## build a function for this machine and invoke it as Function Compute would: FUNCTION=outbound EVENT=FILE [RULES=FILE] [ENV="A=1 B=2"]
	@$(BIN)/python -m devstack.fc_service invoke $(FUNCTION) $(EVENT) $(if $(RULES),--rules $(RULES)) $(addprefix --env ,$(ENV))

invoke: $(STAMP)  ## build a function for this machine and invoke it as Lambda would: FUNCTION=outbound EVENT=FILE [RULES=FILE] [ENV="A=1 B=2"]
	@$(BIN)/python -m devstack.lambda_service invoke $(FUNCTION) $(EVENT) $(if $(RULES),--rules $(RULES)) $(addprefix --env ,$(ENV))

docs: $(STAMP)  ## write the JSON Schema and the tables of docs/rules.md, docs/rule-tests.md and docs/metrics.md anew, from the declarations
	@$(BIN)/mqbridge schema > mqbridge.schema.json
	@$(BIN)/python -m mqbridge_cli.reference docs/rules.md docs/rule-tests.md docs/metrics.md

unit: $(STAMP)  ## unit tests only: no server, a few seconds
	@$(BIN)/pytest tests/unit

# A file stays in one process, for its fixtures; those with brokers are begun first, as they take longest.
test: system check $(SAM_STAMP)  ## lint, types, unit tests, and integration tests on real brokers
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test-rocketmq5: system  ## the client and the bridge against RocketMQ 5.x: ROCKETMQ5=VERSION, 5.5.0 by default
	@MQBRIDGE_TEST_ROCKETMQ=$(ROCKETMQ5) $(BIN)/pytest tests/integration/test_rocketmq_interop.py tests/integration/test_bridge.py tests/integration/test_pull.py

conformance: $(STAMP)  ## other projects' pattern cases, from a folder outside: CONFORMANCE=DIR
	@$(BIN)/python -m tests.conformance $(CONFORMANCE)

bench: system  ## side by side with RocketMQ's own client and Apache Camel, 9 minutes; writes benchmarks/RESULTS.md, and fails if a bar is missed
	@$(BIN)/python -m benchmarks

soak: system  ## a million messages through the runner, 3 minutes: none lost, and its memory stays flat
	@$(BIN)/python -m benchmarks.soak

chaos: system  ## every fault under load, 15 minutes; writes benchmarks/RELIABILITY.md
	@$(BIN)/python -m tests.chaos.run

lock:  ## pin everything anew, with hashes and without addresses (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links layers/common/requirements.in -o layers/common/requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group dev layers/common/requirements.in -c layers/common/requirements.txt -o requirements-dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group sam -o requirements-sam.txt

clean:  ## remove what the targets above made
	rm -rf $(VENV) $(SAM_VENV) .aws-sam .fc .devstack .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
