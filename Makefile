# `make run` and `make test` work from a fresh clone: each sets up .venv by itself.
#
#   make install               sets up .venv alone
#   make run  [PROFILE=tiny]   the whole chain; "Error 3" of make means: the gate said no
#   make test                  the test suite;  make test-slow  servers, kills, whole chains
#   make test-chaos [KILLS=25 SEED=…]   whole runs, killed at random moments and run again
#   make lint                  ruff and mypy
#   make site                  the documentation as a site in site/
#   make bench                 a training step against a straightforward one, some minutes
#   make bench-generation      completions against plain batches, under 4 minutes
#   make bench-growth          seconds and memory by the number of rows and of trials (docs/scale.md)
#
#   PYTHON=…      the Python to set up with, 3.11 or later
#   TORCH=cuda    the torch build that the package index offers, instead of the small one for CPUs

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
PROFILE ?= tiny
TORCH ?= cpu

BIN := .venv/bin
TORCH_VERSION := 2.13.0
NOT_SLOW := not slow and not chaos and not gpu and not network
SLOW := slow and not chaos and not gpu and not network
KILLS ?= 25
SEED ?=

.PHONY: install run test test-slow test-chaos lint site bench bench-generation bench-growth clean

install: .venv/.installed

run: .venv/.installed
	@$(BIN)/safereact run --profile $(PROFILE)

test: .venv/.installed
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "$(NOT_SLOW)"

test-slow: .venv/.installed
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 3600 -m "$(SLOW)"

test-chaos: .venv/.installed
	$(BIN)/pytest -m chaos --timeout 3600 --log-cli-level INFO --kills $(KILLS) \
		$(if $(SEED),--random-order-seed $(SEED)) tests/test_chaos.py

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

site: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

bench: .venv/.installed
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.training_step

bench-generation: .venv/.installed
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.generation

bench-growth: .venv/.installed
	@$(BIN)/python -m benchmarks.growth

clean:
	rm -rf .venv

.venv/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it, or name it with \
	make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("$(PYTHON) is Python " \
	+ sys.version.split()[0] + "; 3.11 or later is needed")'
	@echo "Setting up .venv; this takes minutes, once."
	@$(PYTHON) -m venv .venv
	@case "$(TORCH)-$$(uname -s)-$$(uname -m)" in \
	cpu-Linux-x86_64) \
		$(BIN)/python -m pip install -q "torch==$(TORCH_VERSION)+cpu" 2>/dev/null || { \
		echo "The package index has no CPU build of torch; uv knows where there is one."; \
		$(BIN)/python -m pip install -q uv && $(BIN)/uv pip install -q --python $(BIN)/python \
			--torch-backend=cpu "torch==$(TORCH_VERSION)"; } ;; \
	*) $(BIN)/python -m pip install -q "torch==$(TORCH_VERSION)" ;; \
	esac
	@! $(BIN)/python -m pip config list | grep -q '[.]index-url=' \
	&& $(BIN)/python -m pip install -q uv \
	&& $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e '.[dev]' \
	|| $(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@
	@echo "Set up. Messages name commands as after: source $(BIN)/activate"
