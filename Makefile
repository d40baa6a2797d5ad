# Two commands for a newcomer: `make demo` and `make test`. The work is done by `cargo xtask` (xtask/src); what a
# fresh machine lacks, scripts/with-toolchain sees to.

XTASK := ./scripts/with-toolchain cargo xtask

.PHONY: help demo test bench bench-checkpoint bench-latency bench-upgrade build nexmark simulate evolve

help:
	@echo 'make demo    build Weir, run queries/flights.sql on the bundled data, show the result'
	@echo 'make test    the whole check: format, lints, tests, docs, crate edges, licences'
	@echo 'make nexmark the Nexmark queries over a million events, against a batch engine'
	@echo 'make simulate  10,000 seeds of faults and crashes on one thread'
	@echo 'make evolve    5,000 generated edits of running queries against a batch engine, and all cases of the model'
	@echo 'make bench-checkpoint  what checkpoints of 1 GB of state cost, and restarts'
	@echo 'make bench-upgrade     an aggregate rebuilt from a million groups, against reading a million rows'
	@echo 'make bench-latency  event to result at 10, 50 and 80 % of the highest rate; start-up; the size of the binary'
	@echo 'make bench   rows per second and peak memory of the standard queries'
	@echo 'make build   the release binary alone'

demo:
	@$(XTASK) demo

test:
	@$(XTASK) check

nexmark:
	@WEIR_NEXMARK_EVENTS=1000000 $(XTASK) suites nexmark

simulate:
	@WEIR_SIMULATION_SEEDS=10000 $(XTASK) suites simulation

evolve:
	@WEIR_CASES=5000 $(XTASK) suites evolution

bench:
	@$(XTASK) bench

bench-latency:
	@$(XTASK) bench latency

bench-upgrade:
	@$(XTASK) bench upgrade

bench-checkpoint:
	@$(XTASK) bench checkpoint

build:
	@$(XTASK) build
