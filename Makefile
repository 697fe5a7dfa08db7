# Two commands set everything up by themselves: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test check bench study format lock clean

demo: $(VENV)/.demo
	$(BIN)/poet demo

test: $(VENV)/.dev
	$(BIN)/pytest -n logical --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_clean.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

study: $(VENV)/.bench
	$(BIN)/python -m benchmarks --study

format: $(VENV)/.dev
	$(BIN)/ruff check --fix src tests benchmarks examples
	$(BIN)/ruff format src tests benchmarks examples

# The locks hold exact versions and hashes, and no address.
lock:
	cd requirements && for set in base demo dev bench; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q $$set.in -o $$set.txt; done

$(VENV)/.%: requirements/%.txt pyproject.toml scripts/setup
	scripts/setup "$(PYTHON)" "$(VENV)" $*
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
