//! Windowed aggregates: GROUP BY over the columns of a window becomes an aggregate over the rows *below* the window.
//!
//! ```text
//!   GROUP BY airport, window_start            WindowAggregate(TUMBLE(ts, 1 h), keys: airport)
//!     └ Filter delay > 0                        └ Filter delay > 0
//!        └ WindowAssign TUMBLE(ts, 1 h)    ─▶      └ flights
//!           └ flights
//! ```
//!
//! Rows that carry their windows already (a window's result that is grouped once more, an aggregate that computes with
//! the window of each row) are grouped by the columns that they carry: such a window is final when the watermark has
//! reached its end, like any other.
//!
//! Between the window and the GROUP BY there may be filters and projections, through views and CTEs without state too:
//! they are written again over the rows below the window. A condition on the window's columns alone goes above.

use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::logical::{AggregateCall, Graph, NodeId, NodeKind};
use crate::names::Path;
use crate::plan::{Changelog, Expr, GroupColumn, Window};

use super::group::GroupKeys;
use super::{Binder, Failed};

/// A chain of filters and projections, written over the columns of the node below it.
pub(crate) struct Chain {
    /// The node below.
    pub(crate) base: NodeId,
    /// For each column of the chain's top its expression over the base's columns.
    pub(crate) exprs: Vec<Expr>,
    /// All conditions on the way, over the base's columns.
    pub(crate) conjuncts: Vec<Expr>,
}

/// What a windowed aggregate is built of.
pub(crate) struct Windowed {
    /// The rows below the window, filtered.
    pub(crate) input: NodeId,
    pub(crate) window: Window,
    /// The event-time column of `input`; of rows that carry their windows, the column of the window's end.
    pub(crate) time: usize,
    /// The keys that are not the window's, over `input`.
    pub(crate) keys: Vec<Expr>,
    /// For each key of the text: its place in `keys`, or the window's column that it is.
    pub(crate) of_key: Vec<WindowedKey>,
    /// Over `input`.
    pub(crate) aggregates: Vec<AggregateCall>,
    /// For each column of FROM that is a window's column: which one.
    pub(crate) window_columns: Vec<Option<GroupColumn>>,
    /// Conditions on the window's columns, as (0: start, 1: end, 2: time): to be judged above.
    pub(crate) above: Vec<Expr>,
}

/// A key of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WindowedKey {
    /// The n-th of the other keys.
    Other(usize),
    /// The window's column.
    Window(GroupColumn),
}

impl Graph {
    /// Follows filters and projections down from `node`.
    pub(crate) fn chain(&self, node: NodeId) -> Chain {
        let columns = self.nodes[node].columns.iter().enumerate();
        let exprs = columns
            .map(|(i, column)| Expr::column(i, column.data_type.clone(), Span::default()))
            .collect();
        let mut chain = Chain {
            base: node,
            exprs,
            conjuncts: Vec::new(),
        };
        loop {
            let current = &self.nodes[chain.base];
            if current.shared {
                return chain;
            }
            match &current.kind {
                NodeKind::Filter { predicate } => {
                    // What is filtered first is judged first: a later condition may fail on the rows that are gone.
                    let later = std::mem::take(&mut chain.conjuncts);
                    chain.conjuncts = predicate.clone().conjuncts();
                    chain.conjuncts.extend(later);
                }
                NodeKind::Project { exprs } => {
                    let below = |column: usize| exprs[column].clone();
                    for expr in chain.exprs.iter_mut().chain(&mut chain.conjuncts) {
                        *expr = expr.substituted(&below);
                    }
                }
                _ => return chain,
            }
            chain.base = current.inputs[0];
        }
    }
}

impl Binder<'_> {
    /// The windowed aggregate that a GROUP BY over `input` is, or `None` if no key is a window's column.
    pub(crate) fn windowed(
        &mut self,
        input: NodeId,
        keys: &GroupKeys,
        aggregates: &[AggregateCall],
        path: &Path,
    ) -> Result<Option<Windowed>, Failed> {
        let reported = self.diagnostics.len();
        match self.windowed_below(input, keys, aggregates, path) {
            Ok(Some(windowed)) => Ok(Some(windowed)),
            Ok(None) => Ok(self.windowed_rows(input, keys, aggregates)),
            // What looks at the window of each row is computed over rows that have one.
            Err(Failed) => match self.windowed_rows(input, keys, aggregates) {
                Some(windowed) => {
                    self.diagnostics.truncate(reported);
                    Ok(Some(windowed))
                }
                None => Err(Failed),
            },
        }
    }

    /// A windowed aggregate over rows that carry their windows: a window's result, a session, a join of windows. The
    /// window is known by its end, which has to be a key.
    fn windowed_rows(
        &self,
        input: NodeId,
        keys: &GroupKeys,
        aggregates: &[AggregateCall],
    ) -> Option<Windowed> {
        let properties = self.properties(input);
        let columns = properties.window?;
        let end = columns.end?;
        if properties.changelog != Changelog::AppendOnly {
            return None;
        }
        let (mut others, mut of_key) = (Vec::new(), Vec::new());
        for key in &keys.keys {
            of_key.push(match key.as_column() {
                Some(column) if column == end => WindowedKey::Window(GroupColumn::WindowEnd),
                Some(column) if Some(column) == columns.time => {
                    WindowedKey::Window(GroupColumn::WindowTime)
                }
                _ => {
                    others.push(key.clone());
                    WindowedKey::Other(others.len() - 1)
                }
            });
        }
        of_key
            .iter()
            .any(|key| matches!(key, WindowedKey::Window(_)))
            .then(|| {
                let width = self.graph.nodes[input].columns.len();
                let which = |column: usize| match column {
                    _ if column == end => Some(GroupColumn::WindowEnd),
                    _ if Some(column) == columns.time => Some(GroupColumn::WindowTime),
                    _ => None,
                };
                Windowed {
                    input,
                    window: Window::Assigned,
                    time: end,
                    keys: others,
                    of_key,
                    aggregates: aggregates.to_vec(),
                    window_columns: (0..width).map(which).collect(),
                    above: Vec::new(),
                }
            })
    }

    /// A windowed aggregate over the rows below the window.
    fn windowed_below(
        &mut self,
        input: NodeId,
        keys: &GroupKeys,
        aggregates: &[AggregateCall],
        path: &Path,
    ) -> Result<Option<Windowed>, Failed> {
        let chain = self.graph.chain(input);
        let base = &self.graph.nodes[chain.base];
        let NodeKind::WindowAssign { window, time } = base.kind else {
            return Ok(None);
        };
        let below = base.inputs[0];
        let first = self.graph.nodes[below].columns.len();
        let column_of = |expr: &Expr| {
            expr.as_column()
                .and_then(|column| window_column(column, first))
        };
        let written = |expr: &Expr| expr.substituted(&|column| chain.exprs[column].clone());
        let written_keys: Vec<Expr> = keys.keys.iter().map(&written).collect();
        let names_window = |key: &Expr| match column_of(key) {
            Some(GroupColumn::WindowStart) => window.start_tells_end(),
            column => column.is_some(),
        };
        if !written_keys.iter().any(names_window) {
            return Ok(None);
        }
        let (mut others, mut of_key) = (Vec::new(), Vec::new());
        for key in written_keys {
            match column_of(&key) {
                Some(column) => of_key.push(WindowedKey::Window(column)),
                None => {
                    self.check_below(&key, first, "GROUP BY")?;
                    of_key.push(WindowedKey::Other(others.len()));
                    others.push(key);
                }
            }
        }
        let mut calls = Vec::with_capacity(aggregates.len());
        for call in aggregates {
            let call = call.mapped(&written);
            for part in call.parts() {
                self.check_below(part, first, "an aggregate")?;
            }
            calls.push(call);
        }
        let (mut conditions, mut above) = (Vec::new(), Vec::new());
        for conjunct in chain.conjuncts {
            let columns = conjunct.columns();
            if columns.iter().all(|&column| column < first) {
                conditions.push(conjunct);
            } else if columns.iter().all(|&column| column >= first) {
                above.push(conjunct.renumbered(&|column| column - first));
            } else {
                self.check_below(&conjunct, first, "a condition together with other columns")?;
            }
        }
        let window_columns = chain.exprs.iter().map(column_of).collect();
        let input = self.filter(below, Expr::conjunction(conditions), path);
        Ok(Some(Windowed {
            input,
            window,
            time,
            keys: others,
            of_key,
            aggregates: calls,
            window_columns,
            above,
        }))
    }

    /// What is computed for each row below the window cannot know the window.
    fn check_below(&mut self, expr: &Expr, first: usize, place: &str) -> Result<(), Failed> {
        if expr.columns().iter().all(|&column| column < first) {
            return Ok(());
        }
        self.fail(
            Diagnostic::error(
                codes::WINDOW_COLUMN_USE,
                format!("the window's columns cannot be used in {place} here"),
            )
            .at(expr.span, "this needs the window of each row")
            .help(
                "add window_end to GROUP BY: then rows are grouped by the windows that they carry",
            ),
        )
    }
}

fn window_column(column: usize, first: usize) -> Option<GroupColumn> {
    match column.checked_sub(first)? {
        0 => Some(GroupColumn::WindowStart),
        1 => Some(GroupColumn::WindowEnd),
        2 => Some(GroupColumn::WindowTime),
        _ => None,
    }
}
