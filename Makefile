# Two commands do everything on a machine with Python, make and git: `make edit` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BACKBONE := build/random-backbone

.PHONY: edit test check format clean

edit: $(VENV)/.installed $(BACKBONE)/model_index.json
	$(BIN)/flowedit edit examples/cup.yaml --backbone $(BACKBONE) --steps 10
	@echo "The files above lie beside edit.mp4: compare.mp4, mask.mp4, run.yaml. This backbone has random weights, so the edit is noise."

test: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

format: $(VENV)/.tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BACKBONE)/model_index.json: | $(VENV)/.installed
	$(BIN)/python scripts/make_random_backbone.py $(BACKBONE)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.tested: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build outputs
