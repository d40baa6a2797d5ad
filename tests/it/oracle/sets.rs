//! Query shapes: set operations.

use rand::Rng;

use super::generator::{Generator, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "a union",
        weight: 1,
        make: |generator| generator.union(),
    },
    Shape {
        name: "distinct rows",
        weight: 1,
        make: |generator| generator.distinct(),
    },
    Shape {
        name: "a set operation",
        weight: 2,
        make: |generator| generator.set_operation(),
    },
];

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

    fn distinct(&mut self) -> Option<Step> {
        let input = self.pick();
        let (columns, items, _) = self.select_list(&input);
        if columns.iter().any(|column| !column.exact) {
            return None;
        }
        let filter = self.filter(&input, 0.3);
        let (weir, oracle) = input.from();
        let text = |from: &str| format!("SELECT DISTINCT {} FROM {from}{filter}", items.join(", "));
        let mut relation = self.relation(columns, None, input.rows);
        relation.retracts = input.retracts;
        Some((relation, text(&weir), text(&oracle)))
    }

    /// UNION, INTERSECT [ALL] or EXCEPT [ALL]. For ALL the oracle numbers the copies of a row: the first copy meets the
    /// first one of the other side, and so on.
    fn set_operation(&mut self) -> Option<Step> {
        let first = self.pick();
        let (columns, items, _) = self.select_list(&first);
        if columns.iter().any(|column| !column.exact) {
            return None;
        }
        // Half of the time both branches read the same, so that there are common rows.
        let same = self.rng.random_bool(0.5);
        let second = if same { first.clone() } else { self.pick() };
        if same && first.inline.is_some() {
            return None;
        }
        let second_items: Vec<String> = if same {
            items.clone()
        } else {
            columns
                .iter()
                .map(|column| {
                    let text = self.expression(column.kind, &second.columns, 1);
                    format!("{text} AS {}", column.name)
                })
                .collect()
        };
        let filters = (self.filter(&first, 0.5), self.filter(&second, 0.5));
        let (word, all) = match self.rng.random_range(0..5) {
            0 => ("UNION", false),
            1 => ("INTERSECT", false),
            2 => ("INTERSECT", true),
            3 => ("EXCEPT", false),
            _ => ("EXCEPT", true),
        };
        let ((first_weir, first_oracle), (second_weir, second_oracle)) =
            (first.from(), second.from());
        let branch = |items: &[String], from: &str, filter: &str| {
            format!("SELECT {} FROM {from}{filter}", items.join(", "))
        };
        let weir = format!(
            "{}\n{word}{}\n{}",
            branch(&items, &first_weir, &filters.0),
            if all { " ALL" } else { "" },
            branch(&second_items, &second_weir, &filters.1)
        );
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let names = names.join(", ");
        let numbered = |branch: String| {
            if all {
                format!(
                    "SELECT {names}, row_number() OVER (PARTITION BY {names}) AS copy FROM ({branch}) AS b"
                )
            } else {
                branch
            }
        };
        let oracle = format!(
            "SELECT {names} FROM ({}\n{word}\n{}) AS s",
            numbered(branch(&items, &first_oracle, &filters.0)),
            numbered(branch(&second_items, &second_oracle, &filters.1))
        );
        let rows = if word == "UNION" {
            first.rows + second.rows
        } else {
            first.rows
        };
        let mut relation = self.relation(columns, None, rows);
        relation.retracts = first.retracts || second.retracts || word == "EXCEPT";
        Some((relation, weir, oracle))
    }
}
