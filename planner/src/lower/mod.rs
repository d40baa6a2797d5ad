//! From the graph to the plan: which columns move, and the operators that the engine runs.
//!
//! ```text
//!   roots ─▶ demand: which columns of each table are read, by how many readers      (top down)
//!         ─▶ emit:   operators, inputs first; a shared node once, any other for each reader (bottom up)
//! ```
//!
//! # Invariants
//! 1. A stateful operator's input has exactly the columns that its block reads, ordered and named by identity, so that
//!    what it stores hangs on the block's text alone, and not on other readers of its inputs.
//! 2. A projection that only drops, reorders or renames columns is not an operator: [`Emitted::columns`] remembers.
//! 3. A source's filter is pushed into it only if it has one reader.

mod aggregate;
mod clock;
mod emit;
mod expand;
mod join;
pub(crate) mod over;
pub(crate) mod rank;
mod session;
mod sets;
pub(crate) mod ttl;

pub(crate) mod unnest;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_types::{OperatorId, Schema, Span};

use crate::binder::table::dead_letters;
use crate::fingerprint::{fingerprints, value_settings};
use crate::identity::{Identity, Logic};
use crate::logical::{Graph, NodeId, NodeKind, Properties};
use crate::names::Names;
use crate::plan::{
    Expr, Input, Operator, OperatorKind, PLAN_FORMAT_VERSION, StateTtl, StreamPlan, TableDefinition,
};
use crate::state_schema::{InputFacts, state_tables};

/// Columns of a node, by number.
pub(crate) type Columns = BTreeSet<usize>;

/// Turns a graph into a plan.
pub(crate) struct Lowering<'a> {
    graph: &'a Graph,
    tables: &'a BTreeMap<String, TableDefinition>,
    settings: &'a BTreeMap<String, String>,
    names: Names,
    operators: Vec<Operator>,
    /// One for each operator.
    logic: Vec<Logic>,
    /// For each operator whether two lives of a key can stand in what it gives.
    lives: Vec<bool>,
    /// Shared nodes and sources that were emitted.
    emitted: HashMap<NodeId, Emitted>,
    /// What all readers together want of a source.
    wanted: HashMap<NodeId, Columns>,
    /// How many readers a source has.
    readers: HashMap<NodeId, usize>,
    /// The numbers of rankings that a shared node has and nobody reads: they are not given, so that a row whose number
    /// alone changes is no change.
    unread: HashMap<NodeId, Columns>,
    /// How long the operator that is pushed next keeps its state.
    ttl: Option<StateTtl>,
}

/// A node that became an operator's output.
#[derive(Clone, Debug)]
pub(crate) struct Emitted {
    /// Index of the operator.
    pub(crate) operator: usize,
    /// For each wanted column of the node the operator's column that holds it.
    pub(crate) columns: BTreeMap<usize, usize>,
}

/// An operator that is about to be added; the rest follows from it.
pub(crate) struct New {
    pub(crate) id: OperatorId,
    pub(crate) kind: OperatorKind,
    pub(crate) inputs: Vec<Input>,
    pub(crate) schema: Schema,
    pub(crate) properties: Properties,
    pub(crate) span: Span,
    /// What its output means.
    pub(crate) logic: NewLogic,
}

/// How the logic of a new operator's output comes about.
pub(crate) enum NewLogic {
    /// A stateless operator: its own canonical text, and the logic of its output.
    Stateless(String, Logic),
    /// An operator with state: its own canonical text; the columns are given once its fingerprints are known.
    Stateful(
        String,
        Box<dyn FnOnce(&str) -> Vec<crate::identity::Identity>>,
    ),
}

/// Lowers the graph below `roots`.
pub(crate) fn lower(
    graph: &Graph,
    roots: &[NodeId],
    tables: &BTreeMap<String, TableDefinition>,
    settings: &BTreeMap<String, String>,
    names: Names,
) -> StreamPlan {
    let mut lowering = Lowering {
        graph,
        tables,
        settings,
        names,
        operators: Vec::new(),
        logic: Vec::new(),
        lives: Vec::new(),
        emitted: HashMap::new(),
        wanted: HashMap::new(),
        readers: HashMap::new(),
        unread: HashMap::new(),
        ttl: None,
    };
    lowering.unread = lowering.unread_numbers(roots);
    let mut visited = BTreeSet::new();
    for &root in roots {
        lowering.demand(root, &Columns::new(), &mut visited);
    }
    for &root in roots {
        lowering.emit(root, &Columns::new());
    }
    lowering.finish()
}

impl Lowering<'_> {
    fn finish(self) -> StreamPlan {
        let mut tables = BTreeMap::new();
        for operator in &self.operators {
            let (OperatorKind::Source { table, .. } | OperatorKind::Sink { table }) =
                &operator.kind
            else {
                continue;
            };
            let Some(definition) = self.tables.get(table) else {
                continue;
            };
            // The engine writes there what a source rejects.
            let rejected =
                dead_letters(definition).filter_map(|(_, target)| self.tables.get(target));
            for definition in rejected.chain([definition]) {
                tables.insert(definition.name.clone(), definition.clone());
            }
        }
        for (_, target) in crate::settings::tables_beside(self.settings) {
            if let Some(definition) = self.tables.get(target) {
                tables.insert(definition.name.clone(), definition.clone());
            }
        }
        let plan = StreamPlan {
            format_version: PLAN_FORMAT_VERSION,
            job_name: self.settings.get("job.name").cloned(),
            settings: self.settings.clone(),
            tables,
            operators: self.operators,
            state_from: self.graph.state_from.clone(),
        };
        debug_assert_eq!(plan.validate(), Ok(()));
        plan
    }

    /// All columns of a shared node are wanted, whoever asks; and at least one of a union, so that its rows are rows.
    pub(crate) fn wanted_of(&self, node: NodeId, wanted: &Columns) -> Columns {
        let current = &self.graph.nodes[node];
        if current.shared {
            let unread = self.unread.get(&node);
            let is_read = |column: &usize| unread.is_none_or(|unread| !unread.contains(column));
            (0..current.columns.len()).filter(is_read).collect()
        } else if wanted.is_empty() && matches!(current.kind, NodeKind::Union) {
            Columns::from([0])
        } else {
            wanted.clone()
        }
    }

    /// Of each shared node the columns that are a ranking's number and that no reader reads.
    fn unread_numbers(&self, roots: &[NodeId]) -> HashMap<NodeId, Columns> {
        let mut read: Vec<Option<Columns>> = vec![None; self.graph.nodes.len()];
        for &root in roots {
            read[root] = Some((0..self.graph.nodes[root].columns.len()).collect());
        }
        let mut unread = HashMap::new();
        for node in (0..read.len()).rev() {
            let Some(columns) = read[node].clone() else {
                continue;
            };
            let current = &self.graph.nodes[node];
            let wanted = if current.shared {
                let is_unread = |column: &usize| {
                    !columns.contains(column)
                        && crate::ranks::number_of(self.graph, node, *column).is_some()
                };
                let all: Columns = (0..current.columns.len()).collect();
                let hidden: Columns = all.iter().copied().filter(is_unread).collect();
                let wanted = &all - &hidden;
                unread.insert(node, hidden);
                wanted
            } else {
                columns
            };
            for (&input, below) in current.inputs.iter().zip(self.wanted_inputs(node, &wanted)) {
                read[input].get_or_insert_default().extend(below);
            }
        }
        unread
    }

    /// Collects what is wanted of the sources.
    fn demand(&mut self, node: NodeId, wanted: &Columns, visited: &mut BTreeSet<NodeId>) {
        let current = &self.graph.nodes[node];
        if current.shared && !visited.insert(node) {
            return;
        }
        let wanted = self.wanted_of(node, wanted);
        if let NodeKind::Scan { .. } = current.kind {
            self.wanted.entry(node).or_default().extend(wanted);
            *self.readers.entry(node).or_default() += 1;
            return;
        }
        for (input, wanted) in current.inputs.iter().zip(self.wanted_inputs(node, &wanted)) {
            self.demand(*input, &wanted, visited);
        }
    }

    /// What a node wants of each of its inputs to give the wanted columns.
    pub(crate) fn wanted_inputs(&self, node: NodeId, wanted: &Columns) -> Vec<Columns> {
        let mut below = self.wanted_by_logic(node, wanted);
        for (input, below) in below.iter_mut().enumerate() {
            below.extend(self.ttl_time(node, input));
        }
        below
    }

    /// The same without what only a TTL reads.
    fn wanted_by_logic(&self, node: NodeId, wanted: &Columns) -> Vec<Columns> {
        let current = &self.graph.nodes[node];
        let width = |input: usize| self.graph.nodes[current.inputs[input]].columns.len();
        match &current.kind {
            NodeKind::Scan { .. } => Vec::new(),
            NodeKind::Filter { predicate } => vec![wanted | &predicate.columns()],
            NodeKind::Project { exprs } => {
                let input = current.inputs[0];
                let computed = |&column: &usize| self.projected(input, exprs, column).columns();
                vec![wanted.iter().flat_map(computed).collect()]
            }
            NodeKind::Union => current.inputs.iter().map(|_| wanted.clone()).collect(),
            NodeKind::SetOperation { .. } => vec![(0..width(0)).collect(), (0..width(1)).collect()],
            NodeKind::Unnest { argument, .. } => {
                let below = wanted.iter().copied().filter(|&column| column < width(0));
                vec![below.chain(argument.columns()).collect()]
            }
            NodeKind::WindowAssign { time, .. } => {
                let mut below: Columns = wanted
                    .iter()
                    .copied()
                    .filter(|&column| column < width(0))
                    .collect();
                below.insert(*time);
                vec![below]
            }
            NodeKind::TemporalFilter { enters, leaves } => {
                vec![wanted | &columns_of(enters.iter().chain(leaves))]
            }
            NodeKind::Clock { time } => vec![wanted | &Columns::from([*time])],
            NodeKind::Expand { keys, .. } => {
                let kept = wanted.iter().copied().filter(|&column| column < width(0));
                vec![kept.chain(columns_of(keys.iter())).collect()]
            }
            NodeKind::Session { time, keys, .. } => {
                let columns = wanted.iter().chain(keys).chain([time]).copied();
                vec![columns.filter(|&column| column < width(0)).collect()]
            }
            NodeKind::Aggregate {
                window,
                keys,
                aggregates,
                ..
            } => {
                let calls = aggregates.iter().flat_map(|call| call.parts());
                let mut below = columns_of(keys.iter().chain(calls));
                below.extend(window.map(|(_, time)| time));
                vec![below]
            }
            NodeKind::Join {
                left_keys,
                right_keys,
                residual,
                ..
            }
            | NodeKind::LookupJoin {
                left_keys,
                right_keys,
                residual,
                ..
            } => {
                let first_right = width(0);
                let both = wanted | &columns_of(residual.iter());
                let left = both.iter().copied().filter(|&column| column < first_right);
                let right = both
                    .iter()
                    .filter_map(|&column| column.checked_sub(first_right));
                // Of a semi or anti join, `wanted` has no right column: its right side keeps what is compared.
                vec![
                    left.chain(columns_of(left_keys.iter())).collect(),
                    right.chain(columns_of(right_keys.iter())).collect(),
                ]
            }
            NodeKind::Rank {
                partition, order, ..
            } => {
                let parts = partition.iter().chain(order.iter().map(|sort| &sort.expr));
                let mut below = columns_of(parts);
                below.extend(wanted.iter().filter(|&&column| column < width(0)));
                vec![below]
            }
            NodeKind::Over {
                partition,
                order,
                time,
                calls,
            } => {
                let parts = partition.iter().chain(order.iter().map(|sort| &sort.expr));
                let calls = calls.iter().flat_map(|call| call.parts());
                let mut below = columns_of(parts.chain(calls));
                below.extend(wanted.iter().filter(|&&column| column < width(0)));
                below.extend(time);
                vec![below]
            }
            NodeKind::TimedJoin { .. } => self.wanted_of_timed_join(node, wanted),
            NodeKind::Sink { .. } | NodeKind::Output { .. } => vec![(0..width(0)).collect()],
        }
    }

    /// Adds an operator: its state tables and fingerprints follow from what it does and reads.
    pub(crate) fn push(&mut self, new: New) -> usize {
        let New {
            id,
            kind,
            inputs,
            schema,
            properties,
            span,
            logic,
        } = new;
        let table = match &kind {
            OperatorKind::Source { table, .. } | OperatorKind::Sink { table } => {
                self.tables.get(table)
            }
            _ => None,
        };
        let ttl = self.ttl.take();
        let visible = ttl::visible_inputs(&self.operators, &inputs, ttl);
        let facts: Vec<InputFacts<'_>> = inputs
            .iter()
            .zip(&visible)
            .map(|(input, (schema, unique_key))| InputFacts {
                schema,
                changelog: self.operators[input.from].changelog,
                unique_key: unique_key.as_deref(),
            })
            .collect();
        let mut state = state_tables(&kind, &facts, table);
        ttl::add_tables(&mut state, &facts, ttl);
        let below: Vec<&Logic> = inputs.iter().map(|input| &self.logic[input.from]).collect();
        let settings = value_settings(self.settings);
        let (detail, output) = match logic {
            NewLogic::Stateless(detail, output) => (detail, Err(output)),
            NewLogic::Stateful(detail, columns) => (detail, Ok(columns)),
        };
        let detail = ttl.map_or(detail.clone(), |ttl| {
            format!("{detail} {}", crate::retention::ttl_text(ttl))
        });
        let prints = fingerprints(&kind, &detail, &below, table, &settings);
        let output = match output {
            Err(logic) => logic,
            Ok(columns) => {
                let both = format!("{} over {}", prints.own, prints.upstream);
                let columns = columns(&crate::identity::hash(&both));
                let columns = columns.into_iter().map(Identity::held).collect();
                Logic::of_operator(columns, &both)
            }
        };
        debug_assert_eq!(
            output.columns.len(),
            schema.len(),
            "one identity for each column of {id}"
        );
        self.logic.push(output);
        let has_lives = ttl::has_lives(&kind, &inputs, &self.lives, ttl);
        self.lives.push(has_lives);
        self.operators.push(Operator {
            id,
            kind,
            inputs,
            schema,
            changelog: properties.changelog,
            unique_key: properties.unique_key.filter(|_| !has_lives),
            event_time: properties.event_time,
            further_event_times: properties.further_event_times,
            window: properties.window,
            state,
            ttl,
            fingerprint: prints.own,
            upstream_fingerprint: prints.upstream,
            span,
        });
        self.operators.len() - 1
    }
}

/// Every column that one of the expressions reads.
pub(crate) fn columns_of<'e>(exprs: impl Iterator<Item = &'e Expr>) -> Columns {
    exprs.flat_map(Expr::columns).collect()
}
