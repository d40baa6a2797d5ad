//! One SELECT block of a random query.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::{Column, Generator, Relation};
use crate::data::SqlType;

/// A block: what it gives, and its two texts.
type Step = (Relation, String, String);

/// Where the groups of a window stand in time, in seconds.
#[derive(Clone, Copy)]
struct Windows {
    slide: i64,
    size: i64,
}

impl Generator<'_> {
    /// A block over something that is there.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            let step = match self.rng.random_range(0..10) {
                0 | 1 => Some(self.project()),
                2..=4 => self.aggregate(),
                5 | 6 => self.window_aggregate(),
                7 => self.window_assign(),
                8 => self.join(),
                _ => self.union(),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn relation(&mut self, columns: Vec<Column>, time: Option<usize>, rows: f64) -> Relation {
        Relation {
            name: self.fresh("q"),
            columns,
            time,
            rows,
            retracts: false,
            windowed: false,
            inline: None,
        }
    }

    fn column(&mut self, kind: SqlType, exact: bool) -> Column {
        Column {
            name: self.fresh("c"),
            kind,
            exact,
        }
    }

    /// Columns of `input` (event time among them, if it keeps it) and some new ones, as select items.
    fn select_list(&mut self, input: &Relation) -> (Vec<Column>, Vec<String>, Option<usize>) {
        let (mut columns, mut items, mut time) = (Vec::new(), Vec::new(), None);
        for (at, column) in input.columns.iter().enumerate() {
            let is_time = input.time == Some(at);
            if self.rng.random_bool(if is_time { 0.9 } else { 0.7 }) {
                if is_time {
                    time = Some(columns.len());
                }
                let out = self.column(column.kind, column.exact);
                items.push(format!("{} AS {}", column.name, out.name));
                columns.push(out);
            }
        }
        let more = self.rng.random_range(0..3) + usize::from(columns.is_empty());
        for _ in 0..more {
            let kind = self.kind();
            let text = self.expression(kind, &input.columns, 2);
            let out = self.column(kind, true);
            items.push(format!("{text} AS {}", out.name));
            columns.push(out);
        }
        (columns, items, time)
    }

    fn kind(&mut self) -> SqlType {
        *[
            SqlType::Boolean,
            SqlType::BigInt,
            SqlType::BigInt,
            SqlType::Double,
            SqlType::String,
            SqlType::Timestamp,
        ]
        .choose(self.rng)
        .expect("a list of types")
    }

    fn filter(&mut self, input: &Relation, probability: f64) -> String {
        if !self.rng.random_bool(probability) {
            return String::new();
        }
        format!(" WHERE {}", self.predicate(&input.columns, 2))
    }

    fn project(&mut self) -> Step {
        let input = self.pick();
        let (columns, items, time) = self.select_list(&input);
        let filter = self.filter(&input, 0.7);
        let (weir, oracle) = input.from();
        let hidden = if time.is_some() {
            ", own_watermark"
        } else {
            ""
        };
        let items = items.join(", ");
        let mut relation = self.relation(columns, time, input.rows);
        (relation.retracts, relation.windowed) = (input.retracts, input.windowed);
        (
            relation,
            format!("SELECT {items} FROM {weir}{filter}"),
            format!("SELECT {items}{hidden} FROM {oracle}{filter}"),
        )
    }

    /// One aggregate call: the text, the type and whether its value is exact.
    fn call(&mut self, columns: &[Column], retracts: bool) -> (String, SqlType, bool) {
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
    fn grouping(
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

    fn having(&mut self) -> &'static str {
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

    fn aggregate(&mut self) -> Option<Step> {
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

    /// A relation that still has event time and a name, for a window over it.
    fn timed(&mut self) -> Option<(Relation, String)> {
        let timed: Vec<Relation> = self
            .relations
            .iter()
            .filter(|r| r.time.is_some() && r.inline.is_none())
            .cloned()
            .collect();
        let input = if self.rng.random_bool(0.6) {
            timed.last()
        } else {
            timed.choose(self.rng)
        }?
        .clone();
        let time = input.columns[input.time?].name.clone();
        Some((input, time))
    }

    fn windows(&mut self) -> Windows {
        let slide = *[1, 5, 10, 60].choose(self.rng).expect("a list");
        let size = if self.rng.random_bool(0.5) {
            slide
        } else {
            slide * self.rng.random_range(2..=4)
        };
        Windows { slide, size }
    }

    fn window_aggregate(&mut self) -> Option<Step> {
        let (input, time) = self.timed()?;
        let windows = self.windows();
        let (mut items, mut columns, keys) = self.grouping(&input, 2);
        let mut group = vec!["window_start".to_owned(), "window_end".to_owned()];
        let with_time = self.rng.random_bool(0.4);
        if with_time {
            group.push("window_time".to_owned());
        }
        let mut time_at = None;
        for window_column in &group {
            let out = self.column(SqlType::Timestamp, true);
            items.push(format!("{window_column} AS {}", out.name));
            if window_column == "window_time" {
                time_at = Some(columns.len());
            }
            columns.push(out);
        }
        group.extend(keys);
        let having = self.having();
        let (items, group) = (items.join(", "), group.join(", "));
        let filter = self.filter(&input, 0.2);
        let hidden = if with_time {
            ", CAST(NULL AS TIMESTAMP) AS own_watermark"
        } else {
            ""
        };
        let weir = format!(
            "SELECT {items} FROM {}{filter} GROUP BY {group}{having}",
            windows.weir(&input.name, &time)
        );
        let oracle = format!(
            "SELECT {items}{hidden} FROM {}{filter} GROUP BY {group}{having}",
            windows.oracle(&input.name, &time)
        );
        let rows = input.rows * windows.overlap() as f64;
        Some((self.relation(columns, time_at, rows), weir, oracle))
    }

    fn window_assign(&mut self) -> Option<Step> {
        let (input, time) = self.timed()?;
        let windows = self.windows();
        let (mut columns, mut items, time_at) = self.select_list(&input);
        for window_column in ["window_start", "window_end"] {
            let out = self.column(SqlType::Timestamp, true);
            items.push(format!("{window_column} AS {}", out.name));
            columns.push(out);
        }
        let hidden = if time_at.is_some() {
            ", own_watermark"
        } else {
            ""
        };
        let items = items.join(", ");
        let weir = format!("SELECT {items} FROM {}", windows.weir(&input.name, &time));
        let oracle = format!(
            "SELECT {items}{hidden} FROM {}",
            windows.oracle(&input.name, &time)
        );
        let rows = input.rows * windows.overlap() as f64;
        let mut relation = self.relation(columns, time_at, rows);
        relation.windowed = true;
        Some((relation, weir, oracle))
    }

    fn join(&mut self) -> Option<Step> {
        let (left, right) = (self.pick(), self.pick());
        let integer = |kind| matches!(kind, SqlType::Int | SqlType::BigInt);
        let mut pairs = Vec::new();
        for l in left.columns.iter().filter(|c| c.exact) {
            for r in right.columns.iter().filter(|c| c.exact) {
                if l.kind == r.kind || (integer(l.kind) && integer(r.kind)) {
                    pairs.push((l.name.clone(), r.name.clone()));
                }
            }
        }
        if pairs.is_empty() || left.rows * right.rows > 60_000.0 || self.joins >= 2 {
            self.put_back(left);
            self.put_back(right);
            return None;
        }
        self.joins += 1;
        pairs.shuffle(self.rng);
        pairs.truncate(self.rng.random_range(1..=2));
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let prefixed = |columns: &[Column], prefix: &str| -> Vec<Column> {
            columns
                .iter()
                .map(|c| Column {
                    name: format!("{prefix}.{}", c.name),
                    ..c.clone()
                })
                .collect()
        };
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
                "SELECT {} FROM {left} JOIN {right} ON {}{filter}",
                items.join(", "),
                conditions.join(" AND ")
            )
        };
        let aliased = |relation: &Relation, alias: &str| match &relation.inline {
            None => (
                format!("{} AS {alias}", relation.name),
                format!("{} AS {alias}", relation.name),
            ),
            Some((weir, oracle)) => (
                format!("({weir}) AS {alias}"),
                format!("({oracle}) AS {alias}"),
            ),
        };
        let ((lw, lo), (rw, ro)) = (aliased(&left, &l), aliased(&right, &r));
        let texts = (text(&lw, &rw), text(&lo, &ro));
        let rows = joined.rows;
        let mut relation = self.relation(columns, None, rows);
        relation.retracts = left.retracts || right.retracts;
        Some((relation, texts.0, texts.1))
    }

    fn union(&mut self) -> Option<Step> {
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
}

impl Windows {
    /// How many windows a row is in.
    fn overlap(self) -> i64 {
        self.size / self.slide
    }

    fn weir(self, relation: &str, time: &str) -> String {
        if self.size == self.slide {
            format!(
                "TUMBLE({relation}, {time}, INTERVAL '{}' SECOND)",
                self.size
            )
        } else {
            format!(
                "HOP({relation}, {time}, INTERVAL '{}' SECOND, INTERVAL '{}' SECOND)",
                self.slide, self.size
            )
        }
    }

    /// Each row once for every window that holds it, windows that ended by the row's own watermark left out.
    fn oracle(self, relation: &str, time: &str) -> String {
        let copies: Vec<_> = (0..self.overlap())
            .map(|back| {
                format!(
                    "SELECT *, date_bin(INTERVAL '{} seconds', {time}, CAST('1970-01-01' AS TIMESTAMP)) - INTERVAL '{} seconds' \
                     AS window_start FROM {relation}",
                    self.slide,
                    back * self.slide
                )
            })
            .collect();
        format!(
            "(SELECT * FROM (SELECT *, window_start + INTERVAL '{size} seconds' AS window_end, window_start + \
             INTERVAL '{size} seconds' - INTERVAL '1 milliseconds' AS window_time FROM ({copies})) \
             WHERE own_watermark IS NULL OR window_end > own_watermark)",
            size = self.size,
            copies = copies.join(" UNION ALL ")
        )
    }
}
