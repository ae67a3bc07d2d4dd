# Every target sets up what it needs: `make run` and `make test` work on a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ADDRESS ?= 127.0.0.1:8080
LISTEN_9P ?= tcp://127.0.0.1:5640
PYTEST_FLAGS ?= --numprocesses auto

.PHONY: run test check format bench pictures soak kernels fuzz clean setup

run: $(READY)  ## Serve the database, the bridge, the engine and the dashboard on this repository
	@exec $(BIN)/datakit-ci serve self_ci/pipeline.py --web-ui http://$(ADDRESS) --listen-9p $(LISTEN_9P)

test: $(READY)  ## Run the tests
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

check: $(READY)  ## Lint, types, import contracts, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

format: $(READY)  ## Let ruff lay out the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## Measure, as ratios against peers
	$(BIN)/python -m bench

pictures: $(READY)  ## Take the pictures of README and docs/dashboard.md anew; look at them
	$(BIN)/python -m scripts.pictures

FUZZ_SECONDS ?= 60
fuzz: $(READY)  ## Look for inputs that break codec, session or nodes; .fuzz keeps what is found
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	mkdir -p .fuzz
	$(BIN)/python -m tests.fuzz.session .fuzz tests/fuzz/corpus -max_total_time=$(FUZZ_SECONDS)

setup: $(READY)  ## Create the environment only

SOAK_REQUESTS ?= 1000000
SOAK_CUTS ?= 30
soak: $(READY)  ## Kill the server under clients, repeat every request, try a million edits of inputs, cut networks (hours)
	DATAKIT_CRASHES=50 $(BIN)/python -m pytest -q tests/integration/test_crash.py
	DATAKIT_REQUESTS=$(SOAK_REQUESTS) $(BIN)/python -m pytest -q tests/integration/hostile/test_loops.py
	DATAKIT_EDITS=1000000 $(BIN)/python -m pytest -q --timeout 0 $(PYTEST_FLAGS) tests/property/test_reuse_laws.py
	DATAKIT_CUTS=$(SOAK_CUTS) DATAKIT_PATIENCE=60 $(BIN)/python -m pytest -q -s tests/soak/network.py

kernels: $(READY)  ## Mount with an ordinary Linux kernel in QEMU (minutes); make test has User Mode Linux
	DATAKIT_GUEST=qemu $(BIN)/python -m pytest $(PYTEST_FLAGS) tests/integration/kernel

clean:  ## Remove everything that make and the tools made, but not the database in .datakit
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml scripts/check-system
	@scripts/check-system "$(PYTHON)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "Installing into $(VENV) (the first time takes a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
