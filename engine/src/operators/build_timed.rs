//! Builds what keeps rows until a moment: sessions, the joins that time bounds, and rankings that are final.

use weir_planner::plan::{Expr, JoinKind, JoinTiming, OperatorKind, RankTiming};
use weir_types::{DataType, Watermark};

use super::Operator;
use super::as_of_join::{self, AsOfJoin};
use super::build::{Builder, internal_text};
use super::due::DueKeys;
use super::grown::Grown;
use super::interval_join::{self, IntervalJoin};
use super::ready::Ready;
use super::residual::Residual;
use super::session::Session;
use super::shape::{Alone, Shape};
use super::timed_rank::TimedRank;
use super::window_join::{self, WindowJoin, WindowLog};
use super::window_rank::WindowRank;
use crate::Result;

impl Builder<'_> {
    pub(super) fn timed_join(&self) -> Result<Box<dyn Operator>> {
        let OperatorKind::TimedJoin {
            timing,
            join,
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
        let shape = self.shape(*join);
        let (left_time, right_time) = timing.columns();
        Ok(match timing {
            JoinTiming::Interval { lower, upper, .. } => Box::new(IntervalJoin {
                operator: self.id(),
                sides: [
                    self.interval_side(0, keys[0], left_time, &shape)?,
                    self.interval_side(1, keys[1], right_time, &shape)?,
                ],
                shape,
                lower: *lower,
                upper: *upper,
                delay: timing.delay(),
                residual,
                watermark: Watermark::MIN,
                ready: Ready::default(),
                work: None,
            }),
            JoinTiming::AsOf { strict, .. } => Box::new(AsOfJoin {
                operator: self.id(),
                sides: [
                    self.as_of_side(0, keys[0], left_time, ["left", "left_times"]),
                    self.as_of_side(1, keys[1], right_time, ["right", "right_times"]),
                ],
                strict: *strict,
                keeps_left: join.keeps_left(),
                without_key: Ready::default(),
                schema: self.schema(),
                firing: None,
            }),
            JoinTiming::Window { .. } => Box::new(WindowJoin {
                operator: self.id(),
                log: WindowLog::new(
                    [0, 1].map(|input: usize| {
                        let schema = self.input_schema(input);
                        let keys = keys[input].iter();
                        keys.map(|&key| schema[key].data_type.clone()).collect()
                    }),
                    self.context.state.held_memory(),
                ),
                sides: [
                    self.window_side(0, keys[0], left_time, "left"),
                    self.window_side(1, keys[1], right_time, "right"),
                ],
                windows: self.due_keys("windows"),
                residual,
                shape,
                ready: Ready::default(),
                firing: None,
            }),
        })
    }

    pub(super) fn final_rank(&self, timing: RankTiming) -> Result<Box<dyn Operator>> {
        let rank = super::rank::build(self.context)?;
        Ok(match timing {
            RankTiming::Window { end } => Box::new(WindowRank {
                rank,
                end,
                windows: self.due_keys("windows"),
                grown: Grown::default(),
                ready: Ready::default(),
                firing: Default::default(),
            }),
            RankTiming::Order { time } => Box::new(TimedRank {
                rank,
                time,
                time_type: self.input_schema(0)[time].data_type.clone(),
                times: self.due_keys("times"),
                numbered: self.context.state.map_table(&self.operator.id, "numbers"),
                grown: Grown::default(),
                ready: Ready::default(),
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
    pub(super) fn pair_condition(&self, residual: Option<&Expr>) -> Result<Residual> {
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

    pub(super) fn shape(&self, join: JoinKind) -> Shape {
        let mut both = self.input_schema(0);
        both.extend(self.input_schema(1));
        Shape {
            operator: self.id(),
            join,
            pairs: DataType::arrow_schema(&both),
            schema: self.schema(),
        }
    }

    fn interval_side(
        &self,
        input: usize,
        keys: &[usize],
        time: usize,
        shape: &Shape,
    ) -> Result<interval_join::Side> {
        let [rows, times] = [["left", "left_times"], ["right", "right_times"]][input];
        let stored = self
            .operator
            .state
            .iter()
            .find(|table| table.name == rows)
            .ok_or_else(|| internal_text(&self.operator.id, "the plan gives a side no state"))?;
        let columns = self.input_schema(input);
        let alone = shape.alone(input);
        let marks = alone == Alone::Unmatched && shape.gives_pairs();
        debug_assert_eq!(stored.value.len(), columns.len() + 1 + usize::from(marks));
        Ok(interval_join::Side {
            keys: keys.to_vec(),
            time,
            time_type: columns[time].data_type.clone(),
            rows: self.context.state.sorted_table(&self.operator.id, rows),
            times: self.due_keys(times),
            stored: DataType::arrow_schema(&stored.value),
            width: columns.len(),
            alone,
            marks,
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
