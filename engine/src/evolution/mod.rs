//! Carrying out an edit.

mod again;
mod before;
mod replay;

pub use again::{Again, SourceToRead};
pub(crate) use again::{SourceAgain, SplitAgain};
pub use before::Before;
pub use replay::{ReplayOrder, Replayed, replay, sources_to_replay};
