//! Query shapes: set operations.

use super::generator::{Generator, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[Shape {
    name: "a union",
    weight: 1,
    make: |generator| generator.union(),
}];

impl Generator<'_> {
    pub(super) fn union(&mut self) -> Option<Step> {
        let first = self.pick();
        let (columns, items, time) = self.select_list(&first);
        let second = self.pick();
        let second_time = second.time.filter(|_| time.is_some());
        let time = time.filter(|_| second_time.is_some());
        let mut second_items = Vec::new();
        for (at, column) in columns.iter().enumerate() {
            let text = match second_time {
                Some(own) if time == Some(at) => second.columns[own].name.clone(),
                _ => self.expression(column.kind, &second.columns, 1),
            };
            // Of two copies of event time the first one is it, which is to be at the same place in both.
            let copy = second_time.is_some_and(|own| text == second.columns[own].name);
            let text = if copy && time != Some(at) {
                format!("date_trunc('second', {text})")
            } else {
                text
            };
            second_items.push(format!("{text} AS {}", column.name));
        }
        let filters = (self.filter(&first, 0.3), self.filter(&second, 0.3));
        let ((first_weir, first_oracle), (second_weir, second_oracle)) =
            (first.from(), second.from());
        let text = |hidden: &str, a: &str, b: &str| {
            format!(
                "SELECT {}{hidden} FROM {a}{}\nUNION ALL\nSELECT {}{hidden} FROM {b}{}",
                items.join(", "),
                filters.0,
                second_items.join(", "),
                filters.1
            )
        };
        let hidden = if time.is_some() {
            ", own_watermark"
        } else {
            ""
        };
        let texts = (
            text("", &first_weir, &second_weir),
            text(hidden, &first_oracle, &second_oracle),
        );
        let mut relation = self.relation(columns, time, first.rows + second.rows);
        relation.retracts = first.retracts || second.retracts;
        relation.windowed = first.windowed || second.windowed;
        Some((relation, texts.0, texts.1))
    }
}
