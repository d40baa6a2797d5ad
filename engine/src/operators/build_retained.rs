//! Builds operators whose state gets old: the operator, and what drops its state, around it.

use weir_planner::plan::{JoinKind, OperatorKind, StateTtl, TtlTime};
use weir_types::DataType;

use super::build::{Builder, internal_text};
use super::due::DueKeys;
use super::retained::{Forgets, Input, Retained, Work};
use crate::Result;

impl Builder<'_> {
    /// The operator with that TTL.
    pub(super) fn retained(&self, ttl: StateTtl) -> Result<Retained> {
        let (inner, keys): (Box<dyn Forgets>, Vec<Vec<usize>>) = match &self.operator.kind {
            OperatorKind::Aggregate {
                keys,
                aggregates,
                always,
            } => (
                Box::new(self.aggregate(keys, aggregates, always)?),
                vec![keys.clone()],
            ),
            OperatorKind::Join {
                join,
                left_keys,
                right_keys,
                ..
            } => {
                let inner: Box<dyn Forgets> = match join {
                    JoinKind::Inner => Box::new(self.join()?),
                    _ => Box::new(self.outer_join()?),
                };
                (inner, vec![left_keys.clone(), right_keys.clone()])
            }
            OperatorKind::Rank { partition, .. } => (
                Box::new(super::rank::build(self.context)?),
                vec![partition.clone()],
            ),
            OperatorKind::SetOperation { operator, all } => {
                let all_columns: Vec<usize> = (0..self.operator.schema.len()).collect();
                (
                    Box::new(self.set_operation(*operator, *all)?),
                    vec![all_columns.clone(), all_columns],
                )
            }
            _ => {
                let message = "the plan gives a TTL to an operator whose state has none";
                return Err(internal_text(&self.operator.id, message));
            }
        };
        let (state, id) = (self.context.state, &self.operator.id);
        let by_event_time = ttl.time == TtlTime::Event;
        let input = |(input, (keys, waiting)): (usize, (Vec<usize>, &str))| Input {
            keys,
            schema: DataType::arrow_schema(&self.input_schema(input)),
            retractions: self.retractions(input),
            waiting: by_event_time.then(|| state.sorted_table(id, waiting)),
        };
        let inputs = keys.into_iter().zip(["waiting", "waiting_right"]);
        Ok(Retained {
            operator: self.id(),
            inner,
            ttl: ttl.micros,
            inputs: inputs.enumerate().map(input).collect(),
            lives: state.map_table(id, "lives"),
            life_times: DueKeys::new(state.slice_table(id, "life_times")),
            waiting_times: by_event_time
                .then(|| DueKeys::new(state.slice_table(id, "waiting_times"))),
            work: Work::default(),
        })
    }
}
