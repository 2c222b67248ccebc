# Everything a reader needs: `make book`, `make test`, `make lab`. Needs python3 >= 3.11 and make.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# The environment is rebuilt when the pins or the package's own description change.
STAMP  := $(VENV)/.ready-$(shell cat requirements.txt requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
NOTEBOOKS ?= $(wildcard notebooks/*.ipynb)

# One thread: the small matrices here gain nothing by more, and sums keep their order.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYTHONNOUSERSITE = 1

# What only `make bench` needs, installed by its first run.
BENCH := $(VENV)/.bench-$(shell cat requirements-bench.txt requirements.lock | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help env book test bench lab notebooks lint lock clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*## /|/' | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

env: $(STAMP)  ## create .venv with the pinned packages (done by itself when needed)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "python3 >= 3.11 is needed; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned packages (about two minutes, 1.6 GB) ..."
	@$(PY) -m pip install --quiet -r requirements.txt -c requirements.lock
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.ready-* && touch $@

book: env  ## execute what changed, build the pages, print the first one's path
	@$(PY) tools/build_book.py

test: env  ## unit tests, notebooks, book, links, browser
	@$(PY) tools/build_book.py || echo "THE BOOK DID NOT BUILD; the tests below say so, too"
	@BOOK_REQUIRED=1 $(PY) -m pytest -n 2 --dist loadfile --nbval --nbval-current-env \
	  --nbval-sanitize-with tests/nbval_sanitize.cfg tests $(NOTEBOOKS)

$(BENCH): $(STAMP)
	@echo "installing the peers to measure against ..."
	@$(PY) -m pip install --quiet -r requirements-bench.txt -c requirements.lock
	@rm -f $(VENV)/.bench-* && touch $@

# All cores for everybody; nothing else should run meanwhile.
bench: env $(BENCH)  ## measure the speed beside other libraries (about 8 minutes), write data/bench
	@mkdir -p .benchmarks
	@OMP_NUM_THREADS=$$(getconf _NPROCESSORS_ONLN) $(PY) -m pytest -q -p no:cacheprovider -o addopts= \
	  -o python_files='bench_*.py' -o python_functions='bench_*' --benchmark-columns=min,median,max,rounds \
	  --benchmark-json=.benchmarks/times.json tests/benchmarks
	@$(PY) tools/bench_table.py .benchmarks/times.json

lab: env  ## open the chapters in JupyterLab, to change and run them: copies under lab/
	@$(PY) tools/reading_copies.py
	@$(PY) -m jupyter lab --notebook-dir=. lab

notebooks: env  ## execute the notebooks again and store their outputs (NOTEBOOKS=... for some)
	@$(PY) -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=1200 \
	  --ExecutePreprocessor.record_timing=False $(NOTEBOOKS)

lint: env  ## check format and style of code and notebooks, and the package's types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

lock: env $(BENCH)  ## write requirements.lock anew from what is installed
	@{ head -2 requirements.lock; grep ';' requirements.lock; $(PY) -m pip freeze --all --exclude-editable \
	  | grep -v -i -E '^pip==' | sed 's/+cpu$$//'; } > .lock.tmp && mv .lock.tmp requirements.lock

clean:  ## remove what was built (not .venv)
	rm -rf book/_build build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
