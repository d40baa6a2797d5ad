# Two commands for a newcomer: `make demo` and `make test`. The work is done by `cargo xtask` (xtask/src); what a
# fresh machine lacks, scripts/with-toolchain sees to.

XTASK := ./scripts/with-toolchain cargo xtask

.PHONY: help demo test bench bench-nexmark bench-compare bench-instructions bench-machine bench-scale bench-checkpoint bench-latency bench-upgrade build nexmark simulate evolve

help:
	@echo 'make demo    build Weir, run queries/flights.sql on the bundled data, show the result'
	@echo 'make test    the whole check: format, lints, tests, docs, crate edges, licences'
	@echo 'make nexmark the Nexmark queries over a million events, against a batch engine'
	@echo 'make simulate  10,000 seeds of faults and crashes on one thread'
	@echo 'make evolve    5,000 generated edits of running queries against a batch engine, and all cases of the model'
	@echo 'make bench-checkpoint  what checkpoints of 1 GB of state cost, and restarts'
	@echo 'make bench-upgrade     an aggregate rebuilt from a million groups, against reading a million rows; how long an upgrade of 1 GB stands still'
	@echo 'make bench-latency  event to result at 10, 50 and 80 % of the highest rate; start-up; the size of the binary'
	@echo 'make bench-nexmark     every Nexmark query from a file and from the generator; EVENTS=, QUERIES=q0,q4, ARGS='
	@echo 'make bench-compare     Nexmark beside Flink, DuckDB and DataFusion over one file; EVENTS=, QUERIES=q0,q4, ARGS='
	@echo 'make bench-instructions  instructions that a row costs, against the committed figures'
	@echo 'make bench-scale       CPU per event from 1 to 50 million events; the rate with ten times the state that memory holds'
	@echo 'make bench-machine     what this machine can do at best: newline scan and memory copy'
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

# make EVENTS=200000 QUERIES=q0,q4 ARGS='--rounds 3' bench-compare
BENCH_ARGS = $(if $(EVENTS),--events $(EVENTS)) $(if $(QUERIES),--queries $(QUERIES)) $(ARGS)

bench-nexmark:
	@weir=$$($(XTASK) build) && python3 benches/nexmark/nexmark.py --weir "$$weir" $(BENCH_ARGS)

bench-compare:
	@weir=$$($(XTASK) build) && python3 benches/nexmark/compare.py --weir "$$weir" $(BENCH_ARGS)

bench-instructions:
	@weir=$$($(XTASK) build) && python3 benches/instructions.py --weir "$$weir" $(ARGS)

bench-scale:
	@weir=$$($(XTASK) build) && python3 benches/scale.py --weir "$$weir" $(ARGS)

bench-machine:
	@$(XTASK) bench machine

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
