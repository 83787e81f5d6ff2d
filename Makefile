# crewmem: `make demo` shows it, `make test` tests it; both install into .venv by themselves.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test chaos up check format bench bench-full stack-up stack-down docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.all ## install, then the story: two crews, each run a process of its own, one memory, and a kill -9
	@$(BIN)/crewmem demo $(ARGS)

test: $(VENV)/.dev ## install, then run the tests (ARGS="-m kafka -x" and the like)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: $(VENV)/.dev ## kill -9 everything, 200 times over 50,000 events, and count what is lost (20 minutes; needs KAFKA_HOME and Java)
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

up: $(VENV)/.all ## log, consumer and recall service on this machine, until ctrl-C
	@$(BIN)/crewmem up $(ARGS)

check: $(VENV)/.dev ## ruff, mypy, import-linter, and the commands that README and docs name
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --python-version 3.10 --follow-imports silent producers/crewmem_producers crews/crewmem # what a crew imports
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/check_docs.py

format: $(VENV)/.dev ## put the code into its form
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(VENV)/.dev ## the short form of every benchmark (under 20 minutes)
	@$(BIN)/python bench/run.py $(ARGS)

bench-full: $(VENV)/.dev ## the long form, no limit
	@$(BIN)/python bench/run.py --full $(ARGS)

docs: $(VENV)/.dev ## write the generated pages of docs/ again, and the generated tables in the others
	@$(BIN)/crewmem config docs settings > docs/settings.md
	@$(BIN)/crewmem config docs cli > docs/cli.md
	@$(BIN)/crewmem config docs size > docs/size.md
	@$(BIN)/python scripts/docs_tables.py

stack-up: ## Apache Kafka, consumers and the recall service with docker compose
	@scripts/stack up $(ARGS)

stack-down: ## stop that stack; its volumes stay (ARGS=--volumes removes them)
	@scripts/stack down $(ARGS)

clean: ## remove the virtual environment and every cache
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.all $(VENV)/.dev: $(VENV)/.%: pyproject.toml constraints.txt scripts/install
	@scripts/install "$(PYTHON)" "$(VENV)" $*
