# What there is to do; `make demo` and `make test` set up all they need (see .ci/prepare).
# CONTRIBUTING.md says which tests are where.
VENV := .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 60
# The tests sync thousands of small files: in memory, where there is room for them.
ROOMY := $(shell [ -w /dev/shm ] && [ "$$(df -k --output=avail /dev/shm | tail -1)" -gt 4000000 ] && echo yes)
SCRATCH := $(if $(ROOMY),PYTEST_DEBUG_TEMPROOT=/dev/shm)

HANDOVERS ?= 25
export HANDOVERS

.PHONY: demo test test-slow test-lab soak-lab lab-all lint lab fuzz bench bench-lab bench-fleet fleet-lab pictures clean help

help:
	@echo "make demo      show the report of a recorded handover"
	@echo "make test      lint, types, layers and tests"
	@echo "make test-slow what that leaves out: twenty million events, a kill at every step"
	@echo "make lab       the QEMU lab (two kernels to build: 16 minutes each; two of Debian's)"
	@echo "make test-lab  real handovers in the lab"
	@echo "make soak-lab  HANDOVERS (25) of them in a row, in one guest"
	@echo "make lab-all   every kernel, carrier and way down: an hour or two, ends with a table"
	@echo "make fuzz      every parser for its share of FUZZ_SECONDS (60), the C code under sanitizers"
	@echo "make bench     speed beside trace-cmd, and of the interface; TRACEKIT_MILLION: large capture"
	@echo "make bench-lab what recording costs a handover, in the lab"
	@echo "make bench-fleet  how fast a fleet is added and asked, how often it accuses wrongly"
	@echo "make fleet-lab FLEET=DIR  thirty real handovers in the lab, as a fleet: half an hour"
	@echo "make pictures  draw the README's pictures again"

demo:
	@.ci/prepare run
	@$(BIN)/tracekit demo

lint:
	@.ci/prepare test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(SCRATCH) $(BIN)/pytest -n 3 --dist loadgroup -m "not slow and not lab and not soak and not matrix"
	@echo "left out: slow tests (make test-slow), and real handovers (make lab, then make test-lab)"

test-slow:
	@.ci/prepare test
	$(BIN)/pytest -n 2 --dist loadgroup -m slow --ignore tests/fuzz # those are make fuzz's

test-lab:
	@.ci/prepare test
	$(BIN)/pytest -n 2 --dist loadfile -m "lab and not matrix" tests/lab

soak-lab:
	@.ci/prepare test
	$(BIN)/pytest -m soak tests/lab -o faulthandler_timeout=0 # it takes longer than a test that hangs

lab-all:
	@.ci/prepare test
	$(BIN)/pytest -m matrix tests/lab -o faulthandler_timeout=0

lab:
	@.ci/prepare test
	@.ci/prepare lab
	$(BIN)/tracekit lab build --kernel 7.2 --kernel 7.3 \
		--kernel debian:trixie --kernel debian:trixie-backports

fuzz:
	@.ci/prepare fuzz
	$(BIN)/pytest -q -m slow tests/fuzz # that the fuzzers find what is planted
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS)

bench:
	@.ci/prepare test
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/interface.py

bench-lab:
	@.ci/prepare test
	$(BIN)/python benchmarks/handover_cost.py

bench-fleet:
	@.ci/prepare test
	$(BIN)/python benchmarks/fleet.py

FLEET ?= fleet-lab
fleet-lab:
	@.ci/prepare test
	$(BIN)/python benchmarks/fleet_lab.py $(FLEET) --handovers 30

pictures:
	@.ci/prepare run
	$(BIN)/python docs/pictures.py

clean:
	rm -rf $(VENV) build *.egg-info tracekit/_native/*.so
