# Everything happens in .venv; nothing but Python (3.11 to 3.13), a C++ compiler and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0

.PHONY: help install demo test lint bench bench-install bench-llama-install clean

help:
	@echo "make demo    install, run the main job on the real model (minutes), say where to look"
	@echo "make test    install, run the tests"
	@echo "make lint    ruff and pyright"
	@echo "make bench NAME=verification    run a benchmark, write docs/results/NAME.json"

install: $(STAMP)

# torch first and pinned: a range would let pip take a build with gigabytes of CUDA libraries.
$(STAMP): pyproject.toml setup.py $(wildcard kernels/cpu/src/*)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(TORCH)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[train,sim,dev]"
	@touch $@

demo: $(STAMP)
	@$(BIN)/specdrive run quick --resume

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto

lint: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

bench-install: $(STAMP)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[bench]"

bench-llama-install: bench-install
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[llama]"

bench: bench-install
	@test -n "$(NAME)" || { echo "which one? make bench NAME=verification"; exit 2; }
	@$(BIN)/python -m benchmarks.$(NAME)
	@$(BIN)/python -m benchmarks.report

clean:
	rm -rf $(VENV) build *.egg-info
