//! Subqueries beside aggregates: they are joined above the groups.
//!
//! ```text
//!   SELECT k, sum(x) FROM t GROUP BY k HAVING sum(x) > (SELECT avg(y) FROM u)
//!
//!   t ─▶ aggregate(k; sum(x)) ─▶ join scalar(u) ─▶ filter sum(x) > value ─▶ SELECT list
//! ```
//!
//! While the block is bound, what such a join adds are columns far behind all others ([`LIFTED_COLUMNS`]); the groups pass
//! them on, and then they get their places.

use weir_types::Span;

use crate::logical::{AggregateCall, NodeId};
use crate::names::Path;
use crate::plan::Expr;

use super::super::from::{From, FromRelation};
use super::super::group::GroupKeys;
use super::super::scope::Scope;
use super::super::{Binder, Failed, Relation};
use super::LIFTED_COLUMNS;

/// The clauses of a block that are computed over its groups.
pub(in super::super) struct Groups {
    pub(in super::super) keys: GroupKeys,
    pub(in super::super) aggregates: Vec<AggregateCall>,
    pub(in super::super) having: Option<Expr>,
    /// What is joined above the groups.
    pub(in super::super) above: Vec<FromRelation>,
}

impl Binder<'_> {
    /// The groups of a block, HAVING, what is joined above them, and the block's expressions over all of it.
    pub(in super::super) fn groups(
        &mut self,
        input: NodeId,
        scope: &Scope,
        groups: Groups,
        exprs: &[Expr],
        path: &Path,
    ) -> Result<(NodeId, Vec<Expr>), Failed> {
        let Groups {
            keys,
            aggregates,
            having,
            above,
        } = groups;
        if above.is_empty() {
            return self.grouped(input, scope, keys, aggregates, having, exprs, path);
        }
        let mut wanted = exprs.to_vec();
        wanted.extend(having);
        let first_on = wanted.len();
        wanted.extend(
            above
                .iter()
                .flat_map(|relation| relation.on.iter().cloned()),
        );
        let (node, wanted) = self.grouped(input, scope, keys, aggregates, None, &wanted, path)?;
        let columns = self.graph.nodes[node].columns.clone();
        let width = columns.len();
        let place = |column: usize| match column.checked_sub(LIFTED_COLUMNS) {
            Some(lifted) => width + lifted,
            None => column,
        };
        let mut wanted: Vec<Expr> = wanted
            .into_iter()
            .map(|expr| expr.renumbered(&place))
            .collect();
        let mut on = wanted.split_off(first_on).into_iter();
        let having = wanted.split_off(exprs.len());
        let mut from = From::default();
        let (name, role) = (String::new(), String::new());
        from.push(
            None,
            Relation { node, columns },
            name,
            role,
            Span::default(),
        );
        for relation in above {
            let count = relation.on.len();
            let join = relation.join;
            from.push(
                None,
                relation.relation,
                relation.name,
                relation.role,
                relation.span,
            );
            from.join_last(join, on.by_ref().take(count).collect());
        }
        let having = having.into_iter().flat_map(Expr::conjuncts).collect();
        let joined = self.joined(&from, having, path)?;
        Ok((joined.node, wanted))
    }
}
