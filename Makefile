# Everything a newcomer needs: make train, make test. Python 3.11+ and make are all it takes.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install train test slow lint format studies notebook

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

train: install
	$(BIN)/python -m hi_ml.train model=lgbm

test: install
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

slow: install
	$(BIN)/python -m pytest -q -n 3 --dist loadfile -m slow  # many wait; a file starts its server once

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

studies: install
	$(BIN)/python experiments/operating_characteristics.py
	$(BIN)/python experiments/operating_characteristics.py --tables 2000 --sizes 5000 --worlds "at the smallest" \
		--output experiments/operating_characteristics_coverage.csv
	$(BIN)/python experiments/null_calendar.py
	$(BIN)/python experiments/acceptance.py
	$(BIN)/python experiments/live_kills.py --kills 25 --messages 15000
	$(BIN)/python experiments/kills.py 60
	$(BIN)/python tests/fuzz.py 2000
	$(BIN)/python -m pytest -q -m "not slow" --hypothesis-profile=search

notebook: install
	$(BIN)/python experiments/make_notebook.py
