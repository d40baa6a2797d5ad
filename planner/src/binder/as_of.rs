//! Joins as of a point in time: each row of the left with the last row of the right, of the same key, that is not later.
//!
//! ```text
//!   a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k
//!   a JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k             b has a primary key: its row of that moment
//! ```
//!
//! Both are one operator. What ON says of the right alone is judged before the match, and so are its equalities; what
//! WHERE says, after it: [`super::join`] leaves such conjuncts above.

use sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor, TableVersion};
use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::logical::NodeId;
use crate::names::Path;
use crate::plan::{BinaryOp, Changelog, Expr, ExprKind, JoinKind, JoinTiming};
use crate::syntax::span_of;

use super::expr::{Aggregates, ExprBinder};
use super::from::From;
use super::join::key_of;
use super::timed::{Comparison, Conditions, Place, mirrored};
use super::{Binder, Failed};

/// What makes a relation of FROM the right side of such a join.
pub(crate) struct AsOf {
    /// MATCH_CONDITION over the scope; of a version: the moment.
    condition: Expr,
    /// Whether `condition` is the moment of FOR SYSTEM_TIME AS OF.
    is_version: bool,
    /// Conjuncts of ON over the scope.
    on: Vec<Expr>,
}

const EXAMPLE: &str = "ASOF JOIN quotes AS q MATCH_CONDITION (t.ts >= q.ts) ON t.symbol = q.symbol";

/// The moment of FOR SYSTEM_TIME AS OF behind a relation.
pub(super) fn version_of(factor: &TableFactor) -> Option<&ast::Expr> {
    match factor {
        TableFactor::Table {
            version: Some(TableVersion::ForSystemTimeAsOf(moment)),
            ..
        } => Some(moment),
        _ => None,
    }
}

impl Binder<'_> {
    /// A version where no join says whose moment is meant.
    pub(super) fn misplaced_version(&mut self, moment: &ast::Expr) -> Result<(), Failed> {
        self.fail(
            Diagnostic::error(
                codes::AS_OF_JOIN,
                "FOR SYSTEM_TIME AS OF stands behind the table that is joined",
            )
            .at(span_of(moment), "no row on the left has this moment")
            .help(
                "orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency",
            ),
        )
    }

    /// Binds the conditions of a join as of a point in time; `false` if it is none.
    pub(super) fn as_of_conditions(
        &mut self,
        join: &ast::Join,
        from: &mut From,
    ) -> Result<bool, Failed> {
        let (condition, constraint) = match (&join.join_operator, version_of(&join.relation)) {
            (
                JoinOperator::AsOf {
                    match_condition,
                    constraint,
                },
                None,
            ) => (match_condition, constraint),
            (JoinOperator::Join(constraint) | JoinOperator::Inner(constraint), Some(moment)) => {
                (moment, constraint)
            }
            (_, Some(moment)) => return self.misplaced_version(moment).map(|()| false),
            _ => return Ok(false),
        };
        let is_version = version_of(&join.relation).is_some();
        let JoinConstraint::On(on) = constraint else {
            return self.as_of_problem(
                "a join as of a point in time needs ON",
                span_of(&join.relation),
                "whose row of that moment?",
            );
        };
        let mut binder =
            ExprBinder::new(&from.scope, Aggregates::NotIn("ON"), &mut self.diagnostics);
        let on = binder.bind_condition(on, "ON")?.conjuncts();
        let condition = binder.bind(condition)?;
        if let Some(relation) = from.relations.last_mut() {
            relation.as_of = Some(AsOf {
                condition,
                is_version,
                on,
            });
        }
        Ok(true)
    }

    fn as_of_problem<T>(&mut self, message: &str, span: Span, label: &str) -> Result<T, Failed> {
        self.fail(
            Diagnostic::error(codes::AS_OF_JOIN, message)
                .at(span, label)
                .help(format!("for example … {EXAMPLE}")),
        )
    }

    /// Adds the join.
    pub(super) fn as_of_join(
        &mut self,
        from: &From,
        index: usize,
        [left, right]: [NodeId; 2],
        as_of: &AsOf,
        path: &Path,
    ) -> Result<NodeId, Failed> {
        let relation = &from.relations[index];
        let first = relation.first;
        let timing = self.as_of_timing([left, right], as_of, first, relation.span)?;
        let mut conditions = Conditions {
            left_keys: Vec::new(),
            right_keys: Vec::new(),
            rest: Vec::new(),
        };
        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        for conjunct in &as_of.on {
            let columns = conjunct.columns();
            match key_of(conjunct.clone(), first) {
                Ok((left_key, right_key)) => {
                    conditions.left_keys.push(left_key);
                    let right_key = right_key.renumbered(&|column| column - first);
                    conditions.right_keys.push(right_key);
                }
                Err(conjunct) if columns.iter().all(|&column| column >= first) => {
                    of_right.push(conjunct.renumbered(&|column| column - first));
                }
                Err(conjunct) if columns.iter().all(|&column| column < first) => {
                    of_left.push(conjunct);
                }
                Err(conjunct) => {
                    return self.as_of_problem(
                        "ON of a join as of a point in time takes equalities between the two sides",
                        conjunct.span,
                        "not an equality",
                    );
                }
            }
        }
        if as_of.is_version {
            self.check_version_key(right, &conditions, relation.span)?;
        }
        let left = self.filter(left, Expr::conjunction(of_left), path);
        let right = self.filter(right, Expr::conjunction(of_right), path);
        let place = Place {
            relation: &relation.name,
            path,
            span: relation.span,
        };
        self.timed_join([left, right], JoinKind::Inner, timing, conditions, &place)
    }

    /// The two event times, which have to be compared as they are.
    fn as_of_timing(
        &mut self,
        [left, right]: [NodeId; 2],
        as_of: &AsOf,
        first: usize,
        span: Span,
    ) -> Result<JoinTiming, Failed> {
        let (left_properties, right_properties) = (self.properties(left), self.properties(right));
        let left_times: Vec<usize> = left_properties.event_times().collect();
        let right_times: Vec<usize> = right_properties.event_times().collect();
        let appends = [left_properties, right_properties]
            .iter()
            .all(|side| side.changelog == Changelog::AppendOnly);
        if !appends {
            return self.as_of_problem(
                "a join as of a point in time reads rows that are only inserted",
                span,
                "a side of this join can take rows back",
            );
        }
        let Some(&right_time) = right_times.first() else {
            return self.as_of_problem(
                "a join as of a point in time needs the event time of both sides",
                span,
                "no WATERMARK here, or it has ended below",
            );
        };
        let condition = &as_of.condition;
        if as_of.is_version {
            return match condition
                .as_column()
                .filter(|time| left_times.contains(time))
            {
                Some(left_time) => Ok(JoinTiming::AsOf {
                    left_time,
                    right_time,
                    strict: false,
                }),
                None => self.as_of_problem(
                    "FOR SYSTEM_TIME AS OF takes the event time of the left side",
                    condition.span,
                    "not an event-time column of it",
                ),
            };
        }
        let comparison = match &condition.kind {
            ExprKind::Binary { op, left, right } => Comparison::of(*op, left, right),
            _ => None,
        };
        let comparison = comparison.filter(|comparison| comparison.difference == 0);
        let sides = comparison.and_then(|comparison| match comparison.columns {
            [a, b] if a < first && b >= first => Some((comparison.op, a, b - first)),
            [a, b] if b < first && a >= first => Some((mirrored(comparison.op), b, a - first)),
            _ => None,
        });
        match sides {
            Some((op @ (BinaryOp::GtEq | BinaryOp::Gt), left_time, right_time))
                if left_times.contains(&left_time) && right_times.contains(&right_time) =>
            {
                Ok(JoinTiming::AsOf {
                    left_time,
                    right_time,
                    strict: op == BinaryOp::Gt,
                })
            }
            _ => self.as_of_problem(
                "MATCH_CONDITION compares the event times of both sides: left >= right, or left > right",
                condition.span,
                "something else",
            ),
        }
    }

    /// A version is one row of a primary key.
    fn check_version_key(
        &mut self,
        right: NodeId,
        conditions: &Conditions,
        span: Span,
    ) -> Result<(), Failed> {
        let key = self.properties(right).unique_key.clone();
        let is_key = |column: &usize| {
            let mut keys = conditions.right_keys.iter();
            keys.any(|key| key.as_column() == Some(*column))
        };
        match key {
            Some(key) if key.iter().all(is_key) && key.len() == conditions.right_keys.len() => Ok(()),
            _ => self.as_of_problem(
                "FOR SYSTEM_TIME AS OF joins by the primary key of its table",
                span,
                "declare PRIMARY KEY (…) NOT ENFORCED, and compare all of its columns; or write ASOF JOIN",
            ),
        }
    }
}
