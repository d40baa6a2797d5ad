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
    pub(super) fn call(&mut self, columns: &[Column]) -> (String, SqlType, bool) {
        if self.rng.random_bool(0.3)
            && let Some(call) = self.special_call(columns)
        {
            return call;
        }
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
            (5, _) if any.kind != SqlType::Boolean => {
                (format!("min({})", any.name), any.kind, any.exact)
            }
            (6, _) if any.kind != SqlType::Boolean => {
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

    /// A call that needs more than a number or two for each group; `None` if no column suits it.
    fn special_call(&mut self, columns: &[Column]) -> Option<(String, SqlType, bool)> {
        let exact: Vec<&Column> = columns.iter().filter(|c| c.exact).collect();
        let of = |kinds: &[SqlType], rng: &mut _| {
            let all: Vec<&&Column> = exact.iter().filter(|c| kinds.contains(&c.kind)).collect();
            all.choose(rng).map(|column| column.name.clone())
        };
        let integer = of(&[SqlType::Int, SqlType::BigInt], self.rng);
        let number = of(&[SqlType::Int, SqlType::BigInt, SqlType::Double], self.rng);
        let text = of(&[SqlType::String], self.rng);
        let any = exact.choose(self.rng)?;
        Some(match self.rng.random_range(0..9) {
            0 | 1 => (
                format!("count(DISTINCT {})", any.name),
                SqlType::BigInt,
                true,
            ),
            2 => (format!("sum(DISTINCT {})", integer?), SqlType::BigInt, true),
            3 => {
                let function = ["bit_and", "bit_or", "bit_xor"]
                    .choose(self.rng)
                    .expect("a list of functions");
                let argument = format!("CAST({} AS BIGINT)", integer?);
                (format!("{function}({argument})"), SqlType::BigInt, true)
            }
            4 => {
                let function = ["var_pop", "var_samp"]
                    .choose(self.rng)
                    .expect("two functions");
                let argument = format!("CAST({} AS DOUBLE)", number?);
                (format!("{function}({argument})"), SqlType::Double, false)
            }
            5 => {
                let argument = format!("CAST({} AS DOUBLE)", number?);
                (format!("median({argument})"), SqlType::Double, false)
            }
            6 => {
                let text = text?;
                (
                    format!("string_agg({text}, ',' ORDER BY {text})"),
                    SqlType::String,
                    true,
                )
            }
            7 => {
                let text = text?;
                (
                    format!("string_agg(DISTINCT {text}, '|' ORDER BY {text} DESC)"),
                    SqlType::String,
                    true,
                )
            }
            _ => {
                // Of rows with the same place in the order all have the same value.
                let (value, kind) = (any.name.clone(), any.kind);
                // The batch engine panics where a column is there twice.
                let others: Vec<_> = exact.iter().filter(|c| c.name != value).collect();
                let order = others.choose(self.rng)?.name.clone();
                let function = ["first_value", "last_value"]
                    .choose(self.rng)
                    .expect("two functions");
                (
                    format!("{function}({value} ORDER BY {order} NULLS LAST, {value} NULLS LAST)"),
                    kind,
                    true,
                )
            }
        })
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
            let (text, kind, exact) = self.call(&input.columns);
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
