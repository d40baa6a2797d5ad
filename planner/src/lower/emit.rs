//! The operators without state, sources and sinks.

use std::collections::BTreeMap;

use weir_types::{Column, Schema};

use crate::canonical;
use crate::identity::{Identity, Logic, window_columns};
use crate::logical::{NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{Expr, ExprKind, Input, OperatorKind, Partitioning, Window};
use crate::state_schema::{InputFacts, keeps_result, result_key};

use super::{Columns, Emitted, Lowering, New, NewLogic, columns_of};

/// A column of an operator that is made to measure: its expression over the input operator's columns, and its name.
pub(crate) struct Measured {
    pub(crate) expr: Expr,
    pub(crate) column: Column,
}

impl Lowering<'_> {
    /// Emits a node with (at least) the wanted columns.
    pub(crate) fn emit(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        if let Some(emitted) = self.emitted.get(&node) {
            return emitted.clone();
        }
        let graph = self.graph;
        let current = &graph.nodes[node];
        let wanted = self.wanted_of(node, wanted);
        let emitted = match &current.kind {
            NodeKind::Scan { .. } => {
                let wanted = self.wanted.get(&node).cloned().unwrap_or(wanted);
                return self.source(node, &wanted, None);
            }
            NodeKind::Filter { predicate } => self.filter(node, predicate, &wanted),
            NodeKind::Project { exprs } => self.project(node, exprs, &wanted),
            NodeKind::Union => self.union(node, &wanted),
            NodeKind::Unnest { .. } => self.unnest(node, &wanted),
            NodeKind::Expand { .. } => self.expand(node, &wanted),
            NodeKind::SetOperation { operator, all } => self.set_operation(node, *operator, *all),
            NodeKind::WindowAssign { window, time } => {
                self.window_assign(node, *window, *time, &wanted)
            }
            NodeKind::Session { .. } => self.session(node, &wanted),
            NodeKind::TemporalFilter { .. } => self.temporal_filter(node, &wanted),
            NodeKind::Clock { time } => self.clock(node, *time, &wanted),
            NodeKind::Aggregate { .. } => self.aggregate(node, &wanted),
            NodeKind::Join { .. } => self.join(node, &wanted),
            NodeKind::LookupJoin { .. } => self.lookup_join(node, &wanted),
            NodeKind::Rank { .. } => self.rank(node, &wanted),
            NodeKind::Over { .. } => self.over(node, &wanted),
            NodeKind::TimedJoin { .. } => self.timed_join(node, &wanted),
            NodeKind::Sink { table } => self.sink(node, table),
            NodeKind::Output { names } => self.output(node, names),
        };
        if current.shared {
            self.emitted.insert(node, emitted.clone());
        }
        emitted
    }

    /// Emits the only input of a node.
    pub(crate) fn emit_input(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let below = self.wanted_inputs(node, wanted);
        let input = self.graph.nodes[node].inputs[0];
        self.emit(input, &below[0])
    }

    // ------------------------------------------------------------------ sources

    fn source(&mut self, node: NodeId, wanted: &Columns, filter: Option<&Expr>) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::Scan { table } = &current.kind else {
            unreachable!("a source is a scan")
        };
        let definition = &self.tables[table];
        let mut columns: Vec<usize> = wanted.iter().copied().collect();
        if columns.is_empty() {
            // Rows are counted by a column: the first one is as good as any.
            columns.push(0);
        }
        let kind = OperatorKind::Source {
            table: table.clone(),
            columns: columns.clone(),
            filter: filter.cloned(),
        };
        let place = |column: usize| columns.iter().position(|&read| read == column);
        let logic = Logic::source(definition, &columns, filter);
        let operator = self.push(New {
            id: current.named(),
            kind,
            inputs: Vec::new(),
            schema: columns
                .iter()
                .map(|&column| current.columns[column].clone())
                .collect(),
            properties: current.properties.moved(&place),
            span: current.span,
            logic: NewLogic::Stateless(String::new(), logic),
        });
        let emitted = Emitted {
            operator,
            columns: columns
                .iter()
                .enumerate()
                .map(|(i, &column)| (column, i))
                .collect(),
        };
        self.emitted.insert(node, emitted.clone());
        emitted
    }

    // ------------------------------------------------------------------ steps

    fn filter(&mut self, node: NodeId, predicate: &Expr, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let input = graph.nodes[node].inputs[0];
        let only_reader = self.readers.get(&input) == Some(&1);
        if matches!(graph.nodes[input].kind, NodeKind::Scan { .. })
            && only_reader
            && !predicate.is_volatile()
        {
            // The filter reads the table's columns: those that nobody else reads need not leave the source.
            return self.source(input, wanted, Some(predicate));
        }
        let below = self.emit_input(node, wanted);
        let predicate = below.moved(predicate);
        let operator = self.push_filter(below.operator, predicate, &graph.nodes[node].path);
        Emitted {
            operator,
            columns: below.columns,
        }
    }

    fn push_filter(&mut self, input: usize, predicate: Expr, path: &Path) -> usize {
        let from = &self.operators[input];
        let logic = self.logic[input].filtered(&predicate);
        let detail = Identity::of(&predicate, &self.logic[input].columns).typed;
        let (schema, properties, span) =
            (from.schema.clone(), self.properties(input), predicate.span);
        let id = self.names.take(path, "filter").id;
        let (kind, inputs) = (OperatorKind::Filter { predicate }, vec![forward(input)]);
        self.push(New {
            id,
            kind,
            inputs,
            schema,
            properties,
            span,
            logic: NewLogic::Stateless(detail, logic),
        })
    }

    fn project(&mut self, node: NodeId, exprs: &[Expr], wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let (input, exprs) = self.merged_projections(current.inputs[0], exprs, wanted);
        let below = self.emit(input, &columns_of(exprs.values()));
        let only_columns = exprs.values().all(|expr| expr.as_column().is_some());
        if only_columns {
            let place = |(&column, expr): (&usize, &Expr)| {
                Some((column, below.columns[&expr.as_column()?]))
            };
            return Emitted {
                operator: below.operator,
                columns: exprs.iter().filter_map(place).collect(),
            };
        }
        let measured =
            exprs
                .iter()
                .map(|(&column, expr)| Measured {
                    expr: below.moved(expr),
                    column: current.columns.get(column).cloned().unwrap_or_else(|| {
                        Column::new(super::ttl::EVENT_TIME, expr.data_type.clone())
                    }),
                })
                .collect();
        let operator = self.push_project(below.operator, measured, &current.path);
        let columns = wanted
            .iter()
            .enumerate()
            .map(|(i, &column)| (column, i))
            .collect();
        Emitted { operator, columns }
    }

    /// The wanted expressions of a projection over `input`, written over what is below further projections, as long as
    /// nothing has to be computed twice for it.
    fn merged_projections(
        &self,
        mut input: NodeId,
        exprs: &[Expr],
        wanted: &Columns,
    ) -> (NodeId, BTreeMap<usize, Expr>) {
        let mut merged: BTreeMap<usize, Expr> = wanted
            .iter()
            .map(|&column| (column, self.projected(input, exprs, column)))
            .collect();
        loop {
            let below = &self.graph.nodes[input];
            let NodeKind::Project { exprs } = &below.kind else {
                return (input, merged);
            };
            let uses = |column: usize| merged.values().map(|expr| expr.uses(column)).sum::<usize>();
            let is_cheap =
                |expr: &Expr| matches!(expr.kind, ExprKind::Column(_) | ExprKind::Literal(_));
            let fits = exprs
                .iter()
                .enumerate()
                .all(|(column, expr)| is_cheap(expr) || uses(column) <= 1);
            if below.shared || !fits {
                return (input, merged);
            }
            merged.values_mut().for_each(|expr| {
                *expr = expr.substituted(&|column| self.projected(below.inputs[0], exprs, column));
            });
            input = below.inputs[0];
        }
    }

    /// A projection to exactly these columns; none if the input has exactly them, and is called so.
    pub(crate) fn push_project(
        &mut self,
        input: usize,
        measured: Vec<Measured>,
        path: &Path,
    ) -> usize {
        let from = &self.operators[input];
        let unchanged = measured.len() == from.schema.len()
            && measured.iter().enumerate().all(|(i, measured)| {
                measured.expr.as_column() == Some(i) && measured.column.name == from.schema[i].name
            });
        if unchanged {
            return input;
        }
        let (exprs, schema): (Vec<Expr>, Schema) = measured
            .into_iter()
            .map(|measured| (measured.expr, measured.column))
            .unzip();
        let span = exprs
            .iter()
            .fold(Default::default(), |all: weir_types::Span, expr| {
                all.union(expr.span)
            });
        let logic = self.logic[input].projected(&exprs);
        let detail: Vec<&str> = logic
            .columns
            .iter()
            .map(|identity| identity.typed.as_str())
            .collect();
        let detail = detail.join(", ");
        let properties = self.properties(input).projected(&exprs);
        let id = self.names.take(path, "project").id;
        let (kind, inputs) = (OperatorKind::Project { exprs }, vec![forward(input)]);
        self.push(New {
            id,
            kind,
            inputs,
            schema,
            properties,
            span,
            logic: NewLogic::Stateless(detail, logic),
        })
    }

    fn union(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let mut inputs = Vec::with_capacity(current.inputs.len());
        for &input in &current.inputs {
            let below = self.emit(input, wanted);
            inputs.push(self.exactly(&below, wanted, &current.columns, &current.path));
        }
        let columns: BTreeMap<usize, usize> = wanted
            .iter()
            .enumerate()
            .map(|(i, &column)| (column, i))
            .collect();
        let branches: Vec<&Logic> = inputs.iter().map(|&input| &self.logic[input]).collect();
        let logic = Logic::united(&branches);
        let id = self.names.take(&current.path, "union").id;
        let operator = self.push(New {
            id,
            kind: OperatorKind::Union,
            inputs: inputs.into_iter().map(forward).collect(),
            schema: wanted
                .iter()
                .map(|&column| current.columns[column].clone())
                .collect(),
            properties: current
                .properties
                .moved(&|column| columns.get(&column).copied()),
            span: current.span,
            logic: NewLogic::Stateless(String::new(), logic),
        });
        Emitted { operator, columns }
    }

    /// Exactly the wanted columns of a node, in the order of their numbers, under these names.
    fn exactly(&mut self, below: &Emitted, wanted: &Columns, names: &Schema, path: &Path) -> usize {
        let schema = &self.operators[below.operator].schema;
        let measured = wanted
            .iter()
            .map(|column| {
                let place = below.columns[column];
                let expr = Expr::column(place, schema[place].data_type.clone(), Default::default());
                Measured {
                    expr,
                    column: names[*column].clone(),
                }
            })
            .collect();
        self.push_project(below.operator, measured, path)
    }

    fn window_assign(
        &mut self,
        node: NodeId,
        window: Window,
        time: usize,
        wanted: &Columns,
    ) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let below = self.emit_input(node, wanted);
        let from = &self.operators[below.operator];
        let (first, first_below) = (current.columns.len() - 3, from.schema.len());
        let mut schema = from.schema.clone();
        schema.extend(current.columns[first..].iter().cloned());
        let mut columns = below.columns.clone();
        columns.extend((0..3).map(|i| (first + i, first_below + i)));
        let time = below.columns[&time];
        let identities = &self.logic[below.operator];
        let text = canonical::window(&window, &identities.columns[time].typed);
        let shown = canonical::window(&window, &identities.columns[time].name);
        let logic = identities.windowed(&text, window_columns(&shown));
        let role = match window {
            Window::Tumble { .. } => "tumble",
            Window::Hop { .. } => "hop",
            Window::Cumulate { .. } => "cumulate",
            Window::Assigned => {
                unreachable!("rows are assigned to windows that the text describes")
            }
        };
        let id = self.names.take(&current.path, role).id;
        let properties = self
            .properties(below.operator)
            .windowed(&window, first_below);
        let operator = self.push(New {
            id,
            kind: OperatorKind::WindowAssign { window, time },
            inputs: vec![forward(below.operator)],
            properties,
            schema,
            span: current.span,
            logic: NewLogic::Stateless(text, logic),
        });
        Emitted { operator, columns }
    }

    // ------------------------------------------------------------------ ends

    fn sink(&mut self, node: NodeId, table: &str) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let all: Columns = (0..current.columns.len()).collect();
        let below = self.emit(current.inputs[0], &all);
        let from = self.exactly(&below, &all, &current.columns, &current.path);
        let input = &self.operators[from];
        let partitioning = if self.tables.get(table).is_some_and(keeps_result) {
            Partitioning::Hash(result_key(&InputFacts {
                schema: &input.schema,
                changelog: input.changelog,
                unique_key: input.unique_key.as_deref(),
            }))
        } else {
            Partitioning::Forward
        };
        let identities = &self.logic[from].columns;
        let pairs = current.columns.iter().zip(identities);
        let detail: Vec<String> = pairs
            .map(|(column, from)| format!("{}={}", column.name, from.typed))
            .collect();
        let logic = self.logic[from].clone();
        let operator = self.push(New {
            id: current.named(),
            kind: OperatorKind::Sink {
                table: table.to_owned(),
            },
            inputs: vec![Input { from, partitioning }],
            schema: current.columns.clone(),
            properties: self.properties(from),
            span: current.span,
            logic: NewLogic::Stateless(detail.join(", "), logic),
        });
        Emitted {
            operator,
            columns: all.iter().map(|&column| (column, column)).collect(),
        }
    }

    fn output(&mut self, node: NodeId, names: &[String]) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let all: Columns = (0..current.columns.len()).collect();
        let below = self.emit(current.inputs[0], &all);
        let from = self.exactly(&below, &all, &current.columns, &current.path);
        let logic = self.logic[from].clone();
        let detail: Vec<&str> = logic
            .columns
            .iter()
            .map(|identity| identity.typed.as_str())
            .collect();
        let operator = self.push(New {
            id: current.named(),
            kind: OperatorKind::Output {
                names: names.to_vec(),
            },
            inputs: vec![forward(from)],
            schema: current.columns.clone(),
            properties: self.properties(from),
            span: current.span,
            logic: NewLogic::Stateless(detail.join(", "), logic.clone()),
        });
        Emitted {
            operator,
            columns: all.iter().map(|&column| (column, column)).collect(),
        }
    }

    /// The properties of an operator that was pushed.
    pub(crate) fn properties(&self, operator: usize) -> Properties {
        let operator = &self.operators[operator];
        Properties {
            changelog: operator.changelog,
            unique_key: operator.unique_key.clone(),
            event_time: operator.event_time,
            further_event_times: operator.further_event_times.clone(),
            window: operator.window,
        }
    }
}

impl Emitted {
    /// An expression over the node's columns, over the operator's.
    pub(crate) fn moved(&self, expr: &Expr) -> Expr {
        expr.clone().renumbered(&|column| self.columns[&column])
    }
}

/// An edge that stays on its worker.
pub(crate) fn forward(from: usize) -> Input {
    Input {
        from,
        partitioning: Partitioning::Forward,
    }
}
