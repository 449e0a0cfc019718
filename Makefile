# All targets do all their own set-up; nothing but Python 3.11, pip, make and gcc is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not gpu" -q
JOBS ?= 2
RESULTS := $(if $(QUICK),.bitfront/results-quick,docs/results)
SOURCES := supernet predictors latency_lut search experiments tests docs/examples

.PHONY: demo results test lint types imports pytest coverage clean

demo: $(STAMP)
	$(BIN)/bitfront run experiments/demo/host.yaml
	$(BIN)/bitfront run experiments/demo/bitfusion.yaml

# Every headline claim, measured: hours; `make results QUICK=1` has small versions, for a look. Up to JOBS at once, but
# those that time the machine. To go on after an interruption, give the same command. The page is written also where
# a benchmark failed.
results: $(STAMP)
	$(BIN)/bitfront results run $(if $(QUICK),--quick) -j $(JOBS) -o $(RESULTS); ended=$$?; \
	$(BIN)/bitfront results page $(RESULTS) && exit $$ended

test: lint types imports pytest

lint: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(STAMP)
	$(BIN)/mypy .ns/bitfront tests

imports: $(STAMP)
	$(BIN)/lint-imports

pytest: $(STAMP)
	$(PYTEST) --durations=8

# Apart from `test`: up to Python 3.11, counting lines makes the tests take half as long again.
coverage: $(STAMP)
	$(PYTEST) --cov --cov-report=term:skip-covered

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,openvino,postgres]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
