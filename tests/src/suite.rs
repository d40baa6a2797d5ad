//! How many cases a suite draws: by seconds, by number, by seed.
//!
//! `WEIR_SUITE_SECONDS` stops drawing, but not before `WEIR_SUITE_FLOOR` cases; `WEIR_CASES` draws exactly that many; `WEIR_SEED` is
//! the seed of the first case, so `WEIR_SEED=… WEIR_CASES=1` replays one. At its end a suite prints the line that `xtask` reads.

use std::time::Instant;

/// A running suite.
pub struct Suite {
    name: &'static str,
    started: Instant,
    seconds: f64,
    floor: u64,
    exactly: Option<u64>,
    first_seed: u64,
    drawn: u64,
    kills: Option<u64>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl Suite {
    /// A suite with the seconds and the floor that hold where the environment says nothing.
    pub fn begin(name: &'static str, seconds: u64, floor: u64) -> Self {
        Self::with_share(name, 1.0, seconds, floor)
    }

    /// One of several tests of a suite, which has this share of the suite's seconds (and of its floor).
    pub fn with_share(name: &'static str, share: f64, seconds: u64, floor: u64) -> Self {
        Self {
            name,
            started: Instant::now(),
            seconds: number("WEIR_SUITE_SECONDS").unwrap_or(seconds) as f64 * share,
            floor: (number("WEIR_SUITE_FLOOR").unwrap_or(floor) as f64 * share).ceil() as u64,
            exactly: number("WEIR_CASES"),
            first_seed: number("WEIR_SEED").unwrap_or(1),
            drawn: 0,
            kills: None,
        }
    }

    /// The seed of the next case, or `None` when it is enough.
    pub fn next_seed(&mut self) -> Option<u64> {
        let more = match self.exactly {
            Some(cases) => self.drawn < cases,
            None => self.drawn < self.floor || self.started.elapsed().as_secs_f64() < self.seconds,
        };
        if !more {
            return None;
        }
        let seed = self
            .first_seed
            .wrapping_add(self.drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        self.drawn += 1;
        Some(seed)
    }

    /// Counts a case that was not drawn by [`Self::next_seed`].
    pub fn count(&mut self) {
        self.drawn += 1;
    }

    /// Counts a process that a case killed while it ran.
    pub fn note_kill(&mut self) {
        *self.kills.get_or_insert(0) += 1;
    }

    /// Processes that were killed while they ran.
    pub fn kills(&self) -> u64 {
        self.kills.unwrap_or(0)
    }

    /// Cases that have to be reached: the floor, or the number that was asked for.
    pub fn floor(&self) -> u64 {
        self.exactly.unwrap_or(self.floor)
    }

    /// The environment that replays the case of this seed.
    pub fn replay(&self, seed: u64) -> String {
        format!(
            "replay: WEIR_SEED={seed} WEIR_CASES=1 cargo xtask suites {}",
            self.name
        )
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let killed = self.kills.map(|kills| format!(" killed={kills}"));
        println!(
            "suite {}: cases={} seconds={seconds:.1}{}",
            self.name,
            self.drawn,
            killed.unwrap_or_default()
        );
    }
}
