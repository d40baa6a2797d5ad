//! The clock of a job: the one seam through which time enters the runtime.
//!
//! *Wall* time becomes the processing time of an epoch; *elapsed* time paces epochs and checkpoints. In a simulation both
//! stand still until the scheduler moves them, so that one seed replays one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Where time comes from.
#[derive(Debug)]
pub(crate) enum Clock {
    /// The machine's clocks; the instant is the job's start.
    System(Instant),
    /// Microseconds since the start, moved by the simulation alone.
    Virtual(AtomicI64),
    /// Wall time stands still at this many microseconds since the Unix epoch; the machine's clock paces. For tests.
    Fixed(Instant, i64),
}

/// Where virtual time starts: 2024-01-01T00:00:00Z, in microseconds.
const VIRTUAL_START_MICROS: i64 = 1_704_067_200_000_000;

impl Clock {
    /// The machine's time.
    pub(crate) fn system() -> Arc<Self> {
        Arc::new(Self::System(Instant::now()))
    }

    /// Time that only [`Clock::advance`] moves.
    pub(crate) fn simulated() -> Arc<Self> {
        Arc::new(Self::Virtual(AtomicI64::new(0)))
    }

    /// Wall time that stands still.
    pub(crate) fn fixed(wall_micros: i64) -> Arc<Self> {
        Arc::new(Self::Fixed(Instant::now(), wall_micros))
    }

    /// Microseconds since the Unix epoch. May go back with the machine's clock: whoever needs more keeps a maximum.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub(crate) fn wall_micros(&self) -> i64 {
        match self {
            Self::System(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_micros() as i64),
            Self::Virtual(micros) => VIRTUAL_START_MICROS + micros.load(Ordering::SeqCst),
            Self::Fixed(_, wall_micros) => *wall_micros,
        }
    }

    /// Time since the job's start; never goes back.
    pub(crate) fn elapsed(&self) -> Duration {
        match self {
            Self::System(start) | Self::Fixed(start, _) => start.elapsed(),
            Self::Virtual(micros) => Duration::from_micros(micros.load(Ordering::SeqCst) as u64),
        }
    }

    /// Moves virtual time; the machine's goes by itself.
    pub(crate) fn advance(&self, by: Duration) {
        if let Self::Virtual(micros) = self {
            micros.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
        }
    }
}
