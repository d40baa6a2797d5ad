//! The plan: what the planner gives and the engine runs.
//!
//! ```text
//!   StreamPlan ─ operators[]  in topological order; edges are `Input::from` (an index into the same list)
//!              ─ settings     SET 'key' = 'value', after validation
//!              ─ tables       the definitions that the operators refer to by name
//! ```
//!
//! It is ours alone: no type of DataFusion or sqlparser in it. It serializes (`docs/formats/plan.md`) and its
//! canonical texts and fingerprints are pinned by golden tests.
//!
//! # Invariants
//! 1. `operators[i].inputs[j].from < i`.
//! 2. Operator IDs are unique in a plan.
//! 3. Key columns, aggregate arguments and join keys are *columns of the input*: a `Project` below computes them.
//! 4. `Input::partitioning` says by which columns rows have to be routed; the engine leaves the exchange out
//!    where rows are there already.

mod expr;
mod state;
mod time;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::{Column, DataType, OperatorId, Scalar, Schema, SortColumn, Span};

use crate::over::OverCall;
pub use expr::{BinaryOp, Expr, ExprKind};
pub use state::{StateBound, StateLayout, StateTable, StateTtl, TtlTime};
pub use time::{JoinTiming, Window};

/// Version of the serialized plan. A reader refuses a greater one.
pub const PLAN_FORMAT_VERSION: u32 = 1;

/// A job: all statements of one text that write somewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// [`PLAN_FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// `SET 'job.name'`, if there was one.
    pub job_name: Option<String>,
    /// Every `SET 'key' = 'value'`, checked by the planner (known key, value of the right form).
    pub settings: BTreeMap<String, String>,
    /// The tables that operators read or write, by name.
    pub tables: BTreeMap<String, TableDefinition>,
    /// The operators, every input before its consumer.
    pub operators: Vec<Operator>,
    /// Paths by which parts of the query were called before: of each path the old one. Hints said so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state_from: BTreeMap<String, String>,
}

/// What `CREATE TABLE` said, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// The folded name.
    pub name: String,
    /// The columns as declared, computed and metadata columns among them.
    pub columns: Vec<TableColumn>,
    /// The event-time column (index into `columns`) and its watermark expression over the columns.
    pub watermark: Option<WatermarkDefinition>,
    /// Indices of the primary key's columns, in the order of the declaration.
    pub primary_key: Vec<usize>,
    /// Indices of `PARTITIONED BY` columns.
    pub partitioned_by: Vec<usize>,
    /// `WITH` options, keys lower case, values as written: `connector`, `format`, `path`, ….
    pub options: BTreeMap<String, String>,
    /// The place of each option in the SQL, for errors of connectors: key → span of `'key' = 'value'`.
    #[serde(default)]
    pub option_spans: BTreeMap<String, Span>,
    /// The statement.
    pub span: Span,
}

/// The connector of a materialized view's table: its rows are state of the job, and nothing else holds them.
pub const MATERIALIZED_VIEW: &str = "materialized-view";

impl TableDefinition {
    /// Whether it is what a CREATE MATERIALIZED VIEW keeps.
    pub fn is_materialized_view(&self) -> bool {
        let connector = self.options.get("connector");
        connector.is_some_and(|name| name == MATERIALIZED_VIEW)
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Name, type, nullability, spelling.
    #[serde(flatten)]
    pub column: Column,
    /// Where its value comes from.
    pub origin: ColumnOrigin,
}

/// Where a column's value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnOrigin {
    /// A field of the record.
    Physical,
    /// `METADATA [FROM 'key']`: `file`, `offset`, `line`, … given by the connector.
    Metadata(String),
    /// `AS expr` over the table's columns.
    Computed(Expr),
}

/// `WATERMARK FOR column AS expr`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatermarkDefinition {
    /// Index of the event-time column in the table's columns.
    pub column: usize,
    /// The expression over the table's columns; a timestamp.
    pub expr: Expr,
    /// Where it stands.
    pub span: Span,
}

/// One operator of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Stable name. Stateless operators have one too (`path/project`, `path/filter`, …), for errors and metrics.
    pub id: OperatorId,
    /// What it does.
    pub kind: OperatorKind,
    /// Where its rows come from.
    pub inputs: Vec<Input>,
    /// The columns that it gives.
    pub schema: Schema,
    /// Whether it gives retractions.
    pub changelog: Changelog,
    /// Columns that identify a row of its result, if known (indices into `schema`). `Some([])`: at most one row.
    pub unique_key: Option<Vec<usize>>,
    /// The event-time column, if rows still carry event time: a watermark on this edge speaks of it.
    pub event_time: Option<usize>,
    /// Further columns of which the same watermark speaks: an interval join keeps those of both sides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_event_times: Vec<usize>,
    /// Columns `window_start`, `window_end`, `window_time`, where they are known to be a window's (indices).
    pub window: Option<WindowColumns>,
    /// The state tables that it keeps; empty for a stateless operator.
    pub state: Vec<StateTable>,
    /// How long the state of a key is kept that gets no rows; `None`: as long as the table's bound says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<StateTtl>,
    /// Hash (hex) of its own logic; see `fingerprint.rs`.
    pub fingerprint: String,
    /// Hash (hex) of all logic upstream of it, its own not included.
    pub upstream_fingerprint: String,
    /// The place in the SQL that made it.
    pub span: Span,
}

/// The columns of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowColumns {
    /// Index of the column that holds the window's start.
    pub start: Option<usize>,
    /// Index of the column that holds the window's end.
    pub end: Option<usize>,
    /// Index of the column that holds the window's end less one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<usize>,
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Index of the operator that gives the rows.
    pub from: usize,
    /// How rows must be routed to the instances of this operator.
    pub partitioning: Partitioning,
}

/// How rows must be routed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    /// Stay on the worker.
    Forward,
    /// By the key group of these columns of the input; no columns means key group 0, one worker.
    Hash(Vec<usize>),
}

/// Whether a stream carries retractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changelog {
    /// Rows are only inserted.
    AppendOnly,
    /// Rows may be taken back.
    Retractions,
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorKind {
    /// Reads a table. Output: the columns of `columns` in that order.
    Source {
        /// Name in [`StreamPlan::tables`].
        table: String,
        /// The table's columns to give (indices into its columns, computed and metadata ones included), ascending.
        columns: Vec<usize>,
        /// A filter over *the table's columns* (column index = table column), evaluated after the watermark was
        /// taken from every record. `None`: all rows.
        filter: Option<Expr>,
    },
    /// Keeps rows for which the predicate (over the input's columns) is true.
    Filter {
        /// A BOOLEAN.
        predicate: Expr,
    },
    /// Computes columns from the input's columns.
    Project {
        /// One for each output column.
        exprs: Vec<Expr>,
    },
    /// All rows of all inputs; the inputs' columns have the same types.
    Union,
    /// Each row once for every element of an array or map. Output: the kept columns, then the element's (the fields of a
    /// row, a map's key and value, else the element itself), then its number.
    Unnest {
        /// The array or map of the input.
        column: usize,
        /// Columns of the input that are given beside the elements.
        keep: Vec<usize>,
        /// Rows without elements stay, with NULLs.
        outer: bool,
        /// The last column is the element's number, from 1.
        ordinality: bool,
    },
    /// INTERSECT or EXCEPT of two inputs of the same columns: counts the equal rows of each, NULLs equal, and emits at
    /// the barrier what changed for each row touched in the epoch.
    SetOperation {
        /// Which.
        operator: SetOperator,
        /// ALL: rows keep their multiplicity. Else each is there once.
        all: bool,
    },
    /// Gives each row once for every window that holds it, with `window_start`, `window_end`, `window_time`
    /// appended; windows already closed for the row (late) are left out and counted.
    WindowAssign {
        /// The windows.
        window: Window,
        /// The input's event-time column.
        time: usize,
    },
    /// Gives its rows as they are, and the processing time of each epoch as their watermark: from here on `time`, the
    /// processing time of the epoch in which a row came, is event time. The input's own watermark ends here.
    Clock {
        /// The input's column of processing time.
        time: usize,
    },
    /// The rows of each partition in the order of their arrival, numbered. Output: the columns of the input, then the number
    /// (BIGINT) if it is shown.
    Arrival {
        /// The partition's columns of the input.
        partition: Vec<usize>,
        /// Only the last row of each partition, so that earlier ones are taken back at the barrier. Else the first ones, within
        /// `bounds`, as they come.
        last: bool,
        /// Which numbers are given.
        bounds: RankBounds,
        /// Whether the number is a column of the output.
        shown: bool,
    },
    /// Rows as long as the processing time is at or behind all of `enters` and before all of `leaves`: as time goes on, rows
    /// come and are taken back. A row with a NULL among these never comes.
    TemporalFilter {
        /// Columns of the input, TIMESTAMP_LTZ(6).
        enters: Vec<usize>,
        /// Columns of the input, TIMESTAMP_LTZ(6).
        leaves: Vec<usize>,
    },
    /// Gives each row once its session is over, with `window_start`, `window_end`, `window_time` appended. A session is a
    /// run of rows of one partition in which no two neighbours are `gap` or more apart; it ends `gap` after its last row.
    /// Rows older than their own watermark (late) are left out and counted.
    Session {
        /// In microseconds.
        gap: i64,
        /// The input's event-time column.
        time: usize,
        /// The columns of PARTITION BY.
        keys: Vec<usize>,
    },
    /// GROUP BY over a window: emits the groups of a window when the watermark reaches its end.
    /// Output: group columns as `group_columns` orders them, then one column for each aggregate.
    WindowAggregate {
        /// The windows.
        window: Window,
        /// The input's event-time column.
        time: usize,
        /// The group's columns of the input, without the window's.
        keys: Vec<usize>,
        /// The output's leading columns.
        group_columns: Vec<GroupColumn>,
        /// The aggregates.
        aggregates: Vec<Aggregate>,
    },
    /// GROUP BY without window: emits at the barrier one change for each group touched in the epoch.
    /// Output: the key columns in the order of `keys`, then one column for each aggregate. Without keys it gives its
    /// one row even for empty input.
    Aggregate {
        /// The group's columns of the input.
        keys: Vec<usize>,
        /// The aggregates.
        aggregates: Vec<Aggregate>,
        /// Groups that are there even without rows: for each of `keys` NULL or a number. The groups of empty grouping
        /// sets.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        always: Vec<Vec<Option<i64>>>,
    },
    /// Gives each row once for every grouping set. Output: the input's columns, then `keys` (NULL where the set leaves them
    /// out), then for each key a BIGINT that is 1 where the set leaves it out, then, if `numbered`, how many equal sets
    /// stand before this one.
    Expand {
        /// Columns of the input.
        keys: Vec<usize>,
        /// For each set which of `keys` it has.
        sets: Vec<Vec<bool>>,
        /// Whether two sets are equal.
        numbered: bool,
    },
    /// Equi-join of two inputs. Output: the left columns, then the right ones; of semi and anti joins the left ones alone.
    Join {
        /// The kind of join.
        join: JoinKind,
        /// Key columns of the left input.
        left_keys: Vec<usize>,
        /// Key columns of the right input: as many, of the same types.
        right_keys: Vec<usize>,
        /// For each key whether two NULLs are equal (IS NOT DISTINCT FROM); empty: for none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        null_equal: Vec<bool>,
        /// What else must hold, over the left columns followed by the right ones.
        residual: Option<Expr>,
    },
    /// The rows of each partition in an order, numbered, as far as their numbers are within bounds. What changes is given
    /// at the barrier. Ties of the order are broken by all other columns of the input, ascending, NULLs last.
    /// Output: the columns of the input, then the number (BIGINT) if it is shown.
    Rank {
        /// The partition's columns of the input.
        partition: Vec<usize>,
        /// The order.
        order: Vec<SortColumn>,
        /// How rows are numbered.
        function: RankFunction,
        /// Which numbers are given.
        bounds: RankBounds,
        /// Whether the number is a column of the output.
        shown: bool,
    },
    /// A ranking of rows that are only inserted whose numbers are final: each row is given once. Like [`Self::Rank`] otherwise.
    FinalRank {
        /// The partition's columns of the input.
        partition: Vec<usize>,
        /// The order.
        order: Vec<SortColumn>,
        /// How rows are numbered.
        function: RankFunction,
        /// Which numbers are given.
        bounds: RankBounds,
        /// Whether the number is a column of the output.
        shown: bool,
        /// When rows are given.
        timing: RankTiming,
    },
    /// Each row with what its calls compute over the rows around it in its partition. Ties of the order are broken by all
    /// other columns of the input, ascending, NULLs last. Output: the columns of the input, then one for each call.
    Over {
        /// The partition's columns of the input.
        partition: Vec<usize>,
        /// The order.
        order: Vec<SortColumn>,
        /// The event-time column, first of the order: a row is given once, when the watermark has passed its time; rows older
        /// than their own watermark (late) are left out and counted. `None`: what changes is given at the barrier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<usize>,
        /// The calls.
        calls: Vec<OverCall>,
    },
    /// Join of two append-only inputs that time bounds, so that its result is append-only too and its state ends with
    /// the watermark. Output: the left columns, then the right ones; of semi and anti joins the left ones alone. A row that
    /// is given for want of a partner is given when the watermark says that none can come any more.
    TimedJoin {
        /// How time bounds it.
        timing: JoinTiming,
        /// The kind of join.
        join: JoinKind,
        /// Key columns of the left input.
        left_keys: Vec<usize>,
        /// Key columns of the right input: as many, of the same types.
        right_keys: Vec<usize>,
        /// What else must hold, over the left columns followed by the right ones.
        residual: Option<Expr>,
    },
    /// Each row of the left with the rows of the right that are there at its moment: when the right has ended (`complete`),
    /// else at the end of the row's epoch. A later change of the right takes nothing back. Output: the left columns, then the
    /// right ones.
    LookupJoin {
        /// Inner or left.
        join: JoinKind,
        /// Key columns of the left input.
        left_keys: Vec<usize>,
        /// Key columns of the right input: as many, of the same types.
        right_keys: Vec<usize>,
        /// For each key whether two NULLs are equal; empty: for none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        null_equal: Vec<bool>,
        /// What else must hold, over the left columns followed by the right ones.
        residual: Option<Expr>,
        /// The right ends, and left rows wait until it has.
        complete: bool,
    },
    /// Writes a table.
    Sink {
        /// Name in [`StreamPlan::tables`].
        table: String,
    },
    /// Hands rows to whoever started the job: a bare SELECT.
    Output {
        /// Header names, as the user spelled them.
        names: Vec<String>,
    },
}

/// How the rows of a partition are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankFunction {
    /// 1, 2, 3, ….
    RowNumber,
    /// Equal rows have the same number, that of the first of them.
    Rank,
    /// Equal rows have the same number, and no number is left out.
    DenseRank,
}

/// When the numbers of a ranking are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankTiming {
    /// The partition is one of a window: when the watermark reaches the window's end.
    Window {
        /// The input's column of the window's end, one of the partition's.
        end: usize,
    },
    /// The order begins with event time, ascending: when the watermark is beyond the row. Rows older than their own watermark
    /// (late) are left out and counted.
    Order {
        /// The input's event-time column, the first of the order.
        time: usize,
    },
}

/// Which rows a ranking gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankBounds {
    /// The first number that is given; at least 1.
    pub first: u64,
    /// The last one; `None`: all.
    pub last: Option<u64>,
    /// How many rows are left out at the beginning of each partition, whatever their numbers (OFFSET).
    pub skip: u64,
}

impl RankBounds {
    /// Every row.
    pub const ALL: Self = Self {
        first: 1,
        last: None,
        skip: 0,
    };
}

/// How two multisets of rows are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetOperator {
    /// Rows of both inputs; with ALL as often as in the input that has fewer of them.
    Intersect,
    /// Rows of the left input alone; with ALL as often as the left input has more of them.
    Except,
}

/// A group column of a windowed aggregate's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupColumn {
    /// The n-th of `keys`.
    Key(usize),
    /// The window's start.
    WindowStart,
    /// The window's end.
    WindowEnd,
    /// The window's end less one unit of the event-time column; it is event time downstream.
    WindowTime,
}

/// The kind of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKind {
    /// Pairs alone.
    Inner,
    /// Left rows without a partner too.
    Left,
    /// Right rows without a partner too.
    Right,
    /// Rows of both sides without a partner too.
    Full,
    /// Left rows that have a partner, once.
    Semi,
    /// Left rows that have no partner.
    Anti,
}

impl JoinKind {
    /// Whether every left row comes through; a condition on left columns alone can then not be judged below the join
    /// if it stands in ON.
    pub fn keeps_left(self) -> bool {
        matches!(self, Self::Left | Self::Full | Self::Anti)
    }

    /// Whether every right row comes through.
    pub fn keeps_right(self) -> bool {
        matches!(self, Self::Right | Self::Full)
    }

    /// Whether the output has the right columns.
    pub fn gives_right(self) -> bool {
        !matches!(self, Self::Semi | Self::Anti)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
            Self::Semi => "semi",
            Self::Anti => "anti",
        }
    }
}

/// One aggregate call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Canonical text, the name of its state columns: `sum(price)`, `count(*)`.
    pub name: String,
    /// The function's lower-case name: `count`, `sum`, `avg`, `min`, `max`, or any of the library's.
    pub function: String,
    /// Argument columns of the input; empty for `count(*)`.
    pub arguments: Vec<usize>,
    /// DISTINCT.
    pub distinct: bool,
    /// FILTER (WHERE …): a BOOLEAN column of the input.
    pub filter: Option<usize>,
    /// ORDER BY inside the call, by columns of the input. Ties are broken by the arguments, ascending, NULLs last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order_by: Vec<SortColumn>,
    /// Constants of the call: the fraction of a percentile, the delimiter of string_agg, the place of nth_value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Scalar>,
    /// Of a function of a program: what it keeps. `function` is its name with the version then: `geomean@1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<RegisteredAggregate>,
    /// The result's type.
    pub data_type: DataType,
    /// Where the call stands.
    pub span: Span,
}

/// What a plan says of an aggregate function of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredAggregate {
    /// The columns that it keeps of a group.
    pub state: Schema,
    /// Whether its code takes rows back.
    pub retracts: bool,
}

impl StreamPlan {
    /// The plan as JSON: `docs/formats/plan.md`.
    ///
    /// # Errors
    /// If an expression cannot be written.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The plan in a JSON text. One that somebody else has changed has to be looked at with [`StreamPlan::validate`].
    ///
    /// # Errors
    /// If it is no plan.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// Whether an operator's ID begins with this path.
    pub fn has_path(&self, path: &str) -> bool {
        self.operators.iter().any(|operator| {
            let rest = operator.id.as_str().strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
        })
    }

    /// The table that an operator of this plan writes, if it is a sink.
    pub fn table_of_sink(&self, operator: &Operator) -> Option<&TableDefinition> {
        match &operator.kind {
            OperatorKind::Sink { table } => self.tables.get(table),
            _ => None,
        }
    }

    /// The operator of that ID.
    pub fn operator(&self, id: &OperatorId) -> Option<&Operator> {
        self.operators.iter().find(|operator| &operator.id == id)
    }
}

impl Operator {
    /// How many columns at the end of each input are there for its TTL alone.
    pub fn hidden_columns(&self) -> usize {
        usize::from(
            self.ttl
                .is_some_and(|ttl| matches!(ttl.time, TtlTime::Event)),
        )
    }

    /// The columns of an input's schema that it works with: all but those that are there for its TTL.
    pub fn visible<'s>(&self, input: &'s [Column]) -> &'s [Column] {
        &input[..input.len().saturating_sub(self.hidden_columns())]
    }

    /// Whether it keeps state other than a source's position: such a named node is a wall.
    pub fn is_stateful(&self) -> bool {
        self.state
            .iter()
            .any(|table| table.layout != StateLayout::Position)
    }
}
