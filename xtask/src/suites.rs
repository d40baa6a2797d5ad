//! The table of end-to-end suites: how long each may run, and how many cases it has to reach in that time.
//!
//! ```text
//!   xtask ──▶ tests/it SUITE:: --nocapture      with WEIR_SUITE_SECONDS, WEIR_SUITE_FLOOR and WEIR_BIN set
//!         ◀── suite SUITE: cases=120 seconds=41.3      one line for each test that draws cases
//! ```
//!
//! A suite is a module of the one test binary of the crate `weir-tests` (`tests/it/main.rs`). It stops drawing
//! new cases when its seconds are used, but not before it has reached its floor; then it prints the line above on
//! standard output (several lines of one suite are added up). A suite that prints no line has its number of passed
//! tests as cases.
//!
//! # Invariants
//! 1. The sum of all seconds fits the budget of BUILD: half an hour of tests on two cores.
//! 2. A suite below its floor is a failure, also when each of its cases passed.

/// One suite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    /// The module's name in `tests/it`.
    pub(crate) name: &'static str,
    /// After this time no new case is drawn.
    pub(crate) seconds: u64,
    /// Fewer cases than this are a failure.
    pub(crate) floor: u64,
    /// What its cases are.
    pub(crate) about: &'static str,
}

/// Every suite, in the order in which they run: the quick ones first.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "slt",
        seconds: 120,
        floor: 5,
        about: "sqllogictest files: rows and changelogs of bounded jobs",
    },
    Suite {
        name: "late",
        seconds: 60,
        floor: 600,
        about: "late rows and results in a hundred different cuts",
    },
    Suite {
        name: "docs",
        seconds: 60,
        floor: 1,
        about: "the queries in queries/ and in the documentation",
    },
    Suite {
        name: "face",
        seconds: 90,
        floor: 4,
        about: "the REPL in a terminal of tmux: first five minutes, completion, live tables, resizing",
    },
    Suite {
        name: "flights",
        seconds: 60,
        floor: 4,
        about: "the demo over all flights against the oracle",
    },
    Suite {
        name: "oracle",
        seconds: 240,
        floor: 625,
        about: "generated queries and data against a batch engine",
    },
    Suite {
        name: "nexmark",
        seconds: 90,
        floor: 22,
        about: "the Nexmark queries over 100,000 events against a batch engine",
    },
    Suite {
        name: "savepoints",
        seconds: 90,
        floor: 20,
        about: "savepoints of running jobs, of Nexmark, and opened by DuckDB",
    },
    Suite {
        name: "server",
        seconds: 60,
        floor: 15,
        about: "a server with jobs: killed, asked without its token, with nonsense and with 100 MB; upgrades; telemetry",
    },
    Suite {
        name: "object_store",
        seconds: 120,
        floor: 4,
        about: "checkpoints and savepoints in an S3 server that fails, stalls and drops connections, with kills",
    },
    Suite {
        name: "evolution",
        seconds: 300,
        floor: 340,
        about: "edits of running queries: stories, matrix, model, generated sequences against a batch engine",
    },
    Suite {
        name: "rebuild",
        seconds: 120,
        floor: 6,
        about: "edits that are computed from state, killed at every step and at any moment",
    },
    Suite {
        name: "simulation",
        seconds: 60,
        floor: 320,
        about: "one thread, virtual time, seeded faults",
    },
    Suite {
        name: "checkpoints",
        seconds: 90,
        floor: 20,
        about: "every setting of checkpoints and restarts, storage that fails and stalls",
    },
    Suite {
        name: "failpoints",
        seconds: 120,
        floor: 6,
        about: "a kill at every named step from freeze to commit",
    },
    Suite {
        name: "crash",
        seconds: 120,
        floor: 20,
        about: "SIGKILL at random moments, then the same command again",
    },
];
