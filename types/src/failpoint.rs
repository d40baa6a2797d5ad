//! Failure points by name: where a test may make the process die, fail or stall.
//!
//! `WEIR_FAILPOINT=name` kills the process at the point of that name (as SIGKILL would: no destructor runs,
//! nothing is flushed); `name:3` at its third passing; `name:3:error` returns an error there instead.
//! Without the variable a point costs one load of a flag.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a failure point does when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Error,
}

struct Armed {
    name: String,
    /// Passings still to go before it strikes; 1 strikes now.
    countdown: AtomicU64,
    action: Action,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| {
            let text = std::env::var("WEIR_FAILPOINT")
                .ok()
                .filter(|text| !text.is_empty())?;
            let mut parts = text.split(':');
            let name = parts.next()?.to_owned();
            let passing = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
            let action = if parts.next() == Some("error") {
                Action::Error
            } else {
                Action::Kill
            };
            Some(Armed {
                name,
                countdown: AtomicU64::new(passing),
                action,
            })
        })
        .as_ref()
}

/// Passes the failure point `name`: kills the process or returns an error if the environment says so.
///
/// # Errors
/// An I/O error that names the point, when it was armed with `error`.
pub fn pass(name: &'static str) -> std::io::Result<()> {
    let Some(armed) = armed() else { return Ok(()) };
    if armed.name != name || armed.countdown.fetch_sub(1, Ordering::SeqCst) != 1 {
        return Ok(());
    }
    match armed.action {
        Action::Error => Err(std::io::Error::other(format!("failure point {name}"))),
        Action::Kill => {
            // `abort` runs no destructor and flushes nothing: to the disk it looks like SIGKILL.
            eprintln!("failure point {name}: abort");
            std::process::abort()
        }
    }
}
