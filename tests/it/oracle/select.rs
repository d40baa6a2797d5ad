//! Query shapes: filter and projection.

use rand::Rng;
use rand::seq::IndexedRandom;

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Relation, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[Shape {
    name: "a projection",
    weight: 2,
    make: |generator| Some(generator.project()),
}];

impl Generator<'_> {
    /// Columns of `input` (event time among them, if it keeps it) and some new ones, as select items.
    pub(super) fn select_list(
        &mut self,
        input: &Relation,
    ) -> (Vec<Column>, Vec<String>, Option<usize>) {
        let (mut columns, mut items, mut time) = (Vec::new(), Vec::new(), None);
        for (at, column) in input.columns.iter().enumerate() {
            let is_time = input.time == Some(at);
            if self.rng.random_bool(if is_time { 0.9 } else { 0.7 }) {
                if is_time {
                    time = Some(columns.len());
                }
                let out = self.column(column.kind, column.exact);
                items.push(format!("{} AS {}", column.name, out.name));
                columns.push(out);
            }
        }
        let more = self.rng.random_range(0..3) + usize::from(columns.is_empty());
        for _ in 0..more {
            let kind = self.kind();
            let text = self.expression(kind, &input.columns, 2);
            let out = self.column(kind, true);
            items.push(format!("{text} AS {}", out.name));
            columns.push(out);
        }
        (columns, items, time)
    }

    pub(super) fn kind(&mut self) -> SqlType {
        *[
            SqlType::Boolean,
            SqlType::BigInt,
            SqlType::BigInt,
            SqlType::Double,
            SqlType::String,
            SqlType::Timestamp,
        ]
        .choose(self.rng)
        .expect("a list of types")
    }

    pub(super) fn filter(&mut self, input: &Relation, probability: f64) -> String {
        if !self.rng.random_bool(probability) {
            return String::new();
        }
        format!(" WHERE {}", self.predicate(&input.columns, 2))
    }

    pub(super) fn project(&mut self) -> Step {
        let input = self.pick();
        let (columns, items, time) = self.select_list(&input);
        let filter = self.filter(&input, 0.7);
        let (weir, oracle) = input.from();
        let hidden = if time.is_some() {
            ", own_watermark"
        } else {
            ""
        };
        let items = items.join(", ");
        let mut relation = self.relation(columns, time, input.rows);
        (relation.retracts, relation.windowed) = (input.retracts, input.windowed);
        (
            relation,
            format!("SELECT {items} FROM {weir}{filter}"),
            format!("SELECT {items}{hidden} FROM {oracle}{filter}"),
        )
    }
}
