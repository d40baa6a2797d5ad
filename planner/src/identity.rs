//! The identity of a column, and the logic of a relation: what fingerprints and names of state columns are made of.
//!
//! ```text
//!   source column            price                     as declared; quoted outside [a-z0-9_]
//!   computed                 price * 2                 canonical text over identities: views and aliases leave no trace
//!   aggregate                sum(price)
//!   window                   window_start(TUMBLE(ts, 1 h))
//!   through a joined input   top/join(b):price         two occurrences of a table are never the same column
//!   union                    union(price, amount)      one name for each branch
//! ```
//!
//! Beside the identity there is its *typed* form, for fingerprints: leaves carry their type and external name, and a
//! join is called by its logic and not by its ID, so that a rename changes no fingerprint.
//!
//! # Invariants
//! 1. Both are computed from the plan's operators alone, bottom up, and never from a library's names.
//! 2. A text longer than [`IDENTITY_MAX`] bytes ends in a hash of the whole: names stay short, and a view that doubles
//!    its columns cannot make them explode.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_128;

use crate::canonical::{self, CallText};
use crate::logical::AggregateCall;
use crate::names::quoted;
use crate::plan::{
    ColumnOrigin, Expr, GroupColumn, JoinKind, OperatorKind, TableColumn, TableDefinition,
};

/// Longer identities are cut and end in a hash.
const IDENTITY_MAX: usize = 160;

/// A column's identity in both forms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// For names.
    pub(crate) name: String,
    /// For fingerprints.
    pub(crate) typed: String,
}

/// What is known of an operator's output beyond its schema.
#[derive(Clone, Debug)]
pub(crate) struct Logic {
    /// One for each output column.
    pub(crate) columns: Vec<Identity>,
    /// Conditions that every row fulfils, evaluated since the base.
    pub(crate) conjuncts: BTreeSet<String>,
    /// Hash of all logic below, without what only decides which rows are late.
    base: String,
    /// The same with watermark declarations.
    timed_base: String,
}

/// 128 bits of XXH3, as 32 hex digits.
pub(crate) fn hash(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// Cuts a text that is longer than [`IDENTITY_MAX`].
pub(crate) fn shortened(text: String) -> String {
    if text.len() <= IDENTITY_MAX {
        return text;
    }
    let cut = (0..=IDENTITY_MAX / 2)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    format!("{}…#{}", &text[..cut], &hash(&text)[..16])
}

impl Identity {
    pub(crate) fn new(name: String, typed: String) -> Self {
        Self {
            name: shortened(name),
            typed: shortened(typed),
        }
    }

    /// The identity of an expression over columns of known identities.
    pub(crate) fn of(expr: &Expr, columns: &[Self]) -> Self {
        match expr.as_column() {
            Some(column) => columns[column].clone(),
            None => Self::new(
                canonical::text(expr, &|column| operand(&columns[column].name)),
                canonical::text(expr, &|column| operand(&columns[column].typed)),
            ),
        }
    }

    /// Another identity, for an aggregate whose input has a column of its own: `count(*)` of rows that hold a `count(*)`.
    pub(crate) fn above_itself(&self) -> Self {
        Self::new(
            format!("{} of groups", self.name),
            format!("{} of groups", self.typed),
        )
    }

    /// The identity of an aggregate call.
    pub(crate) fn of_aggregate(
        call: &AggregateCall,
        arguments: &[Self],
        order: &[(Self, bool, bool)],
        filter: Option<&Self>,
    ) -> Self {
        let text = |form: fn(&Self) -> String| {
            let arguments: Vec<String> = arguments.iter().map(form).collect();
            let order: Vec<String> = order
                .iter()
                .map(|(by, descending, first)| {
                    canonical::order_item(&form(by), *descending, *first)
                })
                .collect();
            canonical::aggregate(&CallText {
                function: &call.function,
                arguments: &arguments,
                parameters: &call.parameters,
                distinct: call.distinct,
                order: &order,
                filter: filter.map(form).as_deref(),
            })
        };
        Self::new(
            text(|identity| identity.name.clone()),
            text(|identity| identity.typed.clone()),
        )
    }

    /// A column that several inputs hold together: `union(a, b)`.
    pub(crate) fn together(word: &str, parts: &[&Self]) -> Self {
        let of = |form: fn(&Self) -> &str| {
            let texts: Vec<&str> = parts.iter().map(|part| form(part)).collect();
            format!("{word}({})", texts.join(", "))
        };
        Self::new(
            of(|identity| &identity.name),
            of(|identity| &identity.typed),
        )
    }

    /// What an operator makes of it under that name.
    pub(crate) fn called(&self, function: &str) -> Self {
        Self::new(
            format!("{function}({})", self.name),
            format!("{function}({})", self.typed),
        )
    }

    /// A column that an operator with state gives. What was `now()` when its row came in is a value now, and not what `now()` is
    /// when the row comes out.
    pub(crate) fn held(self) -> Self {
        if self.typed.contains("now()") {
            self.called("held")
        } else {
            self
        }
    }

    /// A column that stands for nothing of the input.
    pub(crate) fn named(name: &str) -> Self {
        Self::new(name.to_owned(), name.to_owned())
    }

    /// The identity of a table's column; computed ones are traced to what they are computed of.
    pub(crate) fn of_table_column(table: &TableDefinition, index: usize) -> Self {
        let TableColumn { column, origin } = &table.columns[index];
        match origin {
            ColumnOrigin::Computed(expr) => {
                // A computed column refers to physical ones and computed ones before it: this ends.
                let columns: Vec<Self> = (0..table.columns.len())
                    .map(|other| {
                        if expr.columns().contains(&other) && other != index {
                            Self::of_table_column(table, other)
                        } else {
                            Self {
                                name: String::new(),
                                typed: String::new(),
                            }
                        }
                    })
                    .collect();
                Self::of(expr, &columns)
            }
            ColumnOrigin::Metadata(key) => {
                let name = quoted(&column.name);
                Self::new(name, format!("metadata({key}):{}", column.data_type))
            }
            ColumnOrigin::Physical => {
                let mut typed = format!("{}:{}", quoted(column.external()), column.data_type);
                // Records without names are read by position.
                if reads_by_position(table) {
                    let physical = |column: &&TableColumn| column.origin == ColumnOrigin::Physical;
                    let position = table.columns[..index].iter().filter(physical).count();
                    typed.push_str(&format!("#{position}"));
                }
                Self::new(quoted(&column.name), typed)
            }
        }
    }
}

/// An identity as an operand of a bigger text: with parentheses unless it is a name or a call.
fn operand(identity: &str) -> String {
    let is_call = identity.ends_with(')')
        && identity
            .split('(')
            .next()
            .is_some_and(|name| !name.contains(' '));
    if is_call || !identity.contains(' ') {
        identity.to_owned()
    } else {
        format!("({identity})")
    }
}

fn reads_by_position(table: &TableDefinition) -> bool {
    let is = |key: &str, value: &str| {
        table
            .options
            .get(key)
            .is_some_and(|given| given.eq_ignore_ascii_case(value))
    };
    is("format", "csv") && (is("csv.header", "false") || is("header", "false"))
}

/// Options that say how fast or how often something is read, and not what the rows are.
const OPTIONS_WITHOUT_VALUES: [&str; 8] = [
    "mode",
    "scan.interval",
    "source.idle-timeout",
    "watermark.max-drift",
    "split",
    "rate",
    "rows-per-second",
    "sink.publish.interval",
];

/// The options of a source that change which rows and values come out, as canonical text.
pub(crate) fn value_options(table: &TableDefinition) -> String {
    let counts = |key: &&String| !OPTIONS_WITHOUT_VALUES.contains(&key.as_str());
    let options = table.options.iter().filter(|(key, _)| counts(key));
    options
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join(",")
}

impl Logic {
    /// All logic up to here, conditions included; `timed`: with what decides which rows are late.
    pub(crate) fn relation(&self, timed: Timed) -> String {
        let base = match timed {
            Timed::No => &self.base,
            Timed::Yes => &self.timed_base,
        };
        let conjuncts: Vec<&str> = self.conjuncts.iter().map(String::as_str).collect();
        hash(&format!("{base} where {}", conjuncts.join(" and ")))
    }

    /// A table, read from the start.
    pub(crate) fn source(
        table: &TableDefinition,
        columns: &[usize],
        filter: Option<&Expr>,
    ) -> Self {
        let all: Vec<Identity> = (0..table.columns.len())
            .map(|i| Identity::of_table_column(table, i))
            .collect();
        let base = hash(&format!("source({})", value_options(table)));
        let watermark = table
            .watermark
            .as_ref()
            .map_or_else(String::new, |watermark| {
                format!(
                    "{} as {}",
                    all[watermark.column].typed,
                    Identity::of(&watermark.expr, &all).typed
                )
            });
        let timed_base = hash(&format!("{base} watermark {watermark}"));
        let mut logic = Self {
            columns: columns.iter().map(|&column| all[column].clone()).collect(),
            conjuncts: BTreeSet::new(),
            base,
            timed_base,
        };
        if let Some(filter) = filter {
            logic.add_conjuncts(filter, &all);
        }
        logic
    }

    fn add_conjuncts(&mut self, predicate: &Expr, columns: &[Identity]) {
        for conjunct in predicate.clone().conjuncts() {
            self.conjuncts
                .insert(Identity::of(&conjunct, columns).typed);
        }
    }

    /// After a filter.
    pub(crate) fn filtered(&self, predicate: &Expr) -> Self {
        let mut logic = self.clone();
        logic.add_conjuncts(predicate, &self.columns);
        logic
    }

    /// After a projection.
    pub(crate) fn projected(&self, exprs: &[Expr]) -> Self {
        let columns = exprs
            .iter()
            .map(|expr| Identity::of(expr, &self.columns))
            .collect();
        Self {
            columns,
            ..self.clone()
        }
    }

    /// By the clock: no declared watermark decides any more which rows are late.
    pub(crate) fn clocked(&self) -> Self {
        let timed_base = hash(&format!("{} by the clock", self.base));
        Self {
            timed_base,
            ..self.clone()
        }
    }

    /// After a UNION ALL.
    pub(crate) fn united(branches: &[&Self]) -> Self {
        let Some(first) = branches.first() else {
            return Self::of_operator(Vec::new(), "union()");
        };
        let columns = (0..first.columns.len())
            .map(|i| {
                let parts: Vec<&Identity> =
                    branches.iter().map(|branch| &branch.columns[i]).collect();
                Identity::together("union", &parts)
            })
            .collect();
        let relations = |timed: Timed| {
            branches
                .iter()
                .map(|branch| branch.relation(timed))
                .collect::<Vec<_>>()
                .join(",")
        };
        Self {
            columns,
            conjuncts: BTreeSet::new(),
            base: hash(&format!("union({})", relations(Timed::No))),
            timed_base: hash(&format!("union({})", relations(Timed::Yes))),
        }
    }

    /// After an UNNEST: some columns are kept, others added.
    pub(crate) fn unnested(&self, form: &str, keep: &[usize], added: Vec<Identity>) -> Self {
        let kept = keep.iter().map(|&column| self.columns[column].clone());
        Self {
            columns: kept.chain(added).collect(),
            conjuncts: self.conjuncts.clone(),
            base: hash(&format!("{} {form}", self.base)),
            timed_base: hash(&format!("{} {form}", self.timed_base)),
        }
    }

    /// After a window assignment: it drops late rows, so that watermarks count from here on.
    pub(crate) fn windowed(&self, window: &str, added: [Identity; 3]) -> Self {
        let base = hash(&format!("{} {window}", self.timed_base));
        let columns = self.columns.iter().cloned().chain(added).collect();
        Self {
            columns,
            conjuncts: self.conjuncts.clone(),
            timed_base: base.clone(),
            base,
        }
    }

    /// After an operator that keeps state, of the given fingerprints.
    pub(crate) fn of_operator(columns: Vec<Identity>, fingerprints: &str) -> Self {
        let base = hash(fingerprints);
        Self {
            columns,
            conjuncts: BTreeSet::new(),
            timed_base: base.clone(),
            base,
        }
    }
}

/// Whether watermark declarations count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    /// Nothing drops late rows.
    No,
    /// Something drops late rows.
    Yes,
}

/// The identities of a window's three columns.
pub(crate) fn window_columns(window: &str) -> [Identity; 3] {
    ["window_start", "window_end", "window_time"].map(|name| {
        let text = format!("{name}({window})");
        Identity::new(text.clone(), text)
    })
}

/// The identities of what an UNNEST of `array` gives: `unnest(tags)`, `unnest(items).price`, `ordinality(unnest(tags))`. One that
/// comes after `earlier` others carries its number, because two occurrences are never the same.
pub(crate) fn unnested_columns(
    array: &Identity,
    added: &[weir_types::Column],
    ordinality: bool,
    earlier: usize,
) -> Vec<Identity> {
    let whole = |form: &str| match earlier {
        0 => format!("unnest({form})"),
        earlier => format!("unnest_{}({form})", earlier + 1),
    };
    let parts = added.len() - usize::from(ordinality);
    let part = |form: &str, place: usize| {
        if place == parts {
            format!("ordinality({})", whole(form))
        } else if parts == 1 {
            whole(form)
        } else {
            // By its place: the alias of a column is not what it is.
            format!("{}.{}", whole(form), place + 1)
        }
    };
    (0..added.len())
        .map(|place| Identity::new(part(&array.name, place), part(&array.typed, place)))
        .collect()
}

/// The identity of a group column of a windowed aggregate.
pub(crate) fn group_column(column: GroupColumn, keys: &[Identity], window: &str) -> Identity {
    let [start, end, time] = window_columns(window);
    match column {
        GroupColumn::Key(key) => keys[key].clone(),
        GroupColumn::WindowStart => start,
        GroupColumn::WindowEnd => end,
        GroupColumn::WindowTime => time,
    }
}

/// The output of a join: what comes through the right input carries the join, and so does what the join may make NULL.
/// A semi or anti join only chooses: its columns are those of the left input.
pub(crate) fn joined_columns(
    join: JoinKind,
    left: &[Identity],
    right: &[Identity],
    id: &str,
    logic: &str,
) -> Vec<Identity> {
    if !join.gives_right() {
        return left.to_vec();
    }
    let through = |mark: &'static str| {
        move |column: &Identity| {
            Identity::new(
                format!("{id}{mark}:{}", operand(&column.name)),
                format!("{}{mark}:{}", &logic[..16], operand(&column.typed)),
            )
        }
    };
    let left: Vec<Identity> = if join.keeps_right() {
        left.iter().map(through("?left")).collect()
    } else {
        left.to_vec()
    };
    let right_mark = if join.keeps_left() { "?" } else { "" };
    left.into_iter()
        .chain(right.iter().map(through(right_mark)))
        .collect()
}

/// A short name of the kind, for messages and `explain`.
pub(crate) fn kind_name(kind: &OperatorKind) -> &'static str {
    match kind {
        OperatorKind::Source { .. } => "Source",
        OperatorKind::Filter { .. } => "Filter",
        OperatorKind::Project { .. } => "Project",
        OperatorKind::Union => "Union",
        OperatorKind::SetOperation { .. } => "SetOperation",
        OperatorKind::Unnest { .. } => "Unnest",
        OperatorKind::Expand { .. } => "Expand",
        OperatorKind::WindowAssign { .. } => "WindowAssign",
        OperatorKind::WindowAggregate { .. } => "WindowAggregate",
        OperatorKind::Aggregate { .. } => "Aggregate",
        OperatorKind::Join { .. } => "Join",
        OperatorKind::LookupJoin { .. } => "LookupJoin",
        OperatorKind::Rank { .. } => "Rank",
        OperatorKind::FinalRank { .. } => "FinalRank",
        OperatorKind::Over { .. } => "Over",
        OperatorKind::TimedJoin { .. } => "TimedJoin",
        OperatorKind::Session { .. } => "Session",
        OperatorKind::Clock { .. } => "Clock",
        OperatorKind::TemporalFilter { .. } => "TemporalFilter",
        OperatorKind::Arrival { .. } => "Arrival",
        OperatorKind::Sink { .. } => "Sink",
        OperatorKind::Output { .. } => "Output",
    }
}
