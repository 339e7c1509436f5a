# Two commands do everything on a machine with Python, make and git: `make edit` and `make test`; `make app` opens the studio.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: edit app test fuzz format clean

edit: $(VENV)/.installed
	$(BIN)/flowedit edit examples/fox.yaml

app: $(VENV)/.studio
	$(BIN)/flowedit app

test: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

CASES ?= 300
SEED ?= 0

fuzz: $(VENV)/.tested
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz --cases $(CASES) --seed $(SEED)

format: $(VENV)/.tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.studio: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[app]"
	@touch $@ $(VENV)/.installed

$(VENV)/.tested: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build outputs
