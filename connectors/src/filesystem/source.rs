//! The bounded source: the files of one listing, fixed at the first start.
//!
//! The listing is one split, or one for each file (`'split' = 'file'`). It is taken when the splits are first asked for,
//! and from then on it is part of every position.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use weir_types::SplitId;

use super::dealer::{ListingDealer, ListingPosition};
use super::listing::{ListedFile, PathPattern, changed_at};
use super::{COMPRESSION, SPLIT};
use crate::error::{Error, Result};
use crate::format::{Settings, TextDecoder};
use crate::options::Options;
use crate::source::{Beginning, Dealer, Decoder, Position, Source, SplitListing};
use crate::table::TableRequest;

/// The split of a listing that is read in one.
const WHOLE: &str = "listing";

/// Reads the files of a listing.
pub(crate) struct ListingSource {
    request: TableRequest,
    pattern: PathPattern,
    /// Of this start; positions bring their own.
    listing: OnceLock<Vec<ListedFile>>,
}

impl ListingSource {
    pub(crate) fn open(request: TableRequest) -> Result<Self> {
        let pattern = PathPattern::of(&request)?;
        Ok(Self {
            request,
            pattern,
            listing: OnceLock::new(),
        })
    }

    fn by_file(&self) -> bool {
        Options(&self.request.options).word(&SPLIT) == "file"
    }

    fn listing(&self) -> Result<&[ListedFile]> {
        if let Some(listing) = self.listing.get() {
            return Ok(listing);
        }
        let listing = self.pattern.list(&self.request)?;
        Ok(self.listing.get_or_init(|| listing))
    }
}

impl Source for ListingSource {
    fn splits(&self, restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        if restored.is_empty() {
            let listing = self.listing()?;
            let splits = if self.by_file() {
                listing
                    .iter()
                    .map(|file| SplitId(file.name.clone()))
                    .collect()
            } else {
                vec![SplitId(WHOLE.to_owned())]
            };
            return Ok(SplitListing {
                splits,
                warnings: Vec::new(),
            });
        }
        let mut recorded = Vec::new();
        for (split, position) in restored {
            recorded.extend(ListingPosition::read(split, position)?.files);
        }
        recorded.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        recorded.dedup_by(|a, b| a.name == b.name);
        let warnings = self.pattern.compare(&recorded)?;
        Ok(SplitListing {
            splits: restored.keys().cloned().collect(),
            warnings,
        })
    }

    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        let position = match position {
            Some(position) => ListingPosition::read(split, position)?,
            None => {
                let mut files = self.listing()?.to_vec();
                if split.0 != WHOLE || self.by_file() {
                    files.retain(|file| file.name == split.0);
                }
                if files.is_empty() {
                    return Err(Error::Inconsistent(format!(
                        "there is no file {split} in the listing"
                    )));
                }
                ListingPosition::start(files)
            }
        };
        let compression = Options(&self.request.options).word(&COMPRESSION).to_owned();
        let dealer = ListingDealer::open(
            self.request.table.clone(),
            self.pattern.clone(),
            Settings::of(&self.request),
            compression,
            position,
        )?;
        Ok(Box::new(dealer))
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(TextDecoder::new(&self.request)))
    }

    fn bounded(&self) -> bool {
        true
    }

    fn beginning(&self, split: &SplitId, position: &Position) -> Result<Beginning> {
        let position = ListingPosition::read(split, position)?;
        // The listing is that of the first start, and its files have to be what they were.
        self.pattern.compare(&position.files)?;
        Ok(Beginning::At(ListingPosition::start(position.files).into()))
    }

    fn end_of(&self, split: &SplitId) -> Result<Option<Position>> {
        let mut files = self.listing()?.to_vec();
        if self.by_file() {
            files.retain(|file| file.name == split.0);
        }
        Ok(Some(ListingPosition::end(files).into()))
    }

    /// From the first file on that was changed at that time or later.
    fn written_since(&self, split: &SplitId, time: i64) -> Result<Option<Position>> {
        let mut files = self.listing()?.to_vec();
        if self.by_file() {
            files.retain(|file| file.name == split.0);
        }
        for (place, file) in files.iter().enumerate() {
            if changed_at(&self.pattern.path(&file.name))? >= time {
                return Ok(Some(ListingPosition::at_file(files, place).into()));
            }
        }
        Ok(Some(ListingPosition::end(files).into()))
    }
}
