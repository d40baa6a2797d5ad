# Two commands for a newcomer: `make demo` and `make test`. The work is done by `cargo xtask` (xtask/src); what a
# fresh machine lacks, scripts/with-toolchain sees to.

XTASK := ./scripts/with-toolchain cargo xtask

.PHONY: help demo test bench build nexmark

help:
	@echo 'make demo    build Weir, run queries/flights.sql on the bundled data, show the result'
	@echo 'make test    the whole check: format, lints, tests, docs, crate edges, licences'
	@echo 'make nexmark the Nexmark queries over a million events, against a batch engine'
	@echo 'make bench   rows per second and peak memory of the standard queries'
	@echo 'make build   the release binary alone'

demo:
	@$(XTASK) demo

test:
	@$(XTASK) check

nexmark:
	@WEIR_NEXMARK_EVENTS=1000000 $(XTASK) suites nexmark

bench:
	@$(XTASK) bench

build:
	@$(XTASK) build
