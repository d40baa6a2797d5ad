//! What a plan's columns and rows are made of, in words that two plans can be compared by.
//!
//! ```text
//!   plan ─▶ one `Traced` for each operator, inputs first
//!             columns     the identity of each output column, traced to sources; what comes through a join carries its ID
//!             relation    all logic below that decides which rows there are, apart from the conditions evaluated since
//!             shape       of a stateful operator: its own logic, part by part
//! ```
//!
//! It differs from a fingerprint in what it leaves out: a relation says nothing of aggregates that a consumer may or
//! may not read, because a column's identity says which one it is. So an aggregate that is added beside others changes
//! nothing for who reads the others (EVOLUTION 4, "exactness is kept for each column").

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::shape::Shape;
use super::widened::{Widened, keeps_values};
use crate::canonical;
use crate::fingerprint::value_settings;
use crate::identity::{Identity, hash, shortened, unnested_columns, value_options};
use crate::plan::{
    Changelog, Expr, ExprKind, GroupColumn, JoinKind, Operator, OperatorKind, StateLayout,
    StreamPlan, TableDefinition,
};

/// A plan with what is known of each of its operators.
pub(super) struct Trace<'p> {
    pub(super) plan: &'p StreamPlan,
    /// What paths of the plan are called in the other one.
    pub(super) renames: &'p BTreeMap<String, String>,
    /// What columns of the old plan are called whose type the new one has widened; both plans have it.
    widened: &'p Widened,
    /// One for each operator.
    pub(super) nodes: Vec<Traced>,
}

/// What is known of an operator's output.
#[derive(Clone)]
pub(super) struct Traced {
    /// One for each output column.
    pub(super) columns: Vec<String>,
    /// The same for people: names as the query has them.
    pub(super) shown: Vec<String>,
    pub(super) relation: Relation,
    /// Whether the output is a function of the state that operators keep (EVOLUTION 3).
    pub(super) recoverable: bool,
    /// Every operator below it.
    pub(super) upstream: BTreeSet<usize>,
    /// The stateful operators and sources below a chain of stateless steps; itself if it is one.
    pub(super) bases: BTreeSet<usize>,
    /// What a stateful operator does.
    pub(super) shape: Option<Shape>,
}

/// Which rows there are.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// Hash of all logic below, without what only decides which rows are late.
    base: String,
    /// The same with watermark declarations.
    timed: String,
    /// Conditions that every row fulfils, evaluated since the base, by their texts.
    pub(super) conjuncts: BTreeMap<String, Conjunct>,
}

/// A condition.
#[derive(Clone, Debug)]
pub(super) struct Conjunct {
    /// It itself, and what the columns that it is over are.
    pub(super) expr: Expr,
    pub(super) over: BTreeMap<usize, String>,
    /// For people.
    pub(super) shown: String,
    /// The identities of the columns that it reads.
    pub(super) reads: BTreeSet<String>,
}

impl Relation {
    fn new(base: String, timed: String) -> Self {
        Self {
            base,
            timed,
            conjuncts: BTreeMap::new(),
        }
    }

    /// Everything, as one text.
    pub(super) fn whole(&self, timed: bool) -> String {
        let conjuncts: Vec<&str> = self.conjuncts.keys().map(String::as_str).collect();
        hash(&format!(
            "{} where {}",
            self.below(timed),
            conjuncts.join(" and ")
        ))
    }

    /// Everything but the conditions.
    pub(super) fn below(&self, timed: bool) -> &str {
        if timed { &self.timed } else { &self.base }
    }

    fn derived(&self, form: &str) -> Self {
        Self {
            base: hash(&format!("{} {form}", self.base)),
            timed: hash(&format!("{} {form}", self.timed)),
            conjuncts: self.conjuncts.clone(),
        }
    }
}

impl Traced {
    /// Without the last columns.
    pub(super) fn without_last(&self, count: usize) -> Cow<'_, Self> {
        if count == 0 {
            return Cow::Borrowed(self);
        }
        let mut copy = self.clone();
        let width = copy.columns.len().saturating_sub(count);
        copy.columns.truncate(width);
        copy.shown.truncate(width);
        Cow::Owned(copy)
    }
}

/// Whether rows that come late are dropped by the operator, so that watermarks are part of its logic.
pub(super) fn drops_late_rows(kind: &OperatorKind) -> bool {
    matches!(
        kind,
        OperatorKind::WindowAggregate { .. }
            | OperatorKind::WindowAssign { .. }
            | OperatorKind::Session { .. }
            | OperatorKind::FinalRank { .. }
            | OperatorKind::Over { time: Some(_), .. }
            | OperatorKind::TimedJoin { .. }
    )
}

/// Whether the operator keeps state that a change of the query has to judge. A sink's copy of its result is judged with
/// the sink, and a source keeps its position alone.
pub(super) fn keeps_state(operator: &Operator) -> bool {
    !matches!(
        operator.kind,
        OperatorKind::Sink { .. } | OperatorKind::Source { .. } | OperatorKind::Output { .. }
    ) && operator
        .state
        .iter()
        .any(|table| table.layout != StateLayout::Position)
}

/// Whether what the operator gave is final, because its state does not hold it: windows, timed joins, the first row of
/// each key. A DISTINCT or a join of rows that only grow gives rows that only grow, and holds all that they are made of.
pub(super) fn emits(operator: &Operator) -> bool {
    keeps_state(operator)
        && (operator.changelog == Changelog::AppendOnly
            // What was looked up stays, even where the left row itself is taken back.
            || matches!(operator.kind, OperatorKind::LookupJoin { .. }))
        && !matches!(
            operator.kind,
            OperatorKind::Aggregate { .. }
                | OperatorKind::Join { .. }
                | OperatorKind::SetOperation { .. }
        )
}

/// Whether the state of an operator can be computed from the rows that its inputs hold now. What gives each row once, as time
/// passes or as rows arrive, would give all of them again.
pub fn fills_from_rows(kind: &OperatorKind) -> bool {
    !matches!(
        kind,
        OperatorKind::WindowAggregate { .. }
            | OperatorKind::Session { .. }
            | OperatorKind::FinalRank { .. }
            | OperatorKind::Over { time: Some(_), .. }
            | OperatorKind::TimedJoin { .. }
            | OperatorKind::LookupJoin { .. }
            | OperatorKind::Arrival { .. }
    )
}

impl<'p> Trace<'p> {
    /// Traces a plan. `renames`: what paths of it are called in the plan that it is compared with; `widened`: what columns of
    /// the old plan are called in the new one.
    pub(super) fn of(
        plan: &'p StreamPlan,
        renames: &'p BTreeMap<String, String>,
        widened: &'p Widened,
    ) -> Self {
        let mut trace = Self {
            plan,
            renames,
            widened,
            nodes: Vec::with_capacity(plan.operators.len()),
        };
        for operator in &plan.operators {
            let traced = trace.traced(operator);
            debug_assert_eq!(
                traced.columns.len(),
                operator.schema.len(),
                "{}",
                operator.id
            );
            trace.nodes.push(traced);
        }
        trace
    }

    /// The ID of an operator, under the name that the other plan gives it.
    pub(super) fn id(&self, operator: &Operator) -> String {
        renamed(operator.id.as_str(), self.renames)
    }

    fn traced(&self, operator: &Operator) -> Traced {
        // Columns that are there for its TTL alone are none of its logic.
        let hidden = operator.hidden_columns();
        let inputs: Vec<Cow<'_, Traced>> = operator
            .inputs
            .iter()
            .map(|input| self.nodes[input.from].without_last(hidden))
            .collect();
        let inputs: Vec<&Traced> = inputs.iter().map(|input| &**input).collect();
        let below = operator.inputs.iter().map(|input| input.from);
        let mut upstream: BTreeSet<usize> = below.collect();
        for input in &inputs {
            upstream.extend(&input.upstream);
        }
        let shape = keeps_state(operator).then(|| Shape::of(self.plan, operator, &inputs));
        let (columns, relation) = self.output(operator, &inputs, shape.as_ref());
        let recoverable = match &operator.kind {
            OperatorKind::Source { .. } => false,
            // What has got too old is not there any more, whatever the inputs hold.
            _ if operator.ttl.is_some() => false,
            _ if keeps_state(operator) => !emits(operator) && Self::keeps_all(operator),
            _ => {
                !inputs.is_empty()
                    && inputs.iter().all(|input| input.recoverable)
                    && !expressions(operator).iter().any(|expr| expr.is_volatile())
            }
        };
        let bases = if keeps_state(operator) || operator.inputs.is_empty() {
            BTreeSet::from([self.nodes.len()])
        } else {
            inputs
                .iter()
                .flat_map(|input| input.bases.clone())
                .collect()
        };
        Traced {
            shown: shown_columns(operator, &inputs),
            columns,
            relation,
            recoverable,
            upstream,
            bases,
            shape,
        }
    }

    /// Whether the operator's state holds all that its output is made of.
    fn keeps_all(operator: &Operator) -> bool {
        matches!(
            operator.kind,
            OperatorKind::Aggregate { .. }
                | OperatorKind::Join { .. }
                | OperatorKind::Rank { .. }
                | OperatorKind::Over { time: None, .. }
                | OperatorKind::SetOperation { .. }
        )
    }

    fn output(
        &self,
        operator: &Operator,
        inputs: &[&Traced],
        shape: Option<&Shape>,
    ) -> (Vec<String>, Relation) {
        let input = inputs.first();
        let columns = || input.map_or_else(Vec::new, |input| input.columns.clone());
        match (&operator.kind, input) {
            (
                OperatorKind::Source {
                    table,
                    columns,
                    filter,
                },
                _,
            ) => self.source(table, columns, filter.as_ref()),
            (OperatorKind::Filter { predicate }, Some(input)) => {
                let mut relation = input.relation.clone();
                add_conjuncts(&mut relation, predicate, &input.columns, &input.shown);
                (columns(), relation)
            }
            (OperatorKind::Project { exprs }, Some(input)) => {
                let exprs = exprs
                    .iter()
                    .map(|expr| self.passed_on(expr, &input.columns));
                (exprs.collect(), input.relation.clone())
            }
            (OperatorKind::Union, Some(input)) => united(inputs, input.columns.len()),
            (
                OperatorKind::Unnest {
                    column,
                    keep,
                    outer,
                    ordinality,
                },
                Some(input),
            ) => unnested(operator, input, (*column, keep, *outer, *ordinality)),
            (OperatorKind::WindowAssign { window, time }, Some(input)) => {
                let form = canonical::window(window, &input.columns[*time]);
                let mut relation = input.relation.derived(&form);
                // Late rows are dropped here: from here on watermarks count for everybody.
                relation.base.clone_from(&relation.timed);
                (with_window(columns(), &form), relation)
            }
            (OperatorKind::Sink { .. } | OperatorKind::Output { .. }, Some(input)) => {
                (columns(), input.relation.clone())
            }
            (
                OperatorKind::Expand {
                    keys,
                    sets,
                    numbered,
                },
                Some(input),
            ) => {
                let key = |word: &'static str| {
                    move |&key: &usize| format!("{word}({})", input.columns[key])
                };
                let mut columns = columns();
                columns.extend(keys.iter().map(key("set")));
                columns.extend(keys.iter().map(key("grouping")));
                columns.extend(numbered.then(|| "grouping set".to_owned()));
                let names: Vec<&str> = keys
                    .iter()
                    .map(|&key| input.columns[key].as_str())
                    .collect();
                (
                    columns,
                    input
                        .relation
                        .derived(&format!("sets {sets:?} of {names:?}")),
                )
            }
            (_, Some(_)) => match shape {
                Some(shape) => self.stateful(operator, inputs, shape),
                None => opaque(operator, inputs),
            },
            (_, None) => opaque(operator, inputs),
        }
    }

    /// The identity of what a projection gives. What is made of a column that was widened has the same value in its own type
    /// and in a wider one: either plan may have to cast it.
    fn passed_on(&self, expr: &Expr, columns: &[String]) -> String {
        if let ExprKind::Cast {
            expr: inner,
            safe: false,
        } = &expr.kind
            && let Some(column) = inner.as_column()
            && keeps_values(&inner.data_type, &expr.data_type)
            && self
                .widened
                .values()
                .any(|wide| columns[column].contains(wide.as_str()))
        {
            return columns[column].clone();
        }
        text(expr, columns)
    }

    pub(super) fn table(&self, table: &str) -> String {
        renamed(table, self.renames)
    }

    fn source(
        &self,
        table: &str,
        columns: &[usize],
        filter: Option<&Expr>,
    ) -> (Vec<String>, Relation) {
        let Some(definition) = self.plan.tables.get(table) else {
            return (
                vec![String::new(); columns.len()],
                Relation::new(hash(table), hash(table)),
            );
        };
        let all: Vec<String> = (0..definition.columns.len())
            .map(|column| source_column(definition, column))
            .map(|column| format!("{}.{column}", self.table(table)))
            .map(|column| self.widened.get(&column).cloned().unwrap_or(column))
            .collect();
        let table = self.table(table);
        let settings = value_settings(&self.plan.settings);
        let base = hash(&format!(
            "{table}({}) under {settings}",
            value_options(definition)
        ));
        let watermark = definition
            .watermark
            .as_ref()
            .map_or_else(String::new, |watermark| {
                format!(
                    "{} as {}",
                    all[watermark.column],
                    text(&watermark.expr, &all)
                )
            });
        let timed = hash(&format!("{base} watermark {watermark}"));
        let mut relation = Relation::new(base, timed);
        if let Some(filter) = filter {
            let shown = definition
                .columns
                .iter()
                .map(|column| column.column.name.clone());
            add_conjuncts(&mut relation, filter, &all, &shown.collect::<Vec<_>>());
        }
        (
            columns.iter().map(|&column| all[column].clone()).collect(),
            relation,
        )
    }

    fn stateful(
        &self,
        operator: &Operator,
        inputs: &[&Traced],
        shape: &Shape,
    ) -> (Vec<String>, Relation) {
        let timed = drops_late_rows(&operator.kind);
        let below: Vec<String> = inputs
            .iter()
            .map(|input| input.relation.whole(timed))
            .collect();
        let ttl = operator
            .ttl
            .map_or_else(String::new, crate::retention::ttl_text);
        let base = hash(&format!("{} {ttl} over {}", shape.rows(), below.join(",")));
        let relation = Relation::new(base.clone(), base);
        (self.stateful_columns(operator, inputs), relation)
    }

    fn stateful_columns(&self, operator: &Operator, inputs: &[&Traced]) -> Vec<String> {
        let input = &inputs[0].columns;
        let settings = value_settings(&self.plan.settings);
        match &operator.kind {
            OperatorKind::Aggregate {
                keys, aggregates, ..
            } => {
                let keys = keys.iter().map(|&key| input[key].clone());
                keys.chain(
                    aggregates
                        .iter()
                        .map(|call| super::shape::call(call, input)),
                )
                .collect()
            }
            OperatorKind::WindowAggregate {
                window,
                time,
                keys,
                group_columns,
                aggregates,
            } => {
                let window = canonical::window(window, &input[*time]);
                let group = |column: &GroupColumn| match column {
                    GroupColumn::Key(key) => input[keys[*key]].clone(),
                    GroupColumn::WindowStart => format!("window_start({window})"),
                    GroupColumn::WindowEnd => format!("window_end({window})"),
                    GroupColumn::WindowTime => format!("window_time({window})"),
                };
                let calls = aggregates
                    .iter()
                    .map(|call| super::shape::call(call, input));
                group_columns.iter().map(group).chain(calls).collect()
            }
            OperatorKind::Join { join, .. }
            | OperatorKind::LookupJoin { join, .. }
            | OperatorKind::TimedJoin { join, .. } => {
                joined(&self.id(operator), *join, input, &inputs[1].columns)
            }
            OperatorKind::SetOperation { .. } => (0..operator.schema.len())
                .map(|column| format!("both({}, {})", input[column], inputs[1].columns[column]))
                .collect(),
            _ => {
                // The columns of the input, then those that it adds.
                let added = operator.schema.iter().skip(input.len());
                let added = added.map(|column| {
                    format!("{}({}) under {settings}", self.id(operator), column.name)
                });
                let kept = input.iter().take(operator.schema.len()).cloned();
                kept.chain(added).collect()
            }
        }
    }
}

/// An operator that nothing better is known of: equal if its fingerprints are.
fn opaque(operator: &Operator, inputs: &[&Traced]) -> (Vec<String>, Relation) {
    let below: Vec<String> = inputs
        .iter()
        .map(|input| input.relation.whole(true))
        .collect();
    let base = hash(&format!(
        "{} over {}",
        operator.fingerprint,
        below.join(",")
    ));
    let columns = operator.schema.iter().enumerate();
    let column = |(place, _)| format!("{}#{place}", &base[..16]);
    (
        columns.map(column).collect(),
        Relation::new(base.clone(), base),
    )
}

/// A source column in the typed form of fingerprints.
pub(super) fn source_column(table: &TableDefinition, column: usize) -> String {
    Identity::of_table_column(table, column).typed
}

/// An ID or a path under another name: the longest path that it begins with counts.
pub fn renamed(id: &str, renames: &BTreeMap<String, String>) -> String {
    let fits = |from: &str| {
        id.strip_prefix(from)
            .filter(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
    };
    let longest = renames
        .iter()
        .filter_map(|(from, to)| Some((from.len(), fits(from)?, to)))
        .max();
    longest.map_or_else(|| id.to_owned(), |(_, rest, to)| format!("{to}{rest}"))
}

/// The text of an expression over columns of known identities.
pub(super) fn text(expr: &Expr, columns: &[String]) -> String {
    match expr.as_column() {
        Some(column) => columns[column].clone(),
        None => shortened(canonical::text(expr, &|column| {
            format!("[{}]", columns[column])
        })),
    }
}

fn add_conjuncts(relation: &mut Relation, predicate: &Expr, columns: &[String], shown: &[String]) {
    for part in predicate.clone().conjuncts() {
        let reads = part
            .columns()
            .into_iter()
            .map(|column| columns[column].clone());
        let over = part
            .columns()
            .into_iter()
            .map(|column| (column, columns[column].clone()));
        let conjunct = Conjunct {
            over: over.collect(),
            shown: shown_text(&part, shown),
            reads: reads.collect(),
            expr: part.clone(),
        };
        relation.conjuncts.insert(text(&part, columns), conjunct);
    }
}

/// The text of an expression for people.
fn shown_text(expr: &Expr, shown: &[String]) -> String {
    canonical::text(expr, &|column| match &shown[column] {
        name if name.contains(' ') => format!("({name})"),
        name => name.clone(),
    })
}

/// The names of an operator's columns, as the query has them.
fn shown_columns(operator: &Operator, inputs: &[&Traced]) -> Vec<String> {
    let mut names: Vec<String> = operator
        .schema
        .iter()
        .map(|column| column.name.clone())
        .collect();
    match (&operator.kind, inputs) {
        (OperatorKind::Project { exprs }, [input]) => {
            names = exprs
                .iter()
                .map(|expr| shown_text(expr, &input.shown))
                .collect();
        }
        (
            OperatorKind::Filter { .. }
            | OperatorKind::Sink { .. }
            | OperatorKind::Output { .. }
            | OperatorKind::WindowAssign { .. }
            | OperatorKind::Rank { .. }
            | OperatorKind::FinalRank { .. }
            | OperatorKind::Join { .. }
            | OperatorKind::LookupJoin { .. }
            | OperatorKind::TimedJoin { .. },
            inputs,
        ) => {
            let shown = inputs.iter().flat_map(|input| &input.shown);
            names
                .iter_mut()
                .zip(shown)
                .for_each(|(name, shown)| name.clone_from(shown));
        }
        _ => {}
    }
    names
}

fn with_window(mut columns: Vec<String>, window: &str) -> Vec<String> {
    let names = ["window_start", "window_end", "window_time"];
    columns.extend(names.map(|name| format!("{name}({window})")));
    columns
}

fn united(inputs: &[&Traced], width: usize) -> (Vec<String>, Relation) {
    let column = |column: usize| {
        let branches: Vec<&str> = inputs
            .iter()
            .map(|input| input.columns[column].as_str())
            .collect();
        format!("union({})", branches.join(", "))
    };
    let relation = |timed: bool| {
        let branches: Vec<String> = inputs
            .iter()
            .map(|input| input.relation.whole(timed))
            .collect();
        hash(&format!("union({})", branches.join(",")))
    };
    (
        (0..width).map(column).collect(),
        Relation::new(relation(false), relation(true)),
    )
}

fn unnested(
    operator: &Operator,
    input: &Traced,
    (column, keep, outer, ordinality): (usize, &[usize], bool, bool),
) -> (Vec<String>, Relation) {
    let array = &input.columns[column];
    let added = &operator.schema[keep.len()..];
    let earlier = array.matches("unnest").count();
    let identity = Identity {
        name: array.clone(),
        typed: array.clone(),
    };
    let added = unnested_columns(&identity, added, ordinality, earlier);
    let form = format!("unnest {earlier} ({array}) outer {outer}");
    let kept = keep.iter().map(|&column| input.columns[column].clone());
    let columns = kept.chain(added.into_iter().map(|identity| identity.typed));
    (columns.collect(), input.relation.derived(&form))
}

/// What comes through the right side carries the join's ID, and so does what the join may make NULL.
fn joined(id: &str, join: JoinKind, left: &[String], right: &[String]) -> Vec<String> {
    let through =
        |mark: &'static str| move |column: &String| shortened(format!("{id}{mark}:{column}"));
    let left: Vec<String> = if join.keeps_right() {
        left.iter().map(through("?left")).collect()
    } else {
        left.to_vec()
    };
    if !join.gives_right() {
        return left;
    }
    let mark = if join.keeps_left() { "?" } else { "" };
    left.into_iter()
        .chain(right.iter().map(through(mark)))
        .collect()
}

/// The expressions of a stateless step.
/// The expressions that a stateless step evaluates.
pub(super) fn expressions(operator: &Operator) -> Vec<&Expr> {
    match &operator.kind {
        OperatorKind::Filter { predicate } => vec![predicate],
        OperatorKind::Project { exprs } => exprs.iter().collect(),
        OperatorKind::Source { filter, .. } => filter.iter().collect(),
        _ => Vec::new(),
    }
}
