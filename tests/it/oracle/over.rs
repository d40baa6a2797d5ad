//! Query shapes: what the rows around a row say.
//!
//! The order is total over the selected columns wherever a result hangs on single rows. An order that begins with a time going up is
//! asked for only where it is known whether it is event time: in event-time order late rows are left out. All calls of a step share
//! one window: of rows that are equal in all columns nobody says which has which result of another.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "calls over the rows around a row",
        weight: 2,
        make: |generator| generator.over(),
    },
    Shape {
        name: "calls over frames of values",
        weight: 1,
        make: |generator| generator.over_values(),
    },
    Shape {
        name: "calls in event-time order",
        weight: 1,
        make: |generator| generator.over_event_time(),
    },
];

/// Calls of one SELECT: the columns that they give, and their texts for Weir and for the oracle.
struct Calls {
    columns: Vec<Column>,
    weir: Vec<String>,
    oracle: Vec<String>,
}

impl Generator<'_> {
    fn over(&mut self) -> Option<Step> {
        let input = self.pick();
        let Some(selected) = self.ordered_columns(&input) else {
            self.put_back(input);
            return None;
        };
        let mut calls = Calls {
            columns: Vec::new(),
            weir: Vec::new(),
            oracle: Vec::new(),
        };
        let kinds: Vec<(String, SqlType)> = selected
            .names
            .iter()
            .cloned()
            .zip(selected.columns.iter().map(|column| column.kind))
            .collect();
        let window = self.window_of(&kinds, None);
        for _ in 0..self.rng.random_range(1..=3) {
            self.over_call(&kinds, &window, false, &mut calls);
        }
        let (weir, oracle) = input.from();
        let text = |from: &str, calls: &[String]| {
            let items = selected.items.iter().chain(calls);
            let items: Vec<&str> = items.map(String::as_str).collect();
            format!("SELECT {} FROM {from}", items.join(", "))
        };
        let texts = (text(&weir, &calls.weir), text(&oracle, &calls.oracle));
        let mut columns = selected.columns;
        columns.extend(calls.columns);
        let mut relation = self.relation(columns, None, input.rows);
        relation.retracts = true;
        relation.windowed = input.windowed;
        Some((relation, texts.0, texts.1))
    }

    /// RANGE and GROUPS over an order that is not total: a frame holds all rows that are equal in it, or none.
    fn over_values(&mut self) -> Option<Step> {
        let input = self.pick();
        let integer = |c: &&Column| matches!(c.kind, SqlType::Int | SqlType::BigInt) && c.exact;
        let integers: Vec<Column> = input.columns.iter().filter(integer).cloned().collect();
        let Some(by) = integers.choose(self.rng).cloned() else {
            self.put_back(input);
            return None;
        };
        let selected = self.ordered_columns(&input)?;
        let mut calls = Calls {
            columns: Vec::new(),
            weir: Vec::new(),
            oracle: Vec::new(),
        };
        let partition = match selected.names.choose(self.rng) {
            Some(name) if self.rng.random_bool(0.5) && *name != by.name => {
                format!("PARTITION BY {name} ")
            }
            _ => String::new(),
        };
        let direction = ["", " DESC"].choose(self.rng)?;
        let window = format!("{partition}ORDER BY {}{direction}", by.name);
        for _ in 0..self.rng.random_range(1..=2) {
            let name = selected.names.choose(self.rng)?;
            let function = match self.rng.random_range(0..3) {
                0 => "count(*)".to_owned(),
                1 => format!("count({name})"),
                _ => format!("sum({})", by.name),
            };
            let unit = if self.rng.random_bool(0.5) {
                "RANGE"
            } else {
                "GROUPS"
            };
            let frame = self.frame(false).replace(" ROWS", &format!(" {unit}"));
            let text = format!("{function} OVER ({window}{frame})");
            let column = self.column(SqlType::BigInt, true);
            calls.weir.push(format!("{text} AS {}", column.name));
            calls
                .oracle
                .push(format!("CAST({text} AS BIGINT) AS {}", column.name));
            calls.columns.push(column);
        }
        let (weir, oracle) = input.from();
        let text = |from: &str, calls: &[String]| {
            let items = selected.items.iter().chain(calls);
            let items: Vec<&str> = items.map(String::as_str).collect();
            format!("SELECT {} FROM {from}", items.join(", "))
        };
        let texts = (text(&weir, &calls.weir), text(&oracle, &calls.oracle));
        let mut columns = selected.columns;
        columns.extend(calls.columns);
        let mut relation = self.relation(columns, None, input.rows);
        relation.retracts = true;
        relation.windowed = input.windowed;
        Some((relation, texts.0, texts.1))
    }

    fn over_event_time(&mut self) -> Option<Step> {
        let (input, time) = self.timed()?;
        if input.retracts || input.windowed {
            return None;
        }
        let mut kinds = Vec::new();
        let (mut items, mut columns, mut time_at) = (Vec::new(), Vec::new(), None);
        for column in &input.columns {
            let is_time = column.name == time;
            let plain = column.exact && column.kind != SqlType::Double;
            if is_time || (plain && self.rng.random_bool(0.7)) {
                let out = self.column(column.kind, true);
                items.push(format!("{} AS {}", column.name, out.name));
                time_at = time_at.or(is_time.then_some(columns.len()));
                kinds.push((column.name.clone(), column.kind));
                columns.push(out);
            }
        }
        let mut calls = Calls {
            columns: Vec::new(),
            weir: Vec::new(),
            oracle: Vec::new(),
        };
        let window = self.window_of(&kinds, Some(&time));
        for _ in 0..self.rng.random_range(1..=3) {
            self.over_call(&kinds, &window, true, &mut calls);
        }
        let (weir, oracle) = input.from();
        let select = |calls: &[String]| {
            let items = items.iter().chain(calls);
            items.map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let weir = format!("SELECT {} FROM {weir}", select(&calls.weir));
        let oracle = format!(
            "SELECT {}, CAST(NULL AS TIMESTAMP) AS own_watermark FROM \
             (SELECT * FROM {oracle} WHERE own_watermark IS NULL OR {time} >= own_watermark) AS timely",
            select(&calls.oracle)
        );
        columns.extend(calls.columns);
        Some((self.relation(columns, time_at, input.rows), weir, oracle))
    }

    /// PARTITION BY and a total order, which begins with `time`, or else with no time that goes up.
    fn window_of(&mut self, kinds: &[(String, SqlType)], time: Option<&str>) -> String {
        let mut names = kinds.to_vec();
        names.shuffle(self.rng);
        let partition: Vec<String> = names
            .iter()
            .filter(|(name, _)| Some(name.as_str()) != time && self.rng.random_bool(0.3))
            .map(|(name, _)| name.clone())
            .collect();
        let mut order: Vec<String> = time.map(str::to_owned).into_iter().collect();
        for (name, kind) in names.iter().filter(|(name, _)| Some(name.as_str()) != time) {
            let endings = if order.is_empty() && *kind == SqlType::Timestamp {
                &[" DESC", " DESC NULLS LAST"][..]
            } else {
                &["", " ASC", " DESC", " DESC NULLS LAST", " NULLS FIRST"]
            };
            let ending = endings.choose(self.rng).expect("a list of endings");
            order.push(format!("{name}{ending}"));
        }
        let partition = if partition.is_empty() {
            String::new()
        } else {
            format!("PARTITION BY {} ", partition.join(", "))
        };
        format!("{partition}ORDER BY {}", order.join(", "))
    }

    /// One more call over a window.
    fn over_call(
        &mut self,
        kinds: &[(String, SqlType)],
        window: &str,
        back_only: bool,
        calls: &mut Calls,
    ) {
        let (name, kind) = kinds.choose(self.rng).expect("a column").clone();
        let places = self.rng.random_range(1..4);
        let framed = [
            ("count(*)".to_owned(), SqlType::BigInt),
            (format!("count({name})"), SqlType::BigInt),
            (format!("min({name})"), kind),
            (format!("max({name})"), kind),
            (format!("first_value({name})"), kind),
            (format!("last_value({name})"), kind),
            (format!("nth_value({name}, {places})"), kind),
        ];
        let mut unframed = vec![(format!("lag({name}, {places})"), kind)];
        if !back_only {
            // A ranking of its own is no call in event-time order: it is kept current.
            unframed.extend([
                ("row_number()".to_owned(), SqlType::BigInt),
                ("dense_rank()".to_owned(), SqlType::BigInt),
                (format!("lead({name}, {places})"), kind),
                (format!("ntile({places})"), SqlType::BigInt),
            ]);
        }
        let (text, kind) = if self.rng.random_bool(0.7) {
            let (function, kind) = framed.choose(self.rng).expect("a list").clone();
            // Booleans have no order for the batch engine's sliding frames.
            let function = if kind == SqlType::Boolean && function.starts_with('m') {
                "count(*)".to_owned()
            } else {
                function
            };
            let kind = if function == "count(*)" {
                SqlType::BigInt
            } else {
                kind
            };
            let frame = self.frame(back_only);
            (format!("{function} OVER ({window}{frame})"), kind)
        } else {
            let (function, kind) = unframed.choose(self.rng).expect("a list").clone();
            (format!("{function} OVER ({window})"), kind)
        };
        let column = self.column(kind, true);
        calls.weir.push(format!("{text} AS {}", column.name));
        // The library counts unsigned, Weir in BIGINT.
        let oracle = if kind == SqlType::BigInt {
            format!("CAST({text} AS BIGINT)")
        } else {
            text
        };
        calls.oracle.push(format!("{oracle} AS {}", column.name));
        calls.columns.push(column);
    }

    fn frame(&mut self, back_only: bool) -> String {
        let last = if back_only { 3 } else { 6 };
        let (a, b) = (
            self.rng.random_range(0..=last),
            self.rng.random_range(0..=last),
        );
        let (start, end) = (a.min(b), a.max(b));
        let bound = |place: i64, end: bool| match place {
            0 if !end => "UNBOUNDED PRECEDING".to_owned(),
            6 if end => "UNBOUNDED FOLLOWING".to_owned(),
            0..=2 => format!("{} PRECEDING", 3 - place),
            3 => "CURRENT ROW".to_owned(),
            _ => format!("{} FOLLOWING", place - 3),
        };
        if self.rng.random_bool(0.2) {
            return String::new();
        }
        format!(
            " ROWS BETWEEN {} AND {}",
            bound(start, false),
            bound(end, true)
        )
    }
}
