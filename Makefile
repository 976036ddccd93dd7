# Every command sets up what it needs: a .venv from requirements.lock, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
CHAPTERS := $(wildcard book/[0-9]*.ipynb)
FAST := -m "not browser and not notebook and not slow"
# Two tests run at once: threads that wait for work would keep the other one from working.
ALONE := OMP_NUM_THREADS=1 OPENCV_FOR_THREADS_NUM=1
COMPARE := $(BIN)/python -m pytest --nbval --nbval-sanitize-with tests/book/sanitize.cfg -n auto --dist loadfile
EXTRAS := predict,train,export,heic,keras,tensorboard,book,test

# Jupyter and matplotlib write into the home folder: where nobody may, a folder of this run takes its place.
ifeq ($(shell test -w "$$HOME" || echo no),no)
export HOME := $(shell mktemp -d)
endif

.PHONY: help book pdf slides lab test test-fast test-plain test-lowest portable check lint bench notebooks dist lock browsers reset

# What `make` alone shows: each target's name and the words behind its ##.
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

WRITABLE = @[ -w . ] || { echo "error: nothing can be written in $(CURDIR): copy the folder"; exit 1; }
$(READY): requirements.lock pyproject.toml
	$(WRITABLE)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# The widgets' tests need browsers. Debian has them; only root may install them.
INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends fonts-dejavu-core
MISSING := $(if $(wildcard /usr/bin/chromium),,chromium) $(if $(wildcard /usr/bin/firefox*),,firefox-esr)
browsers:
	@for name in $(MISSING); do \
	  if [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then \
	    echo "The tests in $$name are skipped, for it is missing: sudo apt-get install $$name"; \
	  else \
	    { $(INSTALL) $$name || { apt-get update -qq && $(INSTALL) $$name; }; } > /dev/null 2>&1 || \
	      echo "The tests in $$name are skipped, for apt-get could not install it"; \
	  fi; \
	done

book: $(READY)  ## the rendered book, every chapter executed
	$(BIN)/jupyter-book build . --all --warningiserror --keep-going
	@echo "Open $(CURDIR)/_build/html/index.html"

pdf: $(READY) browsers  ## the whole book as one PDF, from the stored outputs
	$(BIN)/python -m tools.site.pdf

slides: $(READY)  ## each chapter as slides for a lecture, from the stored outputs; fetches reveal.js
	$(BIN)/python -m tools.site.slides

NOTEBOOKS := notebooks
lab: $(READY)  ## the chapters in JupyterLab, in notebooks/, to run and to change; NOTEBOOKS=exercises for a class
	$(BIN)/python -m tools.site.open_lab $(NOTEBOOKS)

# Or else one core waits for the other in the end.
LONGEST_FIRST := book tests/widgets tests/test_training.py tests ssrlib
test: $(READY) browsers lint  ## every test, the chapters included
	$(ALONE) $(COMPARE) --no-loadscope-reorder $(LONGEST_FIRST)

# What hangs on a last digit comes out differently.
PLAIN := OPENCV_FOR_THREADS_NUM=1 ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE
test-plain: $(READY)  ## the chapters, or those in CHAPTERS, once more, as the plainest processor runs them
	$(PLAIN) $(COMPARE) $(CHAPTERS)

portable: $(READY)  ## the chapters under every setting that could change what they print
	$(BIN)/python -m tools.experiments.portable

test-fast: $(READY)  ## the tests that need no browser and no notebook
	$(ALONE) $(BIN)/python -m pytest $(FAST) -n auto --dist loadfile

test-lowest:  ## test-fast with the lowest versions that pyproject.toml allows: give PYTHON=python3.11
	$(WRITABLE)
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python tools/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/constraints.txt --editable ".[$(EXTRAS)]"
	$(ALONE) .venv-lowest/bin/python -m pytest $(FAST) -n auto --dist loadfile

check: $(READY) lint  ## that texts, notebooks, README and lock file are in step
	$(BIN)/python -m pytest -q tests/book/test_frame.py

SPELLED := ssrlib/*.py ssrlib/*/*.py ssrlib/widgets/*.js tools benchmarks testing tests book/text book/*.md *.md
lint: $(READY)  ## style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell $(SPELLED)
	$(BIN)/deno fmt --check
	$(BIN)/deno lint
	$(BIN)/deno check --quiet ssrlib/widgets/*.js tools/*.js book/_static/*.js

bench: $(READY) browsers  ## every benchmark but those that need a data set, best on an idle machine
	$(BIN)/python -m benchmarks.prepare
	$(BIN)/python -m benchmarks.synthetic
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.trunks
	$(BIN)/python -m benchmarks.train
	$(BIN)/python -m benchmarks.monitor
	$(BIN)/python -m benchmarks.webcam
	$(BIN)/python -m benchmarks.cold
	$(BIN)/python -m benchmarks.browser
	$(BIN)/python -m benchmarks.notebooks
	$(BIN)/python -m benchmarks.site

notebooks: $(READY)  ## after editing book/text: the notebooks and their stored outputs
	$(BIN)/jupytext --sync book/text/*.md
	$(BIN)/jupyter nbconvert --to notebook --inplace --execute --ExecutePreprocessor.timeout=300 $(CHAPTERS)
	$(BIN)/python -m tools.site.tidy $(CHAPTERS)

reset: $(READY)  ## for a class: the chapters without outputs and answers, in exercises/
	$(BIN)/python -m tools.site.blank

# Both files are installed as by a stranger, and read the astronaut of the README's film.
dist:  ## wheel and sdist for PyPI, each tried
	$(WRITABLE)
	rm -rf dist
	$(PYTHON) -m venv --clear .venv-dist
	.venv-dist/bin/python -m pip install --quiet build twine
	.venv-dist/bin/python -m build
	.venv-dist/bin/python -m twine check --strict dist/*
	@for file in dist/*; do \
	  echo "Trying $$file"; \
	  $(PYTHON) -m venv --clear .venv-dist && .venv-dist/bin/python -m pip install --quiet "./$$file[predict]" && \
	  (cd .venv-dist && bin/ssrlib predict ../book/images/demo.webp --out drawn && ls drawn/demo.png) || exit 1; \
	done

lock:  ## requirements.lock anew: the newest versions of everything but torch
	$(WRITABLE)
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0 --editable ".[$(EXTRAS)]"
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock
	@touch $(READY)

include weights.mk
