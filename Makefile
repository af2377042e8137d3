# `make demo` and `make test` work from a fresh clone with python3, make and a C compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := prophet,torch,onnx,boost,tuning,tracking,report,datasets,plot,dev
# What is left of the cores to the tests when several run at once.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint fix bench bench-gpu results clean help

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: $(READY) ## install, then all model families on real medicine demand
	$(BIN)/forecastkit backtest dataset:pbs --horizon 12 --windows 2 --sample 60

test: $(READY) ## install, then the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(READY) ## formatting, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

fix: $(READY) ## what lint can mend by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## the benchmarks that need no data from elsewhere, and docs/results.md from all results
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/panel.py
	$(BIN)/python benchmarks/backtest.py
	$(BIN)/python benchmarks/latency.py --plot docs/latency.svg
	$(MAKE) results

# DEVICE=cpu exercises the same scripts; RIVALS is the Python of an environment with neuralforecast and darts.
bench-gpu: DEVICE ?= cuda
bench-gpu: $(READY) ## speed, training and latency of the networks on a GPU; accuracy too where FORECASTKIT_DATA is set
	for part in predict training history memory; do \
		$(BIN)/python benchmarks/networks.py $$part --device $(DEVICE) $(if $(RIVALS),--rivals $(RIVALS)) $(QUICK) || exit 1; \
	done
	$(BIN)/python benchmarks/latency.py --device $(DEVICE) -m gru -m lstm -m seasonal_naive $(QUICK)
	$(if $(FORECASTKIT_DATA),$(BIN)/python benchmarks/accuracy.py m4_hourly grocery_windows --device $(DEVICE) $(QUICK))
	$(MAKE) results

results: $(READY) ## docs/results.md from benchmarks/results/*.json
	$(BIN)/python benchmarks/results.py

clean: ## remove the environment and all caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
