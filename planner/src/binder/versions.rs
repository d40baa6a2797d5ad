//! What FOR SYSTEM_TIME AS OF reads: the versions of a table, one for each change of a row.
//!
//! ```text
//!   a table with a primary key, only inserted into     each row is a version of its key, from its event time on
//!   a view that keeps the last row of each key         each row *below its ranking* is one:
//!
//!     SELECT currency, rate, ts FROM (
//!       SELECT *, row_number() OVER (PARTITION BY currency ORDER BY ts DESC) AS n FROM rates
//!     ) AS ranked WHERE n = 1
//! ```
//!
//! The ranking takes back what the next row replaces; at any moment it holds the last row up to it, and so does the join
//! that looks for the last version. The join therefore reads the rows that the view ranks, and keeps of them what it needs.

use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::logical::{NodeId, NodeKind};
use crate::names::Path;
use crate::plan::{Changelog, Expr, RankFunction};
use crate::ranks::asks_for_first;

use super::{Binder, Failed};

/// The rows below a view that keeps the last row of each key.
struct Ranked {
    /// What is ranked.
    input: NodeId,
    /// The view's columns over it.
    columns: Vec<Expr>,
    key: Vec<usize>,
    time: usize,
}

impl Binder<'_> {
    /// The versions behind a relation, with its columns, and the columns that tell its rows apart.
    pub(super) fn versions(
        &mut self,
        right: NodeId,
        span: Span,
        path: &Path,
    ) -> Result<(NodeId, Option<Vec<usize>>), Failed> {
        let properties = self.properties(right);
        if properties.changelog == Changelog::AppendOnly {
            return Ok((right, properties.unique_key.clone()));
        }
        let ranked = match self.last_rows(right) {
            Ok(ranked) => ranked,
            Err(why) => return self.no_versions(span, why),
        };
        let place = |column: usize| {
            let mut columns = ranked.columns.iter();
            columns.position(|expr| expr.as_column() == Some(column))
        };
        let Some(key) = ranked.key.iter().map(|&column| place(column)).collect() else {
            return self.no_versions(span, "it does not select the columns of PARTITION BY");
        };
        if place(ranked.time).is_none() {
            return self.no_versions(
                span,
                "it does not select the event time that it is ordered by",
            );
        }
        let columns = self.graph.nodes[right].columns.clone();
        let time = place(ranked.time);
        let node = self.project(ranked.input, ranked.columns, columns, path, span);
        // Of several event times the one that orders the versions.
        let properties = &mut self.graph.nodes[node].properties;
        (properties.event_time, properties.further_event_times) = (time, Vec::new());
        Ok((node, Some(key)))
    }

    /// Looks through what a view does above its ranking.
    fn last_rows(&self, mut node: NodeId) -> Result<Ranked, &'static str> {
        let mut columns: Vec<Expr> = identity(&self.graph.nodes[node].columns);
        let mut is_bounded = false;
        loop {
            let current = &self.graph.nodes[node];
            match &current.kind {
                NodeKind::Project { exprs } => {
                    columns = columns
                        .into_iter()
                        .map(|column| match column.as_column() {
                            Some(place) => Some(exprs[place].clone()),
                            None => Some(column).filter(|expr| expr.columns().is_empty()),
                        })
                        .collect::<Option<_>>()
                        .ok_or("it computes columns from the last row of each key")?;
                }
                NodeKind::Filter { predicate } => {
                    let input = current.inputs[0];
                    let conjuncts = predicate.clone().conjuncts();
                    if !conjuncts
                        .iter()
                        .all(|one| asks_for_first(&self.graph, input, one))
                    {
                        return Err("it leaves out some of the last rows by a condition");
                    }
                    is_bounded = true;
                }
                NodeKind::Rank { .. } if is_bounded => return self.last_row(node, columns),
                _ => return Err("it is no ranking that keeps the last row of each key"),
            }
            node = current.inputs[0];
        }
    }

    fn last_row(&self, node: NodeId, columns: Vec<Expr>) -> Result<Ranked, &'static str> {
        let current = &self.graph.nodes[node];
        let NodeKind::Rank {
            partition,
            order,
            function: RankFunction::RowNumber,
            ..
        } = &current.kind
        else {
            return Err("its rows are not numbered by row_number()");
        };
        let input = current.inputs[0];
        let properties = self.properties(input);
        let key: Option<Vec<usize>> = partition.iter().map(Expr::as_column).collect();
        let time = match order.as_slice() {
            [sort] if sort.descending => sort.expr.as_column(),
            _ => None,
        };
        let time = time.filter(|time| properties.event_times().any(|known| known == *time));
        if properties.changelog != Changelog::AppendOnly {
            return Err("the rows that it ranks can be taken back");
        }
        let (Some(key), Some(time)) = (key, time) else {
            return Err(
                "its rows are not partitioned by columns and ordered by event time, descending",
            );
        };
        let number = current.columns.len() - 1;
        let one = |column: Expr| match column.as_column() {
            // The number of the last row is 1.
            Some(place) if place == number => {
                Expr::literal(Scalar::Int(1), DataType::Int64, column.span)
            }
            _ => column,
        };
        Ok(Ranked {
            input,
            columns: columns.into_iter().map(one).collect(),
            key,
            time,
        })
    }

    fn no_versions<T>(&mut self, span: Span, why: &str) -> Result<T, Failed> {
        self.fail(
            Diagnostic::error(codes::VERSIONS, "this relation has no versions")
                .at(span, format!("its rows can be taken back, and {why}"))
                .help("read a table with a PRIMARY KEY whose rows are only inserted")
                .help("or a view: SELECT … FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY ts DESC) AS n FROM t) AS r WHERE n = 1"),
        )
    }
}

fn identity(columns: &[weir_types::Column]) -> Vec<Expr> {
    let columns = columns.iter().enumerate();
    columns
        .map(|(place, column)| Expr::column(place, column.data_type.clone(), Span::default()))
        .collect()
}
