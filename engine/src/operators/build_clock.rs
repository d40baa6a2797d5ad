//! Builds what goes by the clock.

use weir_planner::plan::OperatorKind;

use super::Operator;
use super::arrival::{FirstRows, LastRow, Partitioned};
use super::build::{Builder, internal_text};
use super::temporal_filter::{Configuration, TemporalFilter};
use crate::Result;

impl Builder<'_> {
    /// The first rows to arrive, or the last one.
    pub(super) fn arrival(&self) -> Result<Box<dyn Operator>> {
        let OperatorKind::Arrival {
            partition,
            last,
            bounds,
            shown,
        } = &self.operator.kind
        else {
            return Err(internal_text(&self.operator.id, "not an order by arrival"));
        };
        let of = Partitioned {
            operator: self.id(),
            keys: partition.clone(),
            shown: *shown,
            schema: self.schema(),
        };
        let table = |name: &str| self.context.state.map_table(&self.operator.id, name);
        Ok(if *last {
            Box::new(LastRow::new(of, table("rows")))
        } else {
            Box::new(FirstRows {
                of,
                counts: table("counts"),
                bounds: *bounds,
            })
        })
    }

    pub(super) fn temporal_filter(&self) -> Result<TemporalFilter> {
        let OperatorKind::TemporalFilter { enters, leaves } = &self.operator.kind else {
            return Err(internal_text(
                &self.operator.id,
                "not a condition on the clock",
            ));
        };
        let (id, state) = (&self.operator.id, self.context.state);
        Ok(TemporalFilter::new(Configuration {
            operator: id.clone(),
            enters: enters.clone(),
            leaves: leaves.clone(),
            rows: state.multi_map_table(id, "rows"),
            times: self.due_keys("times"),
            schema: self.schema(),
        }))
    }
}
