# Every target is safe to run on a fresh machine: what is missing is set up first (scripts/setup.sh).
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: setup demo test test-all check fix bench wheel clean help

setup: ## make .venv, build the engine, fetch the two default models
	@scripts/setup.sh

demo: setup ## the whole thing, on the embedded default, in a throw-away home
	@$(BIN)/agentkit demo

test: setup ## all tests but the long attack and soak forms
	@$(BIN)/pytest -m "not long"

test-all: setup ## all tests
	@$(BIN)/pytest

check: setup ## format, lint, types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

fix: setup ## format, and mend what the linter can mend
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup ## all benchmarks, quick form; fails at the end if one of them did
	@status=0; for path in benchmarks/[a-z]*.py benchmarks/[a-z]*/; do name=$$(basename $$path .py); echo "== $$name"; $(BIN)/python -m benchmarks.$$name --quick || status=1; done; exit $$status

wheel: setup ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

clean: ## remove .venv and everything built here; the wheel cache and the models stay
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
