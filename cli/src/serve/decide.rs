//! What a server does after the process of a job has ended: a pure decision from what is known.
//!
//! ```text
//!   finished, stopped as asked, failed ──▶ rest       its upgrade failed before it came up ──▶ back to the old text
//!   died, or stopped by somebody else  ──▶ again, after a pause that doubles from death to death
//! ```

use std::time::Duration;

use super::problem::{Place, Problem};
use super::store::{End, JobSpec, Wanted};

/// The longest pause before a process that died is started again.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Deaths in a row after which somebody has to look.
const DEATHS_MAX: u32 = 10;
/// Between two looks whether an earlier process is gone.
pub(crate) const LOOK_AT_LOCK: Duration = Duration::from_millis(100);

/// What is done after a process has ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// It rests, and this is what is wanted of it from now on.
    Rest(Wanted, Option<Problem>),
    /// It is started again after a pause.
    Again(Duration),
    /// Its upgrade failed.
    GoBack(Problem),
}

/// What is known when a process has ended.
pub(crate) struct Ended<'a> {
    pub(crate) end: Option<End>,
    pub(crate) spec: &'a JobSpec,
    /// Somebody has asked for it, or the server ends.
    pub(crate) asked: bool,
    pub(crate) deaths: u32,
    pub(crate) came_up: bool,
    pub(crate) taken: bool,
}

/// Decides, from what is known.
pub(crate) fn decide(ended: &Ended<'_>) -> Next {
    let wanted = ended.spec.wanted;
    let upgrading = ended
        .spec
        .edit
        .as_ref()
        .is_some_and(|edit| edit.old.is_some());
    match &ended.end {
        Some(End::Finished) => Next::Rest(Wanted::Finished, None),
        // Somebody has stopped the process behind the server's back: that is not what is wanted of the job.
        Some(End::Stopped) if wanted == Wanted::Running && !ended.asked => {
            Next::Again(Duration::from_secs(1))
        }
        Some(End::Stopped) => Next::Rest(wanted, ended.spec.failure.clone()),
        // Another process was quicker: it is waited for.
        Some(End::Failed { .. }) if ended.taken => Next::Again(LOOK_AT_LOCK),
        Some(End::Failed { problem }) if upgrading && !ended.came_up => {
            Next::GoBack(problem.clone())
        }
        Some(End::Failed { problem }) => Next::Rest(Wanted::Failed, Some(problem.clone())),
        None if ended.asked || wanted != Wanted::Running => {
            Next::Rest(wanted, ended.spec.failure.clone())
        }
        None if ended.deaths < DEATHS_MAX => Next::Again(pause_after(ended.deaths)),
        None => {
            let problem = Problem::new(
                "J0096",
                Place::named("job", ended.spec.name.clone()),
                format!(
                    "its process died {} times in a row without a word",
                    ended.deaths
                ),
                "look whether the machine's memory is enough ('state.memory'), and start the job again: POST /v1/jobs/{id}/start",
            );
            match upgrading && !ended.came_up {
                true => Next::GoBack(problem),
                false => Next::Rest(Wanted::Failed, Some(problem)),
            }
        }
    }
}

/// 1 s, 2 s, 4 s, …
fn pause_after(deaths: u32) -> Duration {
    PAUSE_MAX.min(Duration::from_secs(1 << deaths.saturating_sub(1).min(10)))
}

#[cfg(test)]
mod tests {
    use super::super::store::{Edit, Text};
    use super::*;

    fn spec(wanted: Wanted, upgrading: bool) -> JobSpec {
        let text = Text {
            sql: String::new(),
            settings: Default::default(),
            variables: Default::default(),
        };
        let mut spec = JobSpec::new("j", text.clone(), "/".into(), 0);
        spec.wanted = wanted;
        spec.edit = upgrading.then(|| Edit {
            savepoint: "/saved".into(),
            flags: Default::default(),
            old: Some(text),
        });
        spec
    }

    fn after(end: Option<End>, spec: &JobSpec, asked: bool, deaths: u32, came_up: bool) -> Next {
        decide(&Ended {
            end,
            spec,
            asked,
            deaths,
            came_up,
            taken: false,
        })
    }

    fn failed() -> (End, Problem) {
        let problem = Problem::said("j", "no");
        let end = End::Failed {
            problem: problem.clone(),
        };
        (end, problem)
    }

    #[test]
    fn a_process_that_died_is_started_again_and_one_that_failed_is_not() {
        let running = spec(Wanted::Running, false);
        assert_eq!(
            after(None, &running, false, 3, false),
            Next::Again(Duration::from_secs(4))
        );
        let (end, problem) = failed();
        assert_eq!(
            after(Some(end), &running, false, 0, false),
            Next::Rest(Wanted::Failed, Some(problem))
        );
        assert!(matches!(
            after(None, &running, false, DEATHS_MAX, false),
            Next::Rest(Wanted::Failed, Some(_))
        ));
        assert_eq!(pause_after(40), PAUSE_MAX);
    }

    #[test]
    fn a_stop_that_was_asked_for_is_rest_and_one_that_was_not_is_undone() {
        let running = spec(Wanted::Running, false);
        assert_eq!(
            after(Some(End::Stopped), &running, true, 0, false),
            Next::Rest(Wanted::Running, None),
            "the server ends: the job is wanted all the same"
        );
        assert!(matches!(
            after(Some(End::Stopped), &running, false, 0, false),
            Next::Again(_)
        ));
        let stopped = spec(Wanted::Stopped, false);
        assert_eq!(
            after(None, &stopped, true, 1, false),
            Next::Rest(Wanted::Stopped, None)
        );
        assert_eq!(
            after(Some(End::Finished), &running, false, 0, false),
            Next::Rest(Wanted::Finished, None)
        );
    }

    #[test]
    fn an_upgrade_goes_back_only_until_it_has_come_up() {
        let upgrading = spec(Wanted::Running, true);
        let (end, problem) = failed();
        assert_eq!(
            after(Some(end.clone()), &upgrading, false, 0, false),
            Next::GoBack(problem.clone())
        );
        assert_eq!(
            after(Some(end), &upgrading, false, 0, true),
            Next::Rest(Wanted::Failed, Some(problem))
        );
    }
}
