//! The flags by which an edited query may change a job's state: those of `weir run`, `weir upgrade` and `weir diff`.

use std::collections::BTreeMap;

use clap::Args;
use weir_engine::{Accept, EvolutionOptions, ReplayWatch};
use weir_planner::compare::{Replay, StartAt};
use weir_types::{EventTime, OperatorId};

use crate::arguments::key_and_value;

/// What an edited query may do.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EvolutionFlags {
    /// Goes on with an edited query where every result stays exact.
    #[arg(long, help_heading = "An edited query")]
    pub(crate) upgrade: bool,
    /// Accepts operators and sinks whose results do not stay exact, or `all` of them.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "An edited query"
    )]
    pub(crate) accept: Vec<String>,
    /// Leaves state behind that the new query has no operator for.
    #[arg(long, help_heading = "An edited query")]
    pub(crate) allow_dropped_state: bool,
    /// Lets operators start empty whose state cannot be used.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "An edited query"
    )]
    pub(crate) start_empty: Vec<String>,
    /// A view or table of the old query that the new one calls otherwise.
    #[arg(
        long,
        value_name = "OLD=NEW",
        value_parser = key_and_value,
        help_heading = "An edited query"
    )]
    pub(crate) rename: Vec<(String, String)>,
    /// Computes these operators from their sources again, or `all` that need it.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "An edited query"
    )]
    pub(crate) replay: Vec<String>,
    /// Where a source goes on, whatever becomes of the state above it: keep, earliest, latest, or a time.
    #[arg(
        long,
        value_name = "TABLE=WHERE",
        value_delimiter = ',',
        value_parser = table_and_start,
        help_heading = "An edited query"
    )]
    pub(crate) sources: Vec<(String, StartAt)>,
}

impl EvolutionFlags {
    /// As the engine wants them.
    pub(crate) fn options(&self) -> EvolutionOptions {
        let ids = |texts: &[String]| texts.iter().map(OperatorId::new).collect();
        EvolutionOptions {
            upgrade: self.upgrade,
            accept: if self.accept.is_empty() {
                Accept::Nothing
            } else if self.accept.iter().any(|id| id == "all") {
                Accept::All
            } else {
                Accept::Only(ids(&self.accept))
            },
            allow_dropped_state: self.allow_dropped_state,
            start_empty: ids(&self.start_empty),
            renames: self.rename.iter().cloned().collect(),
            replay: replay(&self.replay),
            sources: self.sources.iter().cloned().collect(),
            watch: ReplayWatch::default(),
        }
    }
}

impl EvolutionFlags {
    /// As a request to a server carries them.
    pub(crate) fn as_json(&self) -> serde_json::Value {
        let start = |start: &StartAt| match start {
            StartAt::Keep => "keep".to_owned(),
            StartAt::Earliest => "earliest".to_owned(),
            StartAt::Latest => "latest".to_owned(),
            StartAt::Time(time) => time.to_string(),
        };
        let sources = self
            .sources
            .iter()
            .map(|(table, at)| (table.clone(), start(at)));
        serde_json::json!({
            "accept": self.accept,
            "allow_dropped_state": self.allow_dropped_state,
            "start_empty": self.start_empty,
            "rename": self.rename.iter().cloned().collect::<BTreeMap<String, String>>(),
            "replay": self.replay,
            "sources": sources.collect::<BTreeMap<String, String>>(),
        })
    }
}

/// `--replay`.
pub(crate) fn replay(wanted: &[String]) -> Replay {
    if wanted.is_empty() {
        Replay::None
    } else if wanted.iter().any(|id| id == "all") {
        Replay::All
    } else {
        Replay::Only(wanted.iter().map(OperatorId::new).collect())
    }
}

/// `orders=earliest`, `orders=2026-03-01 12:00:00`.
pub(crate) fn table_and_start(text: &str) -> Result<(String, StartAt), String> {
    let how = "write it as TABLE=keep, TABLE=earliest, TABLE=latest or TABLE='2026-03-01 12:00:00'";
    let (table, start) = text.split_once('=').ok_or_else(|| how.to_owned())?;
    let start = match start.trim() {
        "keep" => StartAt::Keep,
        "earliest" => StartAt::Earliest,
        "latest" => StartAt::Latest,
        time => StartAt::Time(EventTime(
            crate::text::parse_time(time).ok_or_else(|| how.to_owned())?,
        )),
    };
    match table.trim() {
        "" => Err(how.to_owned()),
        table => Ok((table.to_owned(), start)),
    }
}
