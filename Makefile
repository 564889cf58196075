.DEFAULT_GOAL := help
.PHONY: help cat_toy test lint notebooks

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z_]+:.*## / {printf "make %-9s  %s\n", $$1, $$2}' Makefile

cat_toy: $(STAMP)  ## learn the word S* from five pictures of a toy cat, then generate images with it
	$(BIN)/python scripts/train.py experiment=cat_toy

# One thread per test worker. Otherwise two workers on two cores would run four threads.
test: export OMP_NUM_THREADS := 1
test: $(STAMP)  ## run the quick tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m "not slow and not integration"

notebooks: $(STAMP)  ## execute the notebooks and store their new outputs
	$(BIN)/python notebooks/refresh.py

lint: $(STAMP)  ## run ruff (linter and formatter) and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# uv ignores pip's settings, so pass on the places where pip is configured to look for wheels.
$(STAMP): pyproject.toml constraints.txt
	@set -eu; \
	if command -v uv >/dev/null; then \
		links=$$($(PYTHON) -m pip config get global.find-links 2>/dev/null | xargs | tr ' ' ',') || links=; \
		if [ -n "$$links" ]; then export UV_FIND_LINKS="$${UV_FIND_LINKS:-$$links}"; fi; \
		uv venv --allow-existing --python $(PYTHON) $(VENV); \
		uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
		$(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@
