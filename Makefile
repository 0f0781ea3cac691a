# Everything that a user, a developer or CI runs. 'make' or 'make help' lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
CORES ?= 2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 19

.PHONY: workflow-env
workflow-env:
	@envs/venv.sh workflow

.PHONY: dev-env
dev-env:
	@envs/venv.sh dev

.PHONY: omero
omero: workflow-env ## Add omero-py to .venv, with Ice under it, which is compiled once
	@envs/omero.sh

.PHONY: demo-images
demo-images: workflow-env
	@workflows/analyse_images/demo_images.sh

.PHONY: demo
demo: demo-images ## Run the main job on real images; ends with the report and the run crate
	@snakemake --snakefile workflows/analyse_images/Snakefile --profile config/profiles/local \
		--configfile config/analyse_images.yaml config/demo.yaml --cores $(CORES) \
		--quiet host reason rules
	@echo "Report:    $(CURDIR)/demo/results/report.html"
	@echo "Run crate: $(CURDIR)/demo/results/run-crate"

.PHONY: test
test: dev-env ## Run all tests; a suite whose component cannot be had is named in the summary
	pytest -n $(CORES) --dist loadfile tests

.PHONY: test-galaxy
test-galaxy: dev-env ## Test the tools in a real Galaxy; TOOL=segment_objects tests one
	pytest $(if $(TOOL),"tests/galaxy/test_lint.py::test_planemo_finds_nothing_wrong_with_a_tool[$(TOOL)]" \
		"tests/galaxy/test_tools.py::test_the_tests_of_a_tool_pass[$(TOOL)]",-n $(CORES) --dist loadfile tests/galaxy)

.PHONY: test-live
test-live: dev-env ## Ask the real IDR and BioImage Archive; needs a network, and no other target runs it
	pytest -o python_files='live_*.py' tests/live

.PHONY: test-omero-suites
test-omero-suites: dev-env omero ## Run ezomero's own tests against the test server of OMERO
	python -m tests.omero_suites

.PHONY: test-models
test-models: dev-env ## Run models by PyTorch, Cellpose and StarDist, from an environment or PYTHONPATH that has them
	PARFOCAL_REQUIRE=models pytest tests/models

.PHONY: test-containers
test-containers: dev-env ## Build the container image twice, and run the workflow in it
	pytest tests/containers

.PHONY: check
check: lint ## The quick tier: lint, types, unit and contract tests
	pytest -n $(CORES) --dist loadfile tests/unit tests/contract

.PHONY: lint
lint: dev-env ## Check form, types, layers, rules and generated files
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check workflows rules
	envs/lock.sh --check

.PHONY: lock
lock: dev-env ## Make the lock files and the conda environment again from pyproject.toml
	envs/lock.sh

.PHONY: container
container: workflow-env ## Build the container image of the last commit, with the list of its packages
	@envs/container.sh

.PHONY: release-check
release-check: dev-env ## Make all that a release consists of, and try it; publishes nothing
	@envs/release_check.sh

.PHONY: bench
bench: dev-env ## Measure the figures of docs/reference/figures.md
	python -m tests.benchmarks

.PHONY: clean
clean: ## Remove results, the demo's images and caches; keeps the environment
	rm -rf results demo .snakemake .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
