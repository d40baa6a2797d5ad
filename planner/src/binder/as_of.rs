//! Joins as of a point in time: each row of the left with the last row of the right, of the same key, that is not later.
//!
//! ```text
//!   a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k
//!   a ASOF JOIN b ON a.k = b.k AND a.ts >= b.ts
//!   a JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k             b has a primary key: its row of that moment
//! ```
//!
//! A moment that is processing time makes another join: `lookup.rs`.
//!
//! All are one operator. What ON says of the right alone is judged before the match, and so are its equalities; what
//! WHERE says, after it: [`super::join`] leaves such conjuncts above. LEFT keeps the left rows without a match: what ON says of
//! them alone is then a part of their key, which is NULL where it does not hold.

use sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor, TableVersion};
use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::logical::NodeId;
use crate::names::Path;
use crate::plan::{BinaryOp, Changelog, Expr, ExprKind, JoinKind, JoinTiming};
use crate::syntax::span_of;

use super::expr::{Aggregates, ExprBinder};
use super::from::From;
use super::join::key_of;
use super::query::Context;
use super::timed::{Comparison, Conditions, Place};
use super::{Binder, Failed};

/// What makes a relation of FROM the right side of such a join.
pub(crate) struct AsOf {
    /// MATCH_CONDITION over the scope; of a version: the moment.
    condition: Expr,
    /// Whether `condition` is the moment of FOR SYSTEM_TIME AS OF.
    is_version: bool,
    join: JoinKind,
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
        context: &Context,
    ) -> Result<bool, Failed> {
        use JoinOperator as J;
        let (condition, constraint, kind) = match (&join.join_operator, version_of(&join.relation))
        {
            (
                J::AsOf {
                    match_condition,
                    constraint,
                },
                None,
            ) => {
                let (condition, is_left) = match_condition_of(match_condition);
                let kind = if is_left {
                    JoinKind::Left
                } else {
                    JoinKind::Inner
                };
                (condition, constraint, kind)
            }
            (J::Join(constraint) | J::Inner(constraint), Some(moment)) => {
                (Some(moment), constraint, JoinKind::Inner)
            }
            (J::Left(constraint) | J::LeftOuter(constraint), Some(moment)) => {
                (Some(moment), constraint, JoinKind::Left)
            }
            (_, Some(moment)) => return self.misplaced_version(moment).map(|()| false),
            _ => return Ok(false),
        };
        let is_version = version_of(&join.relation).is_some();
        if is_version && self.looks_up(condition, from, context) {
            return Ok(false);
        }
        let JoinConstraint::On(on) = constraint else {
            return self.as_of_problem(
                "a join as of a point in time needs ON",
                span_of(&join.relation),
                "whose row of that moment?",
            );
        };
        let mut binder =
            ExprBinder::new(&from.scope, Aggregates::NotIn("ON"), &mut self.diagnostics);
        let mut on = binder.bind_condition(on, "ON")?.conjuncts();
        let condition = match condition {
            Some(condition) => binder.bind(condition)?,
            None => {
                let first = from.scope.relations.last().map_or(0, |last| last.first);
                self.inequality(&mut on, first, span_of(&join.relation))?
            }
        };
        if let Some(relation) = from.relations.last_mut() {
            relation.as_of = Some(AsOf {
                condition,
                is_version,
                join: kind,
                on,
            });
        }
        from.join_last(kind, Vec::new());
        Ok(true)
    }

    /// Whether the moment is the processing time of the left row: then the relation is looked up as it is, and the rest is a
    /// join like any other.
    fn looks_up(&mut self, moment: Option<&ast::Expr>, from: &mut From, context: &Context) -> bool {
        // Its mistakes are found where the moment is bound in earnest.
        let reported = self.diagnostics.len();
        let mut binder =
            ExprBinder::new(&from.scope, Aggregates::NotIn("ON"), &mut self.diagnostics);
        let bound = moment.and_then(|moment| binder.bind(moment).ok());
        self.diagnostics.truncate(reported);
        if !bound.is_some_and(|moment| self.is_now(&moment, from)) {
            return false;
        }
        if let Some(relation) = from.relations.last() {
            let (node, span) = (relation.relation.node, relation.span);
            let role = format!("versions({})", crate::names::quoted(&relation.name));
            let node = self.last_versions(node, &role, &context.path, span);
            if let Some(relation) = from.relations.last_mut() {
                (relation.relation.node, relation.lookup) = (node, true);
            }
        }
        true
    }

    /// The conjunct of ON that compares the times of both sides, if MATCH_CONDITION does not.
    fn inequality(&mut self, on: &mut Vec<Expr>, first: usize, span: Span) -> Result<Expr, Failed> {
        let compares = |conjunct: &Expr| {
            let columns = conjunct.columns();
            let is_inequality = matches!(
                conjunct.kind,
                ExprKind::Binary {
                    op: BinaryOp::Lt | BinaryOp::LtEq | BinaryOp::Gt | BinaryOp::GtEq,
                    ..
                }
            );
            is_inequality
                && columns.iter().any(|&column| column < first)
                && columns.iter().any(|&column| column >= first)
        };
        match on.iter().filter(|conjunct| compares(conjunct)).count() {
            1 => {}
            0 => {
                return self.as_of_problem(
                    "ON of an ASOF JOIN compares the times of both sides",
                    span,
                    "no conjunct of its ON does",
                );
            }
            _ => {
                return self.as_of_problem(
                    "ON of an ASOF JOIN takes one inequality between the two sides",
                    span,
                    "its ON has several: which of them says what is nearest?",
                );
            }
        }
        let place = on.iter().position(compares).unwrap_or_default();
        Ok(on.remove(place))
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
        let (right, version_key) = match as_of.is_version {
            true => self.versions(right, relation.span, path)?,
            false => (right, None),
        };
        let timing = self.as_of_timing([left, right], as_of, first, relation.span)?;
        let mut conditions = Conditions {
            left_keys: Vec::new(),
            right_keys: Vec::new(),
            rest: Vec::new(),
        };
        let (mut of_left, mut of_right, mut of_match) = (Vec::new(), Vec::new(), Vec::new());
        for conjunct in &as_of.on {
            let columns = conjunct.columns();
            match key_of(conjunct.clone(), first) {
                Ok((left_key, right_key)) => {
                    conditions.left_keys.push(left_key);
                    let right_key = right_key.renumbered(&|column| column - first);
                    conditions.right_keys.push(right_key);
                }
                // The version of a moment is there before anybody asks what it holds.
                Err(conjunct) if as_of.is_version && columns.iter().any(|&c| c >= first) => {
                    of_match.push(conjunct);
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
            self.check_version_key(version_key, &conditions, relation.span)?;
        }
        if let Some(conjunct) = of_match.first()
            && as_of.join == JoinKind::Left
        {
            return self.as_of_problem(
                "ON of a LEFT JOIN with a version takes equalities with its key",
                conjunct.span,
                "what else a version must fulfil is not judged here: put it into CASE in the SELECT list",
            );
        }
        let left = match as_of.join {
            JoinKind::Left => {
                conditions.demand_of_left(of_left);
                left
            }
            _ => self.filter(left, Expr::conjunction(of_left), path),
        };
        let right = self.filter(right, Expr::conjunction(of_right), path);
        let place = Place {
            role: &relation.role,
            path,
            span: relation.span,
        };
        let node = self.timed_join([left, right], as_of.join, timing, conditions, &place)?;
        Ok(self.filter(node, Expr::conjunction(of_match), path))
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
            [a, b] if b < first && a >= first => Some((comparison.op.mirrored(), b, a - first)),
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
        key: Option<Vec<usize>>,
        conditions: &Conditions,
        span: Span,
    ) -> Result<(), Failed> {
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

impl Conditions {
    /// Left rows for which this does not hold match nothing: their first key is NULL.
    fn demand_of_left(&mut self, conjuncts: Vec<Expr>) {
        let Some(condition) = Expr::conjunction(conjuncts) else {
            return;
        };
        let (span, one) = (condition.span, |span| {
            Expr::literal(Scalar::Int(1), DataType::Int64, span)
        });
        if self.left_keys.is_empty() {
            self.left_keys.push(one(span));
            self.right_keys.push(one(span));
        }
        let key = self.left_keys[0].clone();
        self.left_keys[0] = Expr {
            data_type: key.data_type.clone(),
            kind: ExprKind::Case {
                branches: vec![(condition, key)],
                otherwise: None,
            },
            span,
        };
    }
}

/// MATCH_CONDITION without the mark that the token pass has left there (`syntax/as_of.rs`): the condition, if it is not in ON,
/// and whether left rows without a match are kept.
fn match_condition_of(condition: &ast::Expr) -> (Option<&ast::Expr>, bool) {
    match crate::syntax::as_of_mark(condition) {
        Some((is_left, condition)) => (condition, is_left),
        None => (Some(condition), false),
    }
}
