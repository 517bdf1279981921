# `make demo` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
EXTRAS := compile,train,report,test,dev
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.PHONY: help demo test check check-lint check-types check-tiny bench tune models venv peers system-deps clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/sr-tvm: setup.cfg constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $@
venv: $(BIN)/sr-tvm ## make .venv with everything but the peer engines

demo: venv ## once round the whole loop on this machine, into runs/demo
	$(BIN)/sr-tvm demo -o runs/demo

test: venv ## all tests, a file to a process: make test JOBS=1 for one after another
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: venv ## ruff, the order of the rooms, types and the tests of seconds, side by side
	@$(MAKE) -j$(JOBS) -O --no-print-directory check-types check-lint check-tiny
check-lint:
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo --no-cache
check-types:
	$(BIN)/mypy
check-tiny:
	$(BIN)/python -m pytest tests/tiny

$(VENV)/.peers: $(BIN)/sr-tvm
	$(PIP) -e '.[$(EXTRAS),peers]'
	@touch $@
peers: $(VENV)/.peers ## add the engines that we are compared with

# A benchmark has a name of its own, whatever its folder; files without a command, such as engines, may have it too.
BENCH = $(if $(NAME),$(shell grep -l '^@click.command' benchmarks/*/$(NAME).py 2>/dev/null))
bench: peers ## run one benchmark: make bench NAME=peers
	@test "$(words $(BENCH))" = 1 || { echo "which one? make bench NAME=$$(grep -l '^@click.command' benchmarks/*/*.py | xargs -n1 basename -s .py | paste -sd'|' -)"; exit 2; }
	$(BIN)/python -m $(subst /,.,$(basename $(BENCH))) $(ARGS)

tune: venv ## tune the shipped model: make tune TARGET=cpu; TARGET=adreno SHAPE=1x3x360x640, on phones with TRACKER=HOST:PORT KEY=galaxy-s21
	$(BIN)/sr-tvm tune models/wdsr_x2_37k.onnx --target $(or $(TARGET),cpu) $(if $(TRACKER),--tracker $(TRACKER)) $(if $(KEY),--key $(KEY)) $(if $(filter adreno mali,$(TARGET)),--input-shape $(or $(SHAPE),1x3x360x640)) $(ARGS)

models: venv ## train and ship everything in models/: make models ARGS="--data DIR" (models/README.md)
	$(BIN)/python models/train.py $(ARGS)

system-deps: venv ## what pip can't install (Debian): compilers of C, C++ and Java, CMake, an emulator and a C library for the Arm tests, OpenCL on the CPU, a checker of its kernels, Mesa's compilers for phone GPUs
	apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ clang cmake pkg-config default-jdk-headless qemu-user-static libc6-arm64-cross ocl-icd-libopencl1 pocl-opencl-icd oclgrind
	$(BIN)/python -m sr_tvm.isa.system

clean: ## remove what the build made
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
