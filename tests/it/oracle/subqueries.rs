//! Query shapes: subqueries in expressions.
//!
//! `NOT IN` is drawn over values that cannot be NULL alone: engines differ in what they make of NULLs there, and the scripts
//! (tests/slt/subquery_where.slt) say what SQL makes of them.

use rand::Rng;
use rand::seq::IndexedRandom;

use weir_tests::data::SqlType;

use super::generator::{Generator, Shape, Step};
use super::joins::{aliased, prefixed};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "EXISTS or IN",
        weight: 2,
        make: |generator| generator.existence(),
    },
    Shape {
        name: "a scalar subquery",
        weight: 1,
        make: |generator| generator.scalar(),
    },
];

impl Generator<'_> {
    /// Rows of one relation that have, or have not, a partner in another.
    fn existence(&mut self) -> Option<Step> {
        let (left, right) = (self.pick(), self.pick());
        let pairs = self.equal_columns(&left, &right);
        let Some((a, b)) = pairs
            .first()
            .cloned()
            .filter(|_| left.rows * right.rows <= 60_000.0 && self.joins < 2)
        else {
            self.put_back(left);
            self.put_back(right);
            return None;
        };
        self.joins += 1;
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let mut both = prefixed(&left.columns, &l);
        both.extend(prefixed(&right.columns, &r));
        let further = if self.rng.random_bool(0.4) {
            format!(" AND {}", self.predicate(&both, 1))
        } else {
            String::new()
        };
        let outer = self.relation(prefixed(&left.columns, &l), None, left.rows);
        let (columns, items, _) = self.select_list(&outer);
        let form = self.rng.random_range(0..6);
        let other = self.predicate(&outer.columns, 1);
        let text = |from: &str, inner: &str| {
            let condition = match form {
                0 => format!("EXISTS (SELECT 1 FROM {inner} WHERE {r}.{b} = {l}.{a}{further})"),
                1 => format!("NOT EXISTS (SELECT 1 FROM {inner} WHERE {r}.{b} = {l}.{a}{further})"),
                2 => format!("{l}.{a} IN (SELECT {r}.{b} FROM {inner})"),
                // As one condition among others: a value, and no join of its own.
                4 => format!("{other} OR EXISTS (SELECT 1 FROM {inner} WHERE {r}.{b} = {l}.{a})"),
                5 => format!("{other} OR {l}.{a} IN (SELECT {r}.{b} FROM {inner})"),
                _ => format!(
                    "{l}.{a} IS NOT NULL AND {l}.{a} NOT IN (SELECT {r}.{b} FROM {inner} WHERE {r}.{b} IS NOT NULL)"
                ),
            };
            format!("SELECT {} FROM {from} WHERE {condition}", items.join(", "))
        };
        let ((lw, lo), (rw, ro)) = (aliased(&left, &l), aliased(&right, &r));
        let texts = (text(&lw, &rw), text(&lo, &ro));
        let mut relation = self.relation(columns, None, left.rows / 2.0);
        relation.retracts = left.retracts || right.retracts || form % 2 == 1;
        Some((relation, texts.0, texts.1))
    }

    /// A value of another relation beside each row: of all of its rows, or of those that are equal.
    fn scalar(&mut self) -> Option<Step> {
        let (left, right) = (self.pick(), self.pick());
        let pairs = self.equal_columns(&left, &right);
        let numbers: Vec<_> = right
            .columns
            .iter()
            .filter(|c| c.exact && matches!(c.kind, SqlType::Int | SqlType::BigInt))
            .cloned()
            .collect();
        let number = numbers.choose(self.rng).cloned();
        let (Some((a, b)), Some(number)) = (
            pairs
                .first()
                .cloned()
                .filter(|_| left.rows * right.rows <= 60_000.0 && self.joins < 2),
            number,
        ) else {
            self.put_back(left);
            self.put_back(right);
            return None;
        };
        self.joins += 1;
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let outer = self.relation(prefixed(&left.columns, &l), None, left.rows);
        let (mut columns, items, _) = self.select_list(&outer);
        let value = self.column(SqlType::BigInt, true);
        let function = ["max", "min", "count"][self.rng.random_range(0..3)];
        let correlated = self.rng.random_bool(0.6);
        let text = |from: &str, inner: &str| {
            let condition = if correlated {
                format!(" WHERE {r}.{b} = {l}.{a}")
            } else {
                String::new()
            };
            format!(
                "SELECT {}, CAST((SELECT {function}({r}.{}) FROM {inner}{condition}) AS BIGINT) AS {} FROM {from}",
                items.join(", "),
                number.name,
                value.name,
            )
        };
        let ((lw, lo), (rw, ro)) = (aliased(&left, &l), aliased(&right, &r));
        let texts = (text(&lw, &rw), text(&lo, &ro));
        columns.push(value);
        let mut relation = self.relation(columns, None, left.rows);
        relation.retracts = true;
        Some((relation, texts.0, texts.1))
    }
}
