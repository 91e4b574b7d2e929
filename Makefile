# Every target makes a fresh clone ready first. Long proofs: `make bars`; what CI runs: `make test`.
PY := .venv/bin/python
export PYTHONUNBUFFERED := 1

.PHONY: help setup up test check bars bench clean

help:
	@echo 'make up [ARGS="--demo --port 8321 --data DIR"]   start jobtide on this machine'
	@echo 'make test     all checks and tests (what CI runs)'
	@echo 'make check    lint, types and layers only'
	@echo 'make bars     the long proofs, as a table'
	@echo 'make bench    speed, as a table; kept in tests/bench/latest.json'
	@echo 'make clean    remove what was installed into this folder'

setup:
	@.ci/setup

up: setup
	@.venv/bin/jobtide up $(ARGS)

check: setup
	.venv/bin/ruff check .
	.venv/bin/mypy -p jobtide.streams -p jobtide.sinks -p jobtide.query -p jobtide.gateway -p jobtide.cli -p jobtide_emitter
	.venv/bin/lint-imports --no-cache

test: check
	$(PY) -m pytest $(PYTEST_ARGS)

bars: setup
	$(PY) -m tests.proof.bars --full

bench: setup
	$(PY) -m tests.bench.run

clean:
	rm -rf .venv .cache
