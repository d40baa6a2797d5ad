//! Ctrl-C and SIGTERM: the first asks for a stop with a last checkpoint, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::STOPPED_AT_ONCE;

/// Whether a signal has come.
#[derive(Clone)]
pub(crate) struct StopRequest(Arc<AtomicBool>);

impl StopRequest {
    /// Takes over both signals for the rest of the process.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Handlers run in this order: the first signal finds the flag unset, passes the first handler and sets it;
            // the second one finds it set and ends the process without destructors, which may wait for workers.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                STOPPED_AT_ONCE,
                Arc::clone(&asked),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    /// True once somebody asked.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The end of standard input is a request too: so a process learns that the one that started it is gone.
    pub(crate) fn listen_to_input(&self) -> std::io::Result<()> {
        let asked = Arc::clone(&self.0);
        std::thread::Builder::new()
            .name("weir-input".to_owned())
            .spawn(move || {
                // Whatever comes means nothing; an error is an end as well.
                drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
                asked.store(true, Ordering::Relaxed);
            })
            .map(drop)
    }
}
