# Both targets do all their own set-up; nothing but Python 3.11, pip, make and gcc is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := supernet predictors latency_lut search experiments tests

.PHONY: demo test lint types imports pytest clean

demo: $(STAMP)
	$(BIN)/bitfront run experiments/demo/host.yaml
	$(BIN)/bitfront run experiments/demo/bitfusion.yaml

test: lint types imports pytest

lint: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(STAMP)
	$(BIN)/mypy .ns/bitfront tests

imports: $(STAMP)
	$(BIN)/lint-imports

pytest: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not gpu" -q --cov --cov-report=term:skip-covered --durations=8

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,openvino,postgres]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
