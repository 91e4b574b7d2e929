# Every target makes a fresh clone ready first. Long proofs: `make bars`; what CI runs: `make test`.
PY := .venv/bin/python
export PYTHONUNBUFFERED := 1

.PHONY: help setup setup-test up test test-ruby test-node check bars bench clean

help:
	@echo 'make up [ARGS="--demo --port 8321 --data DIR"]   start jobtide on this machine'
	@echo 'make test     all checks and tests (what CI runs)'
	@echo 'make test-ruby, make test-node   the tests of one emitter'
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
	.venv/bin/mypy -p jobtide.streams -p jobtide.sinks -p jobtide.access -p jobtide.query -p jobtide.gateway -p jobtide.cli -p jobtide_emitter
	.venv/bin/lint-imports --no-cache

setup-test: setup
	@.ci/setup-test

test: check test-ruby  # the Node package's own tests run in tests/e2e, where their servers are
	JOBTIDE_PURE=1 $(PY) -m pytest -q tests/properties  # the hot path as plain Python; everything else runs it compiled
	$(PY) -m pytest $(PYTEST_ARGS)

test-ruby: setup-test
	cd emitters/ruby && rake test

test-node: setup-test
	cd emitters/node && npm test --silent

bars: setup-test
	$(PY) -m tests.proof.bars --full

bench: setup
	$(PY) -m tests.bench.run

clean:
	rm -rf .venv .cache emitters/node/node_modules emitters/node/dist
