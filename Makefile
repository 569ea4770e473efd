# Darkroom needs only Python 3.11+ and make; everything else comes from here.
#
#   make up        start the service (installs first where needed)
#   make test      linters and tests
#   make test-all  the same with the slow ones: every crash point, a storm, real enlargements
#   make lint      linters alone
#   make chaos     500 jobs while everything is killed in turn; JOBS=, SEED= and RUNS= say otherwise
#   make fuzz      50,000 requests, possible and impossible, held against the API's description; CASES= and SEED=
#   make bench     how fast it is, a short form of every bench; BENCHES= names some
#   make install   the virtual environment alone
#   make lock      compile requirements/*.in anew
#   make clean     forget what make made; the data folder stays

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP    := $(BIN)/python -m pip --disable-pip-version-check
TORCH  := $(shell grep '^torch' requirements/torch.in)

# cpu or gpu. A plain torch for Linux carries gigabytes of CUDA, so a machine without an NVIDIA GPU asks for the CPU build.
TORCH_BUILD ?= $(shell { [ "$$(uname)" != Linux ] || command -v nvidia-smi || [ -e /proc/driver/nvidia/version ]; } >/dev/null && echo gpu || echo cpu)

.PHONY: install up test test-all lint chaos fuzz bench lock clean
.DEFAULT_GOAL := up
.DELETE_ON_ERROR:

install: $(STAMPS)/project

up: install
	@$(BIN)/darkroom up

# Files go to processes whole, so that what they share is made once; two, since many tests wait and few compute.
TEST_PROCESSES ?= 2

PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

test: lint
	$(PYTEST) -m "not slow"

test-all: lint
	$(PYTEST)

lint: $(STAMPS)/dev
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir .cache/import-linter
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

JOBS ?= 500
RUNS ?= 1

chaos: $(STAMPS)/dev
	$(BIN)/python -m tests.chaos --jobs $(JOBS) --runs $(RUNS) $(if $(SEED),--seed $(SEED))

CASES ?= 50000

fuzz: $(STAMPS)/dev
	$(BIN)/python -m tests.fuzz --cases $(CASES) $(if $(SEED),--seed $(SEED))

BENCHES ?= unet_step inside_step image exactness overhead service quotes growth swaps

bench: $(STAMPS)/dev
	@set -e; for name in $(BENCHES); do $(BIN)/python -m bench.$$name --short; done

# Every stamp is touched last, so a step that failed is done again.

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Darkroom needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@mkdir -p $(@D) && touch $@

$(STAMPS)/runtime: requirements/runtime.lock $(STAMPS)/venv
	@echo "Installing the runtime (a minute or two, once)"
	@$(PIP) install --quiet --no-deps --require-hashes -r $<
	@touch $@

$(STAMPS)/torch: requirements/torch.in $(STAMPS)/runtime
	@echo "Installing $(TORCH), $(TORCH_BUILD) build"
ifeq ($(TORCH_BUILD),gpu)
	@$(PIP) install --quiet $(TORCH)
else
	@$(PIP) install --quiet --no-deps $(TORCH)+cpu 2>/dev/null || { \
	  $(PIP) install --quiet --require-hashes -r requirements/uv.lock && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend=cpu --no-deps $(TORCH); }
endif
	@touch $@

# Editable: the checkout is what runs. The build backend is the locked one.
$(STAMPS)/project: pyproject.toml requirements/api.in requirements/worker.in $(STAMPS)/torch
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/dev: requirements/dev.lock $(STAMPS)/project
	@echo "Installing what the tests need"
	@$(PIP) install --quiet --no-deps --require-hashes -r $<
	@touch $@

# One lock serves every platform and every Python from 3.11 on. No index is written into it: it holds wherever the hashes do.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-package torch --override requirements/without-torch.txt

lock: $(STAMPS)/venv
	$(PIP) install --quiet --require-hashes -r requirements/uv.lock
	$(COMPILE) $(UPGRADE) requirements/api.in -o requirements/api.lock
	$(COMPILE) $(UPGRADE) requirements/api.in requirements/worker.in -c requirements/api.lock -o requirements/runtime.lock
	$(COMPILE) $(UPGRADE) requirements/dev.in -c requirements/runtime.lock -o requirements/dev.lock
	$(COMPILE) $(UPGRADE) requirements/uv.in -o requirements/uv.lock

clean:
	rm -rf $(VENV) .cache build dist *.egg-info
