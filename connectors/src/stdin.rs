//! Standard input as a source: unbounded until it ends, and then at its end.
//!
//! It cannot be read again: a crash loses what was not checkpointed, and the job says so at its start.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_types::SplitId;

use crate::error::Result;
use crate::format::{Settings, TextDecoder};
use crate::live::{LiveDealer, taken};
use crate::registry::{ConnectorInfo, TEXT_METADATA};
use crate::source::{Dealer, Decoder, Position, Source, SplitListing};
use crate::table::TableRequest;

/// The connector's description.
pub(crate) const INFO: ConnectorInfo = ConnectorInfo {
    name: "stdin",
    help: "standard input: `… | weir query …`",
    source: true,
    sink: false,
    formatted: true,
    options: &[],
    metadata: TEXT_METADATA,
    guarantee: "It cannot be read again: a crash loses what was read since the last checkpoint, and a restarted job goes on \
                with what its own standard input gives.",
};

const SPLIT: &str = "stdin";

/// Reads standard input.
pub(crate) struct StdinSource {
    request: TableRequest,
    taken: AtomicBool,
}

impl StdinSource {
    pub(crate) fn open(request: TableRequest) -> Result<Self> {
        Ok(Self {
            request,
            taken: AtomicBool::new(false),
        })
    }
}

impl Source for StdinSource {
    fn splits(&self, _restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        Ok(SplitListing::one(SPLIT))
    }

    fn dealer(&self, _split: &SplitId, _position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        if self.taken.swap(true, Ordering::SeqCst) {
            return Err(taken("standard input"));
        }
        let settings = Settings::of(&self.request);
        Ok(Box::new(LiveDealer::start(
            &self.request.table,
            SPLIT,
            &settings,
            || Ok(rest()),
        )?))
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(TextDecoder::new(&self.request)))
    }

    fn bounded(&self) -> bool {
        false
    }

    fn replayable(&self) -> bool {
        false
    }
}

// ------------------------------------------------------------------ a look ahead

/// What was read ahead of the source: it begins with that.
static AHEAD: Mutex<Option<Ahead>> = Mutex::new(None);

/// Standard input, of which something was read already.
struct Ahead {
    read: VecDeque<u8>,
    blocks: Receiver<std::io::Result<Vec<u8>>>,
}

/// Looks at the beginning of standard input without taking it from the source that will read it: waits until a first line
/// is there, then as long as `patience` for up to `most` bytes. The answer says whether that is all of it.
///
/// # Errors
/// Standard input cannot be read.
pub fn sample_stdin(most: usize, patience: Duration) -> std::io::Result<(Vec<u8>, bool)> {
    let (sender, blocks) = sync_channel(16);
    // A thread that is blocked in a read of stdin cannot be woken; it ends with the process.
    std::thread::Builder::new()
        .name("read stdin".to_owned())
        .spawn(move || {
            let mut stdin = std::io::stdin();
            loop {
                let mut block = vec![0; 1 << 16];
                let read = match stdin.read(&mut block) {
                    Ok(0) => return,
                    Ok(read) => read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => return drop(sender.send(Err(error))),
                };
                block.truncate(read);
                if sender.send(Ok(block)).is_err() {
                    return;
                }
            }
        })?;
    let (mut sample, mut whole) = (Vec::new(), false);
    while sample.len() < most {
        // Nothing can be said before there is a line.
        let next = if memchr::memchr(b'\n', &sample).is_none() {
            blocks.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            blocks.recv_timeout(patience)
        };
        match next {
            Ok(block) => sample.extend(block?),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => {
                whole = true;
                break;
            }
        }
    }
    *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ahead {
        read: sample.iter().copied().collect(),
        blocks,
    });
    Ok((sample, whole))
}

/// Standard input from its beginning, whether somebody has looked at it or not.
fn rest() -> Box<dyn Read> {
    match AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(ahead) => Box::new(ahead),
        None => Box::new(std::io::stdin()),
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.read.is_empty() {
            match self.blocks.recv() {
                Ok(block) => self.read.extend(block?),
                Err(_) => return Ok(0),
            }
        }
        self.read.read(buffer)
    }
}
