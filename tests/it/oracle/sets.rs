//! Query shapes: set operations.

use rand::seq::IndexedRandom;

use super::generator::{Generator, Relation, Shape, Step};

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
        weight: 1,
        make: |generator| generator.set_operation(),
    },
];

impl Generator<'_> {
    /// A relation whose values can be compared.
    fn pick_exact(&mut self) -> Option<Relation> {
        let input = self.pick();
        if input.windowed || input.columns.iter().any(|column| !column.exact) {
            self.put_back(input);
            return None;
        }
        Some(input)
    }

    fn distinct(&mut self) -> Option<Step> {
        let input = self.pick_exact()?;
        let (columns, items, _) = self.select_list(&input);
        let filter = self.filter(&input, 0.3);
        let (weir, oracle) = input.from();
        let text = |from: &str| format!("SELECT DISTINCT {} FROM {from}{filter}", items.join(", "));
        let texts = (text(&weir), text(&oracle));
        let mut relation = self.relation(columns, None, input.rows);
        relation.retracts = input.retracts;
        Some((relation, texts.0, texts.1))
    }

    /// UNION, INTERSECT and EXCEPT, with ALL and without. The batch engine takes no account of copies with ALL: there they are numbered.
    fn set_operation(&mut self) -> Option<Step> {
        let first = self.pick_exact()?;
        let Some(second) = self.pick_exact() else {
            self.put_back(first);
            return None;
        };
        let (columns, items, _) = self.select_list(&first);
        let second_items: Vec<String> = columns
            .iter()
            .map(|column| {
                let text = self.expression(column.kind, &second.columns, 1);
                format!("{text} AS {}", column.name)
            })
            .collect();
        let filters = (self.filter(&first, 0.3), self.filter(&second, 0.3));
        let ((first_weir, first_oracle), (second_weir, second_oracle)) =
            (first.from(), second.from());
        let operation = *[
            "UNION",
            "INTERSECT",
            "EXCEPT",
            "INTERSECT ALL",
            "EXCEPT ALL",
        ]
        .choose(self.rng)
        .expect("a list of operations");
        let sides = |a: &str, b: &str| {
            (
                format!("SELECT {} FROM {a}{}", items.join(", "), filters.0),
                format!("SELECT {} FROM {b}{}", second_items.join(", "), filters.1),
            )
        };
        let (left, right) = sides(&first_weir, &second_weir);
        let weir = format!("{left}\n{operation}\n{right}");
        let (left, right) = sides(&first_oracle, &second_oracle);
        let oracle = match operation.strip_suffix(" ALL") {
            None => format!("{left}\n{operation}\n{right}"),
            Some(operation) => {
                let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                let names = names.join(", ");
                let numbered = |side: &str| {
                    format!(
                        "SELECT {names}, row_number() OVER (PARTITION BY {names}) AS copy FROM ({side}) AS side"
                    )
                };
                let (left, right) = (numbered(&left), numbered(&right));
                format!("SELECT {names} FROM ({left}\n{operation}\n{right}) AS copies")
            }
        };
        let mut relation = self.relation(columns, None, first.rows + second.rows);
        relation.retracts = true;
        Some((relation, weir, oracle))
    }

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
