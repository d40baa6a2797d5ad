//! Query shapes: elements of arrays as rows.

use rand::Rng;
use rand::seq::IndexedRandom;

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Shape, Step};
use super::joins::{aliased, prefixed};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "an UNNEST",
        weight: 1,
        make: |generator| generator.unnest(),
    },
    Shape {
        name: "groups by an array",
        weight: 1,
        make: |generator| generator.array_groups(),
    },
];

impl Generator<'_> {
    /// An array of columns as the key of groups, and distinct ones counted.
    fn array_groups(&mut self) -> Option<Step> {
        let input = self.pick();
        let plain = |c: &&Column| c.exact && c.kind != SqlType::Double;
        let plain: Vec<Column> = input.columns.iter().filter(plain).cloned().collect();
        let Some(first) = plain.choose(self.rng).cloned() else {
            self.put_back(input);
            return None;
        };
        let same: Vec<&Column> = plain.iter().filter(|c| c.kind == first.kind).collect();
        let pair = |rng: &mut rand::rngs::SmallRng| {
            let mut one = || {
                same.choose(rng)
                    .map_or_else(String::new, |c| c.name.clone())
            };
            (one(), one())
        };
        let (key, counted) = (pair(self.rng), pair(self.rng));
        let (k, n) = (self.fresh("k"), self.fresh("n"));
        let mut columns = vec![
            self.column(first.kind, true),
            self.column(first.kind, true),
            self.column(SqlType::BigInt, true),
            self.column(SqlType::BigInt, true),
        ];
        let (weir, oracle) = input.from();
        let text = |from: &str, array: &str, open: &str, close: &str| {
            format!(
                "SELECT {k}[1] AS {}, {k}[2] AS {}, count(*) AS {}, count(DISTINCT {n}) AS {} FROM \
                 (SELECT {array}{open}{}, {}{close} AS {k}, {array}{open}{}, {}{close} AS {n} FROM {from}) AS arrays GROUP BY {k}",
                columns[0].name,
                columns[1].name,
                columns[2].name,
                columns[3].name,
                key.0,
                key.1,
                counted.0,
                counted.1
            )
        };
        let texts = (
            text(&weir, "ARRAY", "[", "]"),
            text(&oracle, "make_array", "(", ")"),
        );
        let rows = input.rows;
        let mut relation = self.relation(std::mem::take(&mut columns), None, rows);
        relation.retracts = true;
        Some((relation, texts.0, texts.1))
    }

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
