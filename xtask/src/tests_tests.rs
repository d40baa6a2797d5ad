//! How the output of a test binary is read.

use super::*;

fn counted(output: &str) -> Counted {
    let mut counted = Counted::default();
    output.lines().for_each(|line| counted.read(line));
    counted
}

#[test]
fn passed_and_failed_tests_are_counted_by_name() {
    let counted = counted(
        "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\n---- a::c stdout ----\n\
         test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
    );
    assert_eq!(counted.passed, 2);
    assert_eq!(counted.failed, ["a::c"]);
    assert!(counted.ended);
}

#[test]
fn cases_of_several_lines_are_added_up() {
    let counted =
        counted("suite crash: cases=12 seconds=3.5\ntest x ... suite crash: cases=8 seconds=1");
    assert_eq!(counted.cases, Some(20));
}

#[test]
fn the_seconds_of_all_suites_fit_the_budget() {
    let seconds: u64 = SUITES.iter().map(|suite| suite.seconds).sum();
    assert!(seconds <= 30 * 60, "{seconds} s of suites");
}
