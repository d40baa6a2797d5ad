//! Query shapes: aggregates in groups.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Relation, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[Shape {
    name: "an aggregate",
    weight: 3,
    make: |generator| generator.aggregate(),
}];

impl Generator<'_> {
    /// One aggregate call: the text, the type and whether its value is exact.
    pub(super) fn call(&mut self, columns: &[Column], retracts: bool) -> (String, SqlType, bool) {
        let numbers: Vec<&Column> = columns
            .iter()
            .filter(|c| matches!(c.kind, SqlType::Int | SqlType::BigInt | SqlType::Double))
            .collect();
        let any = columns.choose(self.rng).expect("a relation has a column");
        let number = numbers.choose(self.rng).copied();
        let (text, kind, exact) = match (self.rng.random_range(0..8), number) {
            (0, _) => ("count(*)".to_owned(), SqlType::BigInt, true),
            (1, _) => (format!("count({})", any.name), SqlType::BigInt, true),
            (2 | 3, Some(number)) => {
                let kind = if number.kind == SqlType::Double {
                    SqlType::Double
                } else {
                    SqlType::BigInt
                };
                (format!("sum({})", number.name), kind, number.exact)
            }
            (4, Some(number)) => (format!("avg({})", number.name), SqlType::Double, false),
            (5, _) if any.kind != SqlType::Boolean && !retracts => {
                (format!("min({})", any.name), any.kind, any.exact)
            }
            (6, _) if any.kind != SqlType::Boolean && !retracts => {
                (format!("max({})", any.name), any.kind, any.exact)
            }
            _ => {
                let condition = self.predicate(columns, 1);
                let function = if self.rng.random_bool(0.5) {
                    "bool_and"
                } else {
                    "bool_or"
                };
                (format!("{function}({condition})"), SqlType::Boolean, true)
            }
        };
        if self.rng.random_bool(0.2) {
            let condition = self.predicate(columns, 1);
            return (format!("{text} FILTER (WHERE {condition})"), kind, exact);
        }
        (text, kind, exact)
    }

    /// Keys and aggregates: select items, the columns that they give, the texts of the keys.
    pub(super) fn grouping(
        &mut self,
        input: &Relation,
        most_keys: usize,
    ) -> (Vec<String>, Vec<Column>, Vec<String>) {
        let (mut items, mut columns, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut candidates: Vec<Column> =
            input.columns.iter().filter(|c| c.exact).cloned().collect();
        candidates.shuffle(self.rng);
        let count = self.rng.random_range(0..=most_keys);
        for column in candidates.into_iter().take(count) {
            let computed = self.rng.random_bool(0.2) && column.kind == SqlType::String;
            let text = if computed {
                format!("upper({})", column.name)
            } else {
                column.name.clone()
            };
            let out = self.column(column.kind, true);
            items.push(format!("{text} AS {}", out.name));
            columns.push(out);
            keys.push(text);
        }
        for _ in 0..self.rng.random_range(1..4) {
            let (text, kind, exact) = self.call(&input.columns, input.retracts);
            let out = self.column(kind, exact);
            items.push(format!("{text} AS {}", out.name));
            columns.push(out);
        }
        (items, columns, keys)
    }

    pub(super) fn having(&mut self) -> &'static str {
        [
            "",
            "",
            "",
            " HAVING count(*) > 1",
            " HAVING count(*) % 2 = 0",
        ]
        .choose(self.rng)
        .expect("a list")
    }

    pub(super) fn aggregate(&mut self) -> Option<Step> {
        let input = self.pick();
        if input.windowed {
            self.put_back(input);
            return None;
        }
        let (items, columns, keys) = self.grouping(&input, 3);
        let filter = self.filter(&input, 0.3);
        let group = if keys.is_empty() {
            String::new()
        } else {
            format!(" GROUP BY {}", keys.join(", "))
        };
        let having = self.having();
        let (weir, oracle) = input.from();
        let text = |from: &str| {
            format!(
                "SELECT {} FROM {from}{filter}{group}{having}",
                items.join(", ")
            )
        };
        let texts = (text(&weir), text(&oracle));
        let mut relation = self.relation(columns, None, input.rows);
        relation.retracts = true;
        Some((relation, texts.0, texts.1))
    }
}
