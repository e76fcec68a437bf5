# `make demo` and `make test` do everything on a fresh machine that has Python ≥ 3.11 and pip.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test install lint docs clean

demo: $(VENV)/ready
	$(BIN)/sparring train digits

test: $(VENV)/ready-dev
	$(BIN)/python tools/check_torch.py constraints.txt
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")

install: $(VENV)/ready-dev

lint: $(VENV)/ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/ready-dev
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache

# pip, pinned by constraints.txt; torch alone first, so that no other package can choose a build of it.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
