//! Carrying out an edit.

mod again;
mod before;
mod options;
mod replay;
mod trial;

pub use again::{Again, SourceToRead};
pub(crate) use again::{SourceAgain, SplitAgain};
pub use before::Before;
pub use options::{Accept, EvolutionOptions};
pub use trial::{copy_for_trial, on_trial};
pub use replay::{ReplayOrder, Replayed, replay, sources_to_replay};
