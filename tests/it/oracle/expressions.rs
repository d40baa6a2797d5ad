//! Random expressions over the columns of a relation, the same text in both spellings.

use rand::Rng;
use rand::seq::IndexedRandom;

use weir_tests::data::SqlType;

use super::generator::{Column, Generator};

impl Generator<'_> {
    /// An expression of this type; `prefix` stands before each column (`l.`).
    pub(super) fn expression(&mut self, kind: SqlType, columns: &[Column], depth: u32) -> String {
        let own: Vec<&Column> = columns
            .iter()
            .filter(|column| column.kind == kind && column.exact)
            .collect();
        let column = own.choose(self.rng).map(|column| column.name.clone());
        if let Some(column) = column.filter(|_| depth == 0 || self.rng.random_bool(0.4)) {
            return column;
        }
        if depth == 0 {
            return self.literal(kind);
        }
        let deeper = depth - 1;
        if self.rng.random_bool(0.15) {
            let condition = self.predicate(columns, deeper);
            let (yes, no) = (
                self.expression(kind, columns, deeper),
                self.expression(kind, columns, deeper),
            );
            return format!("CASE WHEN {condition} THEN {yes} ELSE {no} END");
        }
        match kind {
            SqlType::Boolean => self.predicate(columns, deeper),
            SqlType::Int => self.expression(kind, columns, 0),
            SqlType::BigInt => self.integer(columns, deeper),
            SqlType::Double => self.float(columns, deeper),
            SqlType::String => self.text(columns, deeper),
            SqlType::Timestamp => {
                let inner = self.expression(kind, columns, 0);
                let unit = ["minute", "hour", "second"]
                    .choose(self.rng)
                    .expect("a list of units");
                format!("date_trunc('{unit}', {inner})")
            }
            SqlType::Decimal => self.expression(kind, columns, 0),
        }
    }

    fn literal(&mut self, kind: SqlType) -> String {
        let number = self.rng.random_range(-2..6);
        match kind {
            SqlType::Boolean => ["TRUE", "FALSE"]
                .choose(self.rng)
                .expect("two values")
                .to_string(),
            SqlType::Int => format!("CAST({number} AS INT)"),
            SqlType::BigInt => format!("CAST({number} AS BIGINT)"),
            SqlType::Double => format!("CAST({number}.25 AS DOUBLE)"),
            SqlType::Decimal => format!("CAST({number}.50 AS DECIMAL(10, 2))"),
            SqlType::String => ["'a'", "'b'", "''", "'häuser'"]
                .choose(self.rng)
                .expect("a list")
                .to_string(),
            SqlType::Timestamp => format!(
                "CAST('2023-11-14 22:13:2{}' AS TIMESTAMP(3))",
                number.max(0)
            ),
        }
    }

    fn integer(&mut self, columns: &[Column], depth: u32) -> String {
        let a = self.expression(SqlType::BigInt, columns, depth);
        match self.rng.random_range(0..13) {
            0 => format!(
                "CAST({} AS BIGINT)",
                self.expression(SqlType::Int, columns, depth)
            ),
            7 => {
                let time = self.expression(SqlType::Timestamp, columns, depth);
                let unit = ["HOUR", "MINUTE", "DAY", "YEAR"]
                    .choose(self.rng)
                    .expect("a list of units");
                format!("CAST(extract({unit} FROM {time}) AS BIGINT)")
            }
            8 => format!("abs({a})"),
            9 | 10 => {
                let b = self.expression(SqlType::BigInt, columns, depth);
                let function = ["greatest", "least"]
                    .choose(self.rng)
                    .expect("two functions");
                format!("{function}({a}, {b})")
            }
            11 => {
                let text = self.expression(SqlType::String, columns, depth);
                format!("CAST(strpos({text}, 'a') AS BIGINT)")
            }
            1 => format!(
                "({a} + {})",
                self.expression(SqlType::BigInt, columns, depth)
            ),
            2 => format!("({a} - 3)"),
            3 => format!("({a} * 2)"),
            4 => format!("({a} % 3)"),
            5 => format!("coalesce({a}, CAST(0 AS BIGINT))"),
            6 => format!("nullif({a}, CAST(1 AS BIGINT))"),
            _ => {
                let text = self.expression(SqlType::String, columns, depth);
                format!("CAST(character_length({text}) AS BIGINT)")
            }
        }
    }

    fn float(&mut self, columns: &[Column], depth: u32) -> String {
        let a = self.expression(SqlType::Double, columns, depth);
        match self.rng.random_range(0..8) {
            5 => format!("floor({a})"),
            6 => format!("ceil({a})"),
            7 => format!("nullif({a}, CAST(0 AS DOUBLE))"),
            0 => format!(
                "CAST({} AS DOUBLE)",
                self.expression(SqlType::Int, columns, depth)
            ),
            1 => format!("({a} * 0.5)"),
            2 => format!("({a} + 1.25)"),
            3 => format!("abs({a})"),
            _ => format!("coalesce({a}, CAST(0 AS DOUBLE))"),
        }
    }

    fn text(&mut self, columns: &[Column], depth: u32) -> String {
        let a = self.expression(SqlType::String, columns, depth);
        match self.rng.random_range(0..12) {
            6 => format!("lower({a})"),
            7 => format!("lpad({a}, 4, '*')"),
            8 => format!("replace({a}, 'a', 'bb')"),
            9 => format!("trim({a})"),
            10 => format!("split_part({a}, ' ', 2)"),
            0 => format!("upper({a})"),
            1 => format!("({a} || 'x')"),
            2 => format!("substr({a}, 1, 2)"),
            3 => format!("coalesce({a}, '-')"),
            4 => format!("concat({a}, 'ß')"),
            5 => format!(
                "CAST({} AS STRING)",
                self.expression(SqlType::BigInt, columns, depth)
            ),
            _ => format!("reverse({a})"),
        }
    }

    /// A condition: TRUE, FALSE or NULL.
    pub(super) fn predicate(&mut self, columns: &[Column], depth: u32) -> String {
        if depth > 0 && self.rng.random_bool(0.4) {
            let (a, b) = (
                self.predicate(columns, depth - 1),
                self.predicate(columns, depth - 1),
            );
            return match self.rng.random_range(0..4) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                2 => format!("(NOT {a})"),
                _ => format!("({a} IS NOT TRUE)"),
            };
        }
        let depth = depth.min(1);
        let kinds: Vec<SqlType> = columns
            .iter()
            .filter(|column| column.exact)
            .map(|column| column.kind)
            .collect();
        let Some(&kind) = kinds.choose(self.rng) else {
            return "TRUE".to_owned();
        };
        let a = self.expression(kind, columns, depth);
        match (kind, self.rng.random_range(0..6)) {
            (_, 0) => format!("({a} IS NULL)"),
            (_, 1) => format!("({a} IS NOT NULL)"),
            (SqlType::Boolean, _) => a,
            (SqlType::Int | SqlType::BigInt, 2) => format!("({a} IN (1, 3, NULL))"),
            (SqlType::Int | SqlType::BigInt, 3) => format!("({a} BETWEEN 0 AND 3)"),
            (SqlType::String, 2) => format!("({a} LIKE 'a%')"),
            (SqlType::String, 3) => format!("({a} NOT IN ('a', 'b'))"),
            (SqlType::String, 4) => {
                let b = self.expression(kind, columns, 0);
                format!("starts_with({a}, {b})")
            }
            (_, choice) => {
                let b = self.expression(kind, columns, 0);
                let operator = ["=", "<>", "<", ">=", "IS DISTINCT FROM"][choice as usize % 5];
                format!("({a} {operator} {b})")
            }
        }
    }
}
