//! Builds what keeps rows until a moment: sessions, and the joins that time bounds.

use weir_planner::plan::{Expr, JoinTiming, OperatorKind};
use weir_types::{DataType, Watermark};

use super::Operator;
use super::as_of_join::{self, AsOfJoin};
use super::build::{Builder, internal_text};
use super::due::DueKeys;
use super::interval_join::{self, IntervalJoin};
use super::residual::Residual;
use super::session::Session;
use super::window_join::{self, WindowJoin};
use crate::Result;

impl Builder<'_> {
    pub(super) fn timed_join(&self) -> Result<Box<dyn Operator>> {
        let OperatorKind::TimedJoin {
            timing,
            join: _,
            left_keys,
            right_keys,
            residual,
        } = &self.operator.kind
        else {
            return Err(internal_text(
                &self.operator.id,
                "not a join that time bounds",
            ));
        };
        let keys = [left_keys, right_keys];
        let residual = self.pair_condition(residual.as_ref())?;
        let (left_time, right_time) = timing.columns();
        Ok(match timing {
            JoinTiming::Interval { lower, upper, .. } => Box::new(IntervalJoin {
                operator: self.id(),
                sides: [
                    self.interval_side(0, keys[0], left_time, ["left", "left_times"])?,
                    self.interval_side(1, keys[1], right_time, ["right", "right_times"])?,
                ],
                lower: *lower,
                upper: *upper,
                delay: timing.delay(),
                residual,
                schema: self.schema(),
                watermark: Watermark::MIN,
                pending: None,
            }),
            JoinTiming::AsOf { strict, .. } => Box::new(AsOfJoin {
                operator: self.id(),
                sides: [
                    self.as_of_side(0, keys[0], left_time, ["left", "left_times"]),
                    self.as_of_side(1, keys[1], right_time, ["right", "right_times"]),
                ],
                strict: *strict,
                schema: self.schema(),
                firing: None,
            }),
            JoinTiming::Window { .. } => Box::new(WindowJoin {
                operator: self.id(),
                sides: [
                    self.window_side(0, keys[0], left_time, "left"),
                    self.window_side(1, keys[1], right_time, "right"),
                ],
                windows: self.due_keys("windows"),
                residual,
                schema: self.schema(),
                firing: None,
            }),
        })
    }

    pub(super) fn session(&self) -> Result<Session> {
        let OperatorKind::Session { gap, time, keys } = &self.operator.kind else {
            return Err(internal_text(&self.operator.id, "not a session"));
        };
        let (id, input) = (&self.operator.id, self.input_schema(0));
        Ok(Session {
            operator: self.id(),
            gap: *gap,
            time: *time,
            time_type: input[*time].data_type.clone(),
            keys: keys.clone(),
            rows: self.context.state.sorted_table(id, "rows"),
            times: self.due_keys("times"),
            schema: self.schema(),
            firing: None,
        })
    }

    /// What else must hold of a pair of rows.
    fn pair_condition(&self, residual: Option<&Expr>) -> Result<Residual> {
        let mut both = self.input_schema(0);
        both.extend(self.input_schema(1));
        let residual = residual
            .map(|residual| self.expr(residual, &both))
            .transpose()?;
        Ok(Residual::new(residual))
    }

    pub(super) fn due_keys(&self, table: &str) -> DueKeys {
        DueKeys::new(self.context.state.slice_table(&self.operator.id, table))
    }

    fn interval_side(
        &self,
        input: usize,
        keys: &[usize],
        time: usize,
        [rows, times]: [&str; 2],
    ) -> Result<interval_join::Side> {
        let stored = self
            .operator
            .state
            .iter()
            .find(|table| table.name == rows)
            .ok_or_else(|| internal_text(&self.operator.id, "the plan gives a side no state"))?;
        debug_assert_eq!(stored.value.len(), self.input_schema(input).len() + 1);
        Ok(interval_join::Side {
            keys: keys.to_vec(),
            time,
            rows: self.context.state.multi_map_table(&self.operator.id, rows),
            times: self.due_keys(times),
            stored: DataType::arrow_schema(&stored.value),
        })
    }

    fn as_of_side(
        &self,
        input: usize,
        keys: &[usize],
        time: usize,
        [rows, times]: [&str; 2],
    ) -> as_of_join::Side {
        let input = self.input_schema(input);
        as_of_join::Side {
            keys: keys.to_vec(),
            time,
            time_type: input[time].data_type.clone(),
            rows: self.context.state.sorted_table(&self.operator.id, rows),
            times: self.due_keys(times),
            schema: DataType::arrow_schema(&input),
        }
    }

    fn window_side(
        &self,
        input: usize,
        keys: &[usize],
        end: usize,
        rows: &str,
    ) -> window_join::Side {
        window_join::Side {
            keys: keys.to_vec(),
            end,
            rows: self.context.state.multi_map_table(&self.operator.id, rows),
            schema: DataType::arrow_schema(&self.input_schema(input)),
        }
    }
}
