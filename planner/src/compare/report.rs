//! What `compare` answers: for each operator, sink and source what becomes of it. JSON form: `docs/formats/report.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weir_types::{EventTime, OperatorId, Span};

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Every stateful operator of the new plan, inputs before consumers, then those that only the old plan has.
    pub operators: Vec<OperatorReport>,
    /// Every INSERT and printed SELECT of the new plan, then those that only the old plan has.
    pub sinks: Vec<SinkReport>,
    /// Every source of either plan.
    pub sources: Vec<SourceReport>,
    /// Why the edit is refused whatever is accepted, with its code: what the engine that would carry it out says. It is nothing
    /// where plans alone are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What becomes of one operator's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorReport {
    /// Its ID in the new plan (in the old one if it is dropped).
    pub id: OperatorId,
    /// Its ID in the old plan, if it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<OperatorId>,
    /// The end of its ID: `aggregate`, `join(b)`.
    pub role: String,
    /// What happens.
    pub verdict: Verdict,
    /// What can be said of its results from then on.
    pub exact: Exactness,
    /// The operators through which an inexactness came, if it is not its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited_from: Vec<OperatorId>,
    /// Where its state comes from.
    pub state: StateFrom,
    /// What was found, as a sentence's end: "a filter below it changed".
    pub reason: String,
    /// What the user will see in the output.
    pub effect: String,
    /// What to do about it; empty if there is nothing to do.
    pub advice: String,
    /// The place in the new SQL (in the old one if it is dropped).
    pub span: Span,
    /// For a join: what becomes of each side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputReport>,
    /// What becomes of each state column, unless all of them go on as they are: those of the new plan, then those that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnReport>,
    /// Sources below it that go on elsewhere than where they were, although its state stays: rows are counted twice or never.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<OperatorId>,
    /// How much has to be read for its state, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
}

/// What has to be read before the first new row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Entries of state.
    Entries(u64),
    /// Records of sources.
    Records(u64),
}

/// What becomes of one side of a join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputReport {
    /// `left` or `right`.
    pub side: String,
    /// What happens to it.
    pub verdict: Verdict,
}

/// What becomes of one state column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// The state table.
    pub table: String,
    /// The column of its key or its value.
    pub column: String,
    /// What happens to it; *migrated*: it is stored in a wider type, or by another key.
    pub verdict: Verdict,
}

/// The verdicts of EVOLUTION 4, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing that it stores or computes changed.
    Unchanged,
    /// Its state fits after a step that loses nothing.
    Migrated,
    /// Computed afresh from state.
    Rebuilt,
    /// Computed afresh from the source.
    Replayed,
    /// Kept, though what it counts has changed.
    CarriedOver,
    /// Kept; a part of it starts empty.
    Partial,
    /// There was none of that name.
    New,
    /// It is not in the new plan.
    Dropped,
    /// It cannot be kept.
    Incompatible,
}

impl Verdict {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Migrated => "migrated",
            Self::Rebuilt => "rebuilt",
            Self::Replayed => "replayed",
            Self::CarriedOver => "carried over",
            Self::Partial => "partial",
            Self::New => "new",
            Self::Dropped => "dropped",
            Self::Incompatible => "incompatible",
        }
    }
}

/// How far a result is the answer of the new query over all input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// It is.
    #[default]
    Yes,
    /// It is not, and will not be.
    No,
    /// For windows that start at that time or later; [`Exactness::UNKNOWN`] if the greatest time that was read is not known.
    From(EventTime),
    /// For windows that end after that time.
    Open(EventTime),
    /// In these columns (canonical names).
    Columns(BTreeSet<String>),
}

impl Exactness {
    /// A time that only the job's state tells.
    pub const UNKNOWN: EventTime = EventTime(i64::MAX);
}

/// Where an operator's state comes from when the new plan starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateFrom {
    /// As it is.
    Kept,
    /// Its tables, column by column: those that are gone are left out, new ones are empty or NULL.
    Mapped,
    /// Groups that differ only in dropped keys are merged.
    Merged,
    /// Rows that a tightened condition takes away are removed.
    Filtered,
    /// From the restored output of its inputs.
    Inputs,
    /// For a join: each side by itself, from its own rows or from the restored output of its input.
    Sides(Vec<SideFrom>),
    /// From the source, read again.
    Replay,
    /// It starts empty.
    Nothing,
}

/// Where one side of a join comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SideFrom {
    /// The rows that it holds.
    Own,
    /// The restored output of its input.
    Input,
}

/// What a sink will see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkReport {
    /// The ID of the INSERT or SELECT.
    pub id: OperatorId,
    /// What happens.
    pub verdict: SinkVerdict,
    /// Whether its content is the new query's answer.
    pub exact: bool,
    /// Whether it holds rows that no later edit can compare with an answer: those of an earlier query, or of a source that was
    /// read twice or with a gap.
    #[serde(default)]
    pub old_rows: bool,
    /// Why.
    pub reason: String,
    /// The place in the SQL.
    pub span: Span,
}

/// What happens at a sink when the new plan starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkVerdict {
    /// Nothing.
    Unchanged,
    /// It gets the difference between the old and the new result.
    Difference,
    /// What was written under the old query stays.
    OldRowsStay,
    /// It is not written any more.
    Dropped,
}

impl SinkVerdict {
    /// The words for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Difference => "difference",
            Self::OldRowsStay => "old rows stay",
            Self::Dropped => "dropped",
        }
    }
}

/// Where a source goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its ID.
    pub id: OperatorId,
    /// What happens.
    pub verdict: SourceVerdict,
    /// Why.
    pub reason: String,
    /// Records that it had read, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Whether its rows can be read again, from where the job began.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub again: bool,
}

fn yes() -> bool {
    true
}

/// Where a source goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceVerdict {
    /// Where it was.
    Kept,
    /// At its beginning: there is no position of it.
    New,
    /// It is not read any more.
    Dropped,
    /// At its beginning once more: rows that were read come again.
    Earliest,
    /// At its end: what came since the job stood still is left out.
    Latest,
    /// At a time.
    At,
}

impl SourceVerdict {
    /// The words for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::New => "new",
            Self::Dropped => "dropped",
            Self::Earliest => "read from its beginning again",
            Self::Latest => "read from its end on",
            Self::At => "read from a time on",
        }
    }
}

/// What is known of the job at the point that the new plan starts from: from its manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// What earlier edits left inexact, by operator.
    pub marks: BTreeMap<OperatorId, Exactness>,
    /// Sinks where old rows stayed.
    pub sinks_with_old_rows: BTreeSet<OperatorId>,
    /// Columns that the table of a sink had before, and has no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns_gone: BTreeMap<OperatorId, BTreeSet<String>>,
    /// The watermark of each operator and source.
    pub watermarks: BTreeMap<OperatorId, EventTime>,
    /// The greatest event time that each source has read, before any filter.
    pub greatest_times: BTreeMap<OperatorId, EventTime>,
    /// Entries in the state of each operator, where they were counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<OperatorId, u64>,
    /// Records that each source has read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<OperatorId, u64>,
}

/// What the user chose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    /// `--replay`.
    pub replay: Replay,
    /// `--rename old=new`: paths.
    pub renames: BTreeMap<String, String>,
    /// `--sources T=…`: tables of the new query.
    pub sources: BTreeMap<String, StartAt>,
}

/// Where a source goes on, whatever becomes of the state above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// Where it was.
    #[default]
    Keep,
    /// At its beginning.
    Earliest,
    /// Behind all that is there now.
    Latest,
    /// At the first record of this time or later.
    Time(EventTime),
}

/// Which operators are computed afresh from the source.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Replay {
    /// None.
    #[default]
    None,
    /// All that need it.
    All,
    /// These.
    Only(BTreeSet<OperatorId>),
}

impl Report {
    /// Whether every result stays the answer of the new query, and nothing is left behind.
    pub fn is_exact(&self) -> bool {
        self.operators
            .iter()
            .all(|operator| operator.exact == Exactness::Yes)
            && self.sinks.iter().all(|sink| sink.exact)
    }

    /// Whether nothing changes at all.
    pub fn is_unchanged(&self) -> bool {
        self.operators
            .iter()
            .all(|operator| operator.verdict == Verdict::Unchanged)
            && self
                .sinks
                .iter()
                .all(|sink| sink.verdict == SinkVerdict::Unchanged)
            && self
                .sources
                .iter()
                .all(|source| source.verdict == SourceVerdict::Kept)
    }
}
