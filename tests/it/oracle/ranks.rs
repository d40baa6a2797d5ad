//! Query shapes: rankings.
//!
//! Ties go by the rule of DESIGN 8: the columns that the block reads, in the order of their names, ascending, NULLs last. The batch engine
//! is told so by its ORDER BY.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[Shape {
    name: "a ranking",
    weight: 1,
    make: |generator| generator.ranking(),
}];

impl Generator<'_> {
    fn ranking(&mut self) -> Option<Step> {
        let input = self.pick();
        // Not yet over rows that are taken back: of a changelog read by several workers a retraction may come before its row, which the
        // state of rankings refuses (seed 878018370613331932 without this condition).
        if input.retracts || input.windowed || input.columns.iter().any(|column| !column.exact) {
            self.put_back(input);
            return None;
        }
        let mut chosen: Vec<Column> = input.columns.clone();
        chosen.shuffle(self.rng);
        chosen.truncate(self.rng.random_range(1..=4));
        let keys = self.rng.random_range(0..=chosen.len().min(2));
        let partition: Vec<String> = chosen[..keys].iter().map(|c| c.name.clone()).collect();
        let by = if partition.is_empty() {
            String::new()
        } else {
            format!("PARTITION BY {} ", partition.join(", "))
        };
        let order = chosen.choose(self.rng)?.name.clone();
        let direction = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]
            .choose(self.rng)
            .expect("a list");
        let filter = self.filter_of(&chosen, 0.3);
        let function = *["ROW_NUMBER", "ROW_NUMBER", "RANK", "DENSE_RANK"]
            .choose(self.rng)
            .expect("a list of functions");
        let mut ties: Vec<String> = chosen.iter().map(|c| c.name.clone()).collect();
        ties.sort();
        let full = if function == "ROW_NUMBER" {
            ties.iter()
                .map(|name| format!(", {name} NULLS LAST"))
                .collect()
        } else {
            String::new()
        };
        let bound = self.rng.random_range(1..=4);
        let place = self.column(SqlType::BigInt, true);
        let mut columns = Vec::new();
        let mut items = Vec::new();
        for column in &chosen {
            let out = self.column(column.kind, true);
            items.push(format!("{} AS {}", column.name, out.name));
            columns.push(out);
        }
        let with_place = self.rng.random_bool(0.5);
        let names = columns.iter().map(|c| c.name.clone());
        let names: Vec<String> = names
            .chain(with_place.then(|| place.name.clone()))
            .collect();
        let ranked = self.fresh("q");
        let text = |from: &str, ties: &str| {
            format!(
                "SELECT {} FROM (SELECT {}, {function}() OVER ({by}ORDER BY {order}{direction}{ties}) AS {place} FROM {from}{filter}) \
                 AS {ranked} WHERE {place} <= {bound}",
                names.join(", "),
                items.join(", "),
                place = place.name,
            )
        };
        let (weir, oracle) = input.from();
        let texts = (text(&weir, ""), text(&oracle, &full));
        if with_place {
            columns.push(place);
        }
        let mut relation = self.relation(columns, None, input.rows);
        relation.retracts = true;
        Some((relation, texts.0, texts.1))
    }

    /// A filter over these columns alone.
    fn filter_of(&mut self, columns: &[Column], probability: f64) -> String {
        if !self.rng.random_bool(probability) {
            return String::new();
        }
        format!(" WHERE {}", self.predicate(columns, 2))
    }
}
