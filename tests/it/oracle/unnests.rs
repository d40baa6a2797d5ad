//! Query shapes: elements of arrays as rows.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::generator::{Column, Generator, Shape, Step};
use super::joins::{aliased, prefixed};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[Shape {
    name: "an UNNEST",
    weight: 1,
    make: |generator| generator.unnest(),
}];

impl Generator<'_> {
    /// A row for each element of an array that is made of columns of the row. The batch engine has it in the SELECT list.
    fn unnest(&mut self) -> Option<Step> {
        let input = self.pick();
        let exact: Vec<Column> = input.columns.iter().filter(|c| c.exact).cloned().collect();
        let first = exact.choose(self.rng).cloned();
        let Some(first) = first.filter(|_| input.rows <= 20_000.0) else {
            self.put_back(input);
            return None;
        };
        let l = self.fresh("l");
        let same: Vec<String> = exact
            .iter()
            .filter(|column| column.kind == first.kind)
            .map(|column| format!("{l}.{}", column.name))
            .collect();
        let count = self.rng.random_range(1..=3);
        let elements: Vec<String> = (0..count)
            .filter_map(|_| same.choose(self.rng).cloned())
            .collect();
        let outer = self.relation(prefixed(&input.columns, &l), None, input.rows);
        let (mut columns, items, _) = self.select_list(&outer);
        let (items, elements) = (items.join(", "), elements.join(", "));
        let element = self.column(first.kind, true);
        let (weir, oracle) = aliased(&input, &l);
        let name = &element.name;
        let texts = (
            format!(
                "SELECT {items}, u.x AS {name} FROM {weir} CROSS JOIN UNNEST(ARRAY[{elements}]) AS u (x)"
            ),
            format!("SELECT {items}, unnest(make_array({elements})) AS {name} FROM {oracle}"),
        );
        columns.push(element);
        let mut relation = self.relation(columns, None, input.rows * f64::from(count));
        relation.retracts = input.retracts;
        Some((relation, texts.0, texts.1))
    }
}
