# One word for each habit. Every target sets up what is missing first (tools/bootstrap.sh) and nothing twice.
BIN := .venv/bin
NEWEST := .venv-newest/bin

.PHONY: help bootstrap bootstrap-newest demo test test-fast test-newest check bench interop clean
help:
	@echo "make demo    the whole chain on the simulated arm: record, train, evaluate, serve, deploy, report"
	@echo "make test    the tests: on all cores what needs no real time, then the rest (ARGS='tests/core -x' narrows them, JOBS=1)"
	@echo "make test-fast    for daily work, 2 minutes and a bit: without what is slow or needs real time"
	@echo "make test-newest  the tests on the newest versions, without robosuite: .venv-newest (in CI, those of tests/newest.txt)"
	@echo "make check   formats, lints and type-checks (in CI, formatting is only checked)"
	@echo "make bench   the benchmarks' quick forms"
	@echo "make interop other people's readers and clients against ours, each in an environment of its own (gigabytes, in /tmp/interop)"
	@echo "make bootstrap    only sets up .venv and what it needs; the targets above do so first"
	@echo "make clean   removes what was built, except .venv, .venv-newest and outputs/"

bootstrap:
	@tools/bootstrap.sh

bootstrap-newest:
	@tools/bootstrap.sh newest

demo: bootstrap
	@$(BIN)/robolearn demo $(ARGS)

test: bootstrap
	@tools/test.sh $(BIN)/python all $(ARGS)

test-fast: bootstrap
	@tools/test.sh $(BIN)/python fast $(ARGS)

test-newest: bootstrap-newest
	@tools/test.sh $(NEWEST)/python all $(if $(CI),$(shell grep '^tests/' tests/newest.txt)) $(ARGS)

check: bootstrap
	@$(BIN)/ruff format $(if $(CI),--check)
	@$(BIN)/ruff check
	@$(BIN)/mypy

bench: bootstrap
	@$(BIN)/python benchmarks/run.py --quick $(ARGS)

interop: bootstrap
	@$(BIN)/python benchmarks/interop/check_readers.py $(ARGS)
	@$(BIN)/python benchmarks/interop/check_openpi.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +
