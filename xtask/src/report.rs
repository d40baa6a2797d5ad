//! What passed and what failed, for the summary at the end.

use std::process::ExitCode;
use std::time::Instant;

/// Counts checks as they end and prints one line for each.
pub(crate) struct Report {
    started: Instant,
    passed: u64,
    failed: u64,
    /// First line of each failure, repeated at the end: the log above is long.
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            passed: 0,
            failed: 0,
            failures: Vec::new(),
        }
    }

    /// Announces what runs now.
    pub(crate) fn heading(&self, text: &str) {
        println!("\n== {text} ({} s)", self.started.elapsed().as_secs());
    }

    /// One check: passed, or failed with a reason.
    pub(crate) fn check(&mut self, name: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => {
                println!("check {name} ... ok");
                self.passed += 1;
            }
            Err(error) => {
                println!("check {name} ... FAILED\n{error:#}");
                self.fail(format!("{name}: {}", first_line(&format!("{error:#}"))));
            }
        }
    }

    /// What a test binary counted.
    pub(crate) fn add(&mut self, name: &str, passed: u64, failed: &[String]) {
        self.passed += passed;
        for test in failed {
            self.fail(format!("{name}: {test}"));
        }
    }

    fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    /// Prints the summary and turns it into the exit code.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n== summary ({} s)", self.started.elapsed().as_secs());
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
