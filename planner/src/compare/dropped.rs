//! State that the new plan has no operator for, and what it may be called there.

use super::judge::Judge;
use super::report::{Exactness, OperatorReport, StateFrom, Verdict};
use crate::plan::Operator;

impl Judge<'_> {
    /// Operators with state that only the old plan has.
    pub(super) fn dropped(&self) -> Vec<OperatorReport> {
        let new = &self.new.plan.operators;
        let olds = self.old.plan.operators.iter().zip(&self.old.nodes);
        let gone = olds.filter(|(operator, node)| {
            let id = self.old.id(operator);
            node.shape.is_some() && new.iter().all(|new| new.id.as_str() != id)
        });
        gone.map(|(operator, _)| OperatorReport {
            id: operator.id.clone(),
            renamed_from: None,
            role: operator
                .id
                .as_str()
                .rsplit_once('/')
                .map_or_else(String::new, |(_, role)| role.to_owned()),
            verdict: Verdict::Dropped,
            exact: Exactness::Yes,
            inherited_from: Vec::new(),
            state: StateFrom::Nothing,
            reason: "the new query has no operator of that name".to_owned(),
            effect: "Its state is left behind.".to_owned(),
            advice: self
                .likely_rename(operator)
                .unwrap_or_else(|| "--allow-dropped-state lets it go".to_owned()),
            span: operator.span,
            inputs: Vec::new(),
            columns: Vec::new(),
            moved: Vec::new(),
            work: None,
        })
        .collect()
    }

    /// An operator that is new and does the same may be this one under another name.
    fn likely_rename(&self, dropped: &Operator) -> Option<String> {
        let same = |operator: &&Operator| {
            operator.fingerprint == dropped.fingerprint
                && operator.upstream_fingerprint == dropped.upstream_fingerprint
                && self.old_of(operator.id.as_str()).is_none()
        };
        let renamed = self.new.plan.operators.iter().find(same)?;
        let path = |id: &str| id.rsplit_once('/').map_or(id, |(path, _)| path).to_owned();
        Some(format!(
            "`{}` of the new query does the same: if it is this one under another name, --rename '{}={}' gives it the state; \
             else --allow-dropped-state lets it go",
            renamed.id,
            path(dropped.id.as_str()),
            path(renamed.id.as_str())
        ))
    }
}
