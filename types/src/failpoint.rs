//! Failure points by name: where a test may make the process die, fail or stand still.
//!
//! `WEIR_FAILPOINT=name` kills the process at the point of that name (as SIGKILL would: no destructor runs, nothing is
//! flushed); `name:3` at its third passing; `name:3:error` returns an error there instead. `name:3:hold` holds the thread
//! there until another point strikes, so that a test can arrange a meeting: `state.spill.at-gate,state.write.before:1:hold`
//! lets a snapshot's writer wait for a spill that finds the gate closed; `name:3:go` strikes and does nothing else. Points are separated by commas. Without the
//! variable a point costs one load of a flag.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

/// What a failure point does when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Error,
    /// Holds the thread until a point of another action strikes.
    Hold,
    /// Nothing, but that whoever is held goes on.
    Go,
}

#[derive(Debug)]
struct Point {
    name: String,
    /// Passings still to go before it strikes; 1 strikes now.
    countdown: AtomicU64,
    action: Action,
}

impl Point {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let passing = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
        let action = match parts.next() {
            Some("error") => Action::Error,
            Some("hold") => Action::Hold,
            Some("go") => Action::Go,
            _ => Action::Kill,
        };
        Some(Self {
            name,
            countdown: AtomicU64::new(passing),
            action,
        })
    }
}

#[derive(Debug, Default)]
struct Armed {
    points: Vec<Point>,
    /// Whether one has struck that is no hold.
    struck: Mutex<bool>,
    changed: Condvar,
}

impl Armed {
    fn parse(text: &str) -> Option<Self> {
        let points: Vec<Point> = text.split(',').filter_map(Point::parse).collect();
        (!points.is_empty()).then(|| Self {
            points,
            ..Self::default()
        })
    }

    /// What is to be done at this passing of `name`.
    fn strikes(&self, name: &str) -> Option<Action> {
        let mut named = self.points.iter().filter(|point| point.name == name);
        let point = named.find(|point| point.countdown.fetch_sub(1, Ordering::SeqCst) == 1)?;
        if point.action != Action::Hold {
            *self.struck.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.changed.notify_all();
        }
        Some(point.action)
    }

    fn hold(&self) {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        while !*struck {
            let waited = self.changed.wait(struck);
            struck = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a thread does at its failure points instead of what the environment says: for simulations, where a whole job runs on
/// one thread.
type Plan = Box<dyn FnMut(&'static str) -> Strike>;

/// What a planned failure point does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// Nothing.
    Pass,
    /// Returns an error.
    Error,
    /// Unwinds the thread with a [`SimulatedCrash`]: nothing of the job runs after it but destructors.
    Crash,
}

/// The payload with which a thread is unwound where its process would have died. Whoever catches panics passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedCrash(pub &'static str);

thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
}

/// Runs `run` with failure points of this thread planned. Plans do not nest: the inner one holds, then none.
pub fn with_plan<T>(
    plan: impl FnMut(&'static str) -> Strike + 'static,
    run: impl FnOnce() -> T,
) -> T {
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            PLAN.with(|planned| *planned.borrow_mut() = None);
        }
    }
    PLAN.with(|planned| *planned.borrow_mut() = Some(Box::new(plan)));
    let _ends = Ends;
    run()
}

/// What this thread's plan says, if it has one.
fn planned(name: &'static str) -> Option<Strike> {
    PLAN.with(|plan| plan.borrow_mut().as_mut().map(|plan| plan(name)))
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| Armed::parse(&std::env::var("WEIR_FAILPOINT").ok()?))
        .as_ref()
}

/// Passes the failure point `name`: kills the process, returns an error or holds the thread if the environment says so.
///
/// # Errors
/// An I/O error that names the point, when it was armed with `error`.
pub fn pass(name: &'static str) -> std::io::Result<()> {
    match planned(name) {
        Some(Strike::Error) => {
            return Err(std::io::Error::other(format!("failure point {name}")));
        }
        // No message is printed: it is no panic.
        Some(Strike::Crash) => std::panic::resume_unwind(Box::new(SimulatedCrash(name))),
        Some(Strike::Pass) | None => {}
    }
    let Some(armed) = armed() else { return Ok(()) };
    match armed.strikes(name) {
        None | Some(Action::Go) => Ok(()),
        Some(Action::Error) => Err(std::io::Error::other(format!("failure point {name}"))),
        Some(Action::Hold) => {
            armed.hold();
            Ok(())
        }
        Some(Action::Kill) => {
            // `abort` runs no destructor and flushes nothing: to the disk it looks like SIGKILL.
            eprintln!("failure point {name}: abort");
            std::process::abort()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_strikes_once_at_its_passing() {
        let armed = Armed::parse("a:2:error,b").unwrap();
        let passings = ["a", "c", "a", "a", "b", "b"].map(|name| armed.strikes(name));
        let (error, kill) = (Some(Action::Error), Some(Action::Kill));
        assert_eq!(passings, [None, None, error, None, kill, None]);
        assert!(Armed::parse("").is_none());
    }

    #[test]
    fn a_planned_crash_unwinds_with_its_name_and_the_plan_ends_with_it() {
        let run = || {
            with_plan(
                |name| match name {
                    "a" => Strike::Error,
                    "b" => Strike::Crash,
                    _ => Strike::Pass,
                },
                || {
                    assert!(pass("c").is_ok());
                    assert!(pass("a").is_err());
                    drop(pass("b"));
                },
            )
        };
        let payload = std::panic::catch_unwind(run).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&SimulatedCrash("b")));
        assert!(pass("a").is_ok());
    }

    #[test]
    fn a_held_thread_goes_on_when_another_point_strikes() {
        let armed = Armed::parse("a:1:hold,b:1:error").unwrap();
        std::thread::scope(|scope| {
            let held = scope.spawn(|| {
                assert_eq!(armed.strikes("a"), Some(Action::Hold));
                armed.hold();
                *armed.struck.lock().unwrap()
            });
            assert_eq!(armed.strikes("b"), Some(Action::Error));
            assert!(held.join().unwrap());
        });
    }
}
