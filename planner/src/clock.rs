//! Which results hang on the clock: the same input gives another answer at another time (DESIGN, invariant 5).

use std::collections::BTreeSet;

use weir_types::OperatorId;

use crate::plan::{Expr, Operator, OperatorKind, StreamPlan, TtlTime};

/// The INSERTs and SELECTs whose results ask for processing time, directly or anywhere below, in the order of the plan.
pub fn asks_the_clock(plan: &StreamPlan) -> Vec<&OperatorId> {
    let mut asking = BTreeSet::new();
    let mut ends = Vec::new();
    for (index, operator) in plan.operators.iter().enumerate() {
        let below = operator
            .inputs
            .iter()
            .any(|input| asking.contains(&input.from));
        if !below && !asks_itself(plan, operator) {
            continue;
        }
        asking.insert(index);
        if let OperatorKind::Sink { .. } | OperatorKind::Output { .. } = operator.kind {
            ends.push(&operator.id);
        }
    }
    ends
}

fn asks_itself(plan: &StreamPlan, operator: &Operator) -> bool {
    if operator
        .ttl
        .is_some_and(|ttl| ttl.time == TtlTime::Processing)
    {
        return true;
    }
    match &operator.kind {
        OperatorKind::Clock { .. }
        | OperatorKind::Arrival { .. }
        | OperatorKind::TemporalFilter { .. }
        | OperatorKind::LookupJoin {
            complete: false, ..
        } => true,
        OperatorKind::Filter { predicate } => predicate.reads_clock(),
        OperatorKind::Project { exprs } => exprs.iter().any(Expr::reads_clock),
        OperatorKind::Join { residual, .. }
        | OperatorKind::LookupJoin { residual, .. }
        | OperatorKind::TimedJoin { residual, .. } => {
            residual.as_ref().is_some_and(Expr::reads_clock)
        }
        OperatorKind::Source {
            table,
            columns,
            filter,
        } => {
            let computed = columns.iter().filter_map(|&column| {
                match &plan.tables.get(table)?.columns.get(column)?.origin {
                    crate::plan::ColumnOrigin::Computed(expr) => Some(expr),
                    _ => None,
                }
            });
            filter.iter().chain(computed).any(Expr::reads_clock)
        }
        _ => false,
    }
}
