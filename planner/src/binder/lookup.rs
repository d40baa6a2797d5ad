//! Joins with a table as it is when the row comes: `FOR SYSTEM_TIME AS OF PROCTIME()`.
//!
//! ```text
//!   orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.proc AS r ON o.currency = r.currency
//!
//!   rates ends        it is read to its end before any order is joined: what a batch engine answers, every time
//!   rates goes on     each order meets the rates at the end of the order's epoch, and never again: which, hangs on arrival
//! ```
//!
//! Either way a later change of the right takes nothing back, and nothing of the left is kept behind its join. A table with a
//! primary key and event time is read as the last version of each key; any other relation as its rows are.

use weir_types::{DataType, Diagnostic, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, Properties, SortExpr};
use crate::names::Path;
use crate::plan::{BinaryOp, Changelog, Expr, ExprKind, JoinKind, RankBounds, RankFunction};

use super::clock::is_clock;
use super::from::From;
use super::join::Keys;
use super::timed::Place;
use super::{Binder, Failed};

/// A join with the right as it is now, its conditions sorted out.
pub(super) struct LookupConditions {
    pub(super) join: JoinKind,
    pub(super) keys: Keys,
    /// What else must hold, over both sides' columns.
    pub(super) residual: Option<Expr>,
}

impl Binder<'_> {
    /// Whether a moment is the processing time of the left row.
    pub(super) fn is_now(&self, moment: &Expr, from: &From) -> bool {
        if is_clock(moment) {
            return true;
        }
        let Some(column) = moment.as_column() else {
            return false;
        };
        let holds = |relation: &&super::from::FromRelation| {
            (relation.first..relation.first + relation.relation.columns.len()).contains(&column)
        };
        from.relations
            .iter()
            .find(holds)
            .filter(|relation| relation.unnest.is_none())
            .is_some_and(|relation| {
                self.is_processing_time(relation.relation.node, column - relation.first)
            })
    }

    /// The relation whose rows are the last version of each key, where rows are versions.
    pub(super) fn last_versions(
        &mut self,
        node: NodeId,
        role: &str,
        path: &Path,
        span: Span,
    ) -> NodeId {
        let properties = self.properties(node).clone();
        let (Some(key), Some(time)) = (&properties.unique_key, properties.event_time) else {
            return node;
        };
        if properties.changelog != Changelog::AppendOnly
            || key.is_empty()
            || key.contains(&time)
            || self.goes_by_clock(node)
        {
            return node;
        }
        let schema = self.graph.nodes[node].columns.clone();
        let reference =
            |column: usize| Expr::column(column, schema[column].data_type.clone(), span);
        let kind = NodeKind::Rank {
            partition: key.iter().map(|&column| reference(column)).collect(),
            order: vec![SortExpr {
                expr: reference(time),
                descending: true,
                nulls_first: false,
            }],
            function: RankFunction::RowNumber,
            bounds: RankBounds::ALL,
        };
        let ranked = self.rank_node(node, kind, role, path, span);
        let number = schema.len();
        let first = Expr {
            kind: ExprKind::Binary {
                op: BinaryOp::Eq,
                left: Box::new(Expr::column(number, DataType::Int64, span)),
                right: Box::new(Expr::literal(
                    weir_types::Scalar::Int(1),
                    DataType::Int64,
                    span,
                )),
            },
            data_type: DataType::Boolean,
            span,
        };
        let last = self.filter(ranked, Some(first), path);
        let exprs = (0..schema.len()).map(reference).collect();
        let node = self.project(last, exprs, schema, path, span);
        self.graph.nodes[node].properties.unique_key = Some(key.clone());
        node
    }

    /// Adds the join.
    pub(super) fn lookup_join(
        &mut self,
        [left, right]: [NodeId; 2],
        conditions: LookupConditions,
        place: &Place<'_>,
    ) -> Result<NodeId, Failed> {
        let LookupConditions {
            join,
            keys,
            residual,
        } = conditions;
        self.check_volatile_residual(residual.as_ref())?;
        let complete = self.is_bounded(right) && !self.moves_with_clock(right);
        if !complete && self.properties(left).changelog == Changelog::Retractions {
            return self.fail(
                Diagnostic::error(
                    codes::LOOKUP_LEFT,
                    "a join with a table as it is now reads rows that are only inserted",
                )
                .at(
                    place.span,
                    "the left side can take rows back, when this table may be another one already",
                )
                .help(
                    "without FOR SYSTEM_TIME AS OF it is a regular join, which follows both sides",
                )
                .help("or look up below the aggregate, where the rows come in"),
            );
        }
        let id = self.take_id(place.path, place.role, place.span);
        let width = self.graph.nodes[left].columns.len();
        let properties = Properties::looked_up(
            join,
            (self.properties(left), self.properties(right)),
            width,
            &keys.right,
        );
        let mut columns = self.graph.nodes[left].columns.clone();
        columns.extend(self.graph.nodes[right].columns.iter().cloned());
        Ok(self.add(Node {
            kind: NodeKind::LookupJoin {
                join,
                left_keys: keys.left,
                right_keys: keys.right,
                null_equal: keys.null_equal,
                residual,
                complete,
            },
            inputs: vec![left, right],
            columns,
            properties,
            path: place.path.clone(),
            id: Some(id),
            shared: false,
            span: place.span,
        }))
    }

    /// Whether its rows come and go with the clock, whatever its sources do.
    fn moves_with_clock(&self, node: NodeId) -> bool {
        self.graph.below(node).iter().any(|&node| {
            matches!(
                self.graph.nodes[node].kind,
                NodeKind::TemporalFilter { .. } | NodeKind::Clock { .. }
            )
        })
    }
}
