//! Query shapes: joins.

use rand::Rng;
use rand::seq::SliceRandom;

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Relation, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "an inner join",
        weight: 1,
        make: |generator| generator.join("JOIN"),
    },
    Shape {
        name: "an outer join",
        weight: 2,
        make: |generator| {
            let kinds = ["LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
            let kind = kinds[generator.rng.random_range(0..3)];
            generator.join(kind)
        },
    },
];

/// Columns as they are called behind an alias.
pub(super) fn prefixed(columns: &[Column], prefix: &str) -> Vec<Column> {
    columns
        .iter()
        .map(|c| Column {
            name: format!("{prefix}.{}", c.name),
            ..c.clone()
        })
        .collect()
}

/// A relation in FROM under another name: for Weir and for the oracle.
pub(super) fn aliased(relation: &Relation, alias: &str) -> (String, String) {
    match &relation.inline {
        None => {
            let text = format!("{} AS {alias}", relation.name);
            (text.clone(), text)
        }
        Some((weir, oracle)) => (
            format!("({weir}) AS {alias}"),
            format!("({oracle}) AS {alias}"),
        ),
    }
}

impl Generator<'_> {
    /// Pairs of columns that can be equal, in random order.
    pub(super) fn equal_columns(
        &mut self,
        left: &Relation,
        right: &Relation,
    ) -> Vec<(String, String)> {
        let integer = |kind| matches!(kind, SqlType::Int | SqlType::BigInt);
        let mut pairs = Vec::new();
        for l in left.columns.iter().filter(|c| c.exact) {
            for r in right.columns.iter().filter(|c| c.exact) {
                // Two event times that are equal make an interval join, which judges pairs late: timed.rs.
                if l.kind == SqlType::Timestamp {
                    continue;
                }
                if l.kind == r.kind || (integer(l.kind) && integer(r.kind)) {
                    pairs.push((l.name.clone(), r.name.clone()));
                }
            }
        }
        pairs.shuffle(self.rng);
        pairs
    }

    pub(super) fn join(&mut self, kind: &str) -> Option<Step> {
        let (left, right) = (self.pick(), self.pick());
        let mut pairs = self.equal_columns(&left, &right);
        if pairs.is_empty() || left.rows * right.rows > 60_000.0 || self.joins >= 2 {
            self.put_back(left);
            self.put_back(right);
            return None;
        }
        self.joins += 1;
        pairs.truncate(self.rng.random_range(1..=2));
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let mut both = prefixed(&left.columns, &l);
        both.extend(prefixed(&right.columns, &r));
        let mut conditions: Vec<_> = pairs
            .iter()
            .map(|(a, b)| format!("{l}.{a} = {r}.{b}"))
            .collect();
        if self.rng.random_bool(0.3) {
            conditions.push(self.predicate(&both, 1));
        }
        let joined = self.relation(both, None, left.rows * right.rows / 2.0);
        let (columns, items, _) = self.select_list(&joined);
        let filter = self.filter(&joined, 0.3);
        let text = |left: &str, right: &str| {
            format!(
                "SELECT {} FROM {left} {kind} {right} ON {}{filter}",
                items.join(", "),
                conditions.join(" AND ")
            )
        };
        let ((lw, lo), (rw, ro)) = (aliased(&left, &l), aliased(&right, &r));
        let texts = (text(&lw, &rw), text(&lo, &ro));
        let rows = joined.rows;
        let mut relation = self.relation(columns, None, rows);
        relation.retracts = left.retracts || right.retracts || kind != "JOIN";
        Some((relation, texts.0, texts.1))
    }
}
