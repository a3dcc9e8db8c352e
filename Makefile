# Each goal sets up what it needs. PYTHON may name another interpreter (3.11 or newer).
PYTHON ?= python3
SEEDS ?= 1
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo run test test-browser check format bench chaos obedience contact clean

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/orchestrator demo

run: $(READY)
	$(BIN)/orchestrator serve

test: $(READY)
	$(BIN)/python -m pytest

# CHROMIUM may name a browser; without one, Debian's is installed where that is possible.
test-browser: $(READY)
	tests/browser/chromium.sh
	$(BIN)/python -m pytest -m browser tests/browser

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/service/Dockerfile docker/backend/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	$(BIN)/python -m pytest

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	@$(BIN)/python -m benchmarks.overhead
	@$(BIN)/python -m benchmarks.peer
	@$(BIN)/python -m benchmarks.utilisation
	@$(BIN)/python -m benchmarks.routing
	@$(BIN)/python -m benchmarks.deep_queue
	@$(BIN)/python -m benchmarks.listeners
	@$(BIN)/python -m benchmarks.node_time
	@$(BIN)/python -m benchmarks.models
	@$(BIN)/python -m benchmarks.paint

chaos: $(READY)
	$(BIN)/python -m tests.chaos.run --seeds $(SEEDS)

obedience: $(READY)
	$(BIN)/python -m benchmarks.obedience

contact: $(READY)
	$(BIN)/python -m benchmarks.contact

clean:
	rm -rf .venv demo build *.egg-info
