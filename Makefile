# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Names for the scripts that do the work.

SHELL := /bin/bash
BOOTSTRAP := tests/tooling/bootstrap
GATES ?=
ARGS ?=
TRACES ?=
PROTOCOL ?=
QUICK ?=
BENCH ?= $(if $(TRACES),sizing,plan)
REPLAY = $(if $(TRACES),--traces '$(TRACES)') $(if $(PROTOCOL),--protocol '$(PROTOCOL)')
export YES SWAP TRACE

.DEFAULT_GOAL := help
.PHONY: help run cycle test test-kills bench tune lab lab-down lint format docs venv env

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: ## a lab of real guests, one whole cycle on it, a summary (SWAP=1 exchanges the load of two guests)
	@$(BOOTSTRAP) tests/demo/run

cycle: ## one cycle on the running lab; ARGS='--check --diff' for a rehearsal
	@$(BOOTSTRAP) tests/demo/cycle $(ARGS)

test: ## every check and test; GATES='lint unit' chooses
	@$(BOOTSTRAP) --for dev python -m tests.tooling.gates $(GATES)

test-kills: ## kill every step of the journal, every way, and look that nothing is half-done
	@$(BOOTSTRAP) --for dev python -m pytest tests/kills $(ARGS)

bench: ## what a plan costs; BENCH=engines, forecast, guard, inventory, plan, recurrent, report, sampler, scale or telemetry; or TRACES= (BENCH=sizing) PROTOCOL= QUICK=1: how much would I save?
	@$(BOOTSTRAP) python tests/bench/bench_$(BENCH).py $(if $(filter sizing,$(BENCH)),$(REPLAY) $(if $(QUICK),--quick)) $(ARGS)

tune: ## find the operating points of the sizing policies: TRACES=, PROTOCOL=; takes an hour
	@$(BOOTSTRAP) --for dev python tests/bench/bench_sizing.py tune $(REPLAY) $(ARGS)

lab: ## start the lab
	@$(BOOTSTRAP) python tests/lab/lab.py up

lab-down: ## stop the lab; nothing is left behind
	@$(BOOTSTRAP) python tests/lab/lab.py down

lint: ## only the checks that run nothing
	@$(BOOTSTRAP) --for dev python -m tests.tooling.gates lint

format: ## let ruff rewrite the Python files
	@$(BOOTSTRAP) --for dev tests/tooling/format

docs: ## build the docsite
	@$(BOOTSTRAP) --for dev python -m tests.tooling.gates docs

venv: ## make the development environment and print its path
	@$(BOOTSTRAP) --for dev --print venv

env: ## print the environment of the scripts, for eval "$$(make -s env)"
	@$(BOOTSTRAP) --for dev --print env
