# Targets for people and CI. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RTX := $(VENV)/.rtx

.PHONY: help demo test lint bench bench-peers scale soak faults clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,line,dev]'
	@touch $@

# TensorRT for RTX builds engines without a GPU. Two of its packages are only names, made from source in a
# second; the two that weigh something must be wheels. Where there is none, the tests of it are skipped.
$(RTX): $(READY) constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 1 -c constraints.txt \
	  --only-binary tensorrt_rtx_cu13_libs,tensorrt_rtx_cu13_bindings,cuda-bindings tensorrt_rtx cuda-bindings \
	  || echo "TensorRT for RTX cannot be installed here; its tests will be skipped"
	@touch $@

demo: $(READY)  ## set up, then train, export and run the pretend line (about 7 minutes)
	$(BIN)/dtgd-edge demo

test: $(READY) $(RTX)  ## run the tests
	$(BIN)/python -m pytest -n 2

lint: $(READY)  ## check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## time the newest bundle, stage by stage (run the demo first)
	$(BIN)/dtgd-edge bench --workspace demo

bench-peers: $(READY)  ## PEERS=<folder of ONNX files>: bundles beside them in one run (about 3 minutes)
	$(if $(PEERS),,$(error PEERS is not set; expected a folder of ONNX files; call make bench-peers PEERS=FOLDER))
	$(BIN)/dtgd-edge peers $(PEERS) $(addprefix --bundle ,$(BUNDLES)) $(addprefix --accuracy ,$(ACCURACY)) \
	  $(addprefix --reference ,$(REFERENCE)) $(addprefix --threads ,$(THREADS)) --workspace demo --out demo/peers

scale: $(READY)  ## the newest bundle against cameras, frame sizes and tiles (run the demo first; some minutes)
	$(BIN)/dtgd-edge scale --workspace demo

soak: $(READY)  ## 100,000 frames at full speed: memory flat, no verdict lost (some minutes)
	OMP_NUM_THREADS=1 $(BIN)/dtgd-edge soak

faults: $(READY)  ## break a line in every known way and print what it did (some minutes)
	OMP_NUM_THREADS=1 $(BIN)/dtgd-edge faults

clean:  ## remove what the other targets made
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
