//! Standard input as a source: unbounded until it ends, and then at its end.
//!
//! It cannot be read again: a crash loses what was not checkpointed, and the job says so at its start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

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
        Ok(SplitListing {
            splits: vec![SplitId(SPLIT.to_owned())],
            warnings: Vec::new(),
        })
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
            || Ok(std::io::stdin()),
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
