//! Query shapes: rankings, LIMIT, deduplication, OVER.
//!
//! A number that hangs on the order of equal rows is asked for only where equal rows are equal in every column that is
//! selected: the order ends with all of them. Doubles are left out there, because Weir takes −0.0 for 0.0.
//!
//! No step has a WHERE of its own: over a self-join (seed 12036054880848365863 of November) the batch engine's ranking held rows
//! for which the WHERE `a = b` below it was false. Why is not known; Weir's answer was the right one.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Relation, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "a ranking",
        weight: 2,
        make: |generator| generator.ranking(),
    },
    Shape {
        name: "a ranking in windows",
        weight: 1,
        make: |generator| generator.window_ranking(),
    },
    Shape {
        name: "a limit",
        weight: 1,
        make: |generator| generator.limit(),
    },
];

/// What is selected: the new columns, select items, and the old names.
pub(super) struct Selected {
    pub(super) columns: Vec<Column>,
    pub(super) items: Vec<String>,
    pub(super) names: Vec<String>,
}

impl Generator<'_> {
    /// Some columns whose order is the same everywhere.
    pub(super) fn ordered_columns(&mut self, input: &Relation) -> Option<Selected> {
        let mut selected = Selected {
            columns: Vec::new(),
            items: Vec::new(),
            names: Vec::new(),
        };
        for column in &input.columns {
            if column.exact && column.kind != SqlType::Double && self.rng.random_bool(0.8) {
                let out = self.column(column.kind, true);
                selected
                    .items
                    .push(format!("{} AS {}", column.name, out.name));
                selected.names.push(column.name.clone());
                selected.columns.push(out);
            }
        }
        (!selected.columns.is_empty()).then_some(selected)
    }

    /// These names as an order, in random directions.
    fn order(&mut self, names: &[String]) -> String {
        let mut names = names.to_vec();
        names.shuffle(self.rng);
        let texts: Vec<String> = names
            .iter()
            .map(|name| {
                let endings = ["", " ASC", " DESC", " DESC NULLS LAST", " NULLS FIRST"];
                let ending = endings.choose(self.rng).expect("a list of endings");
                format!("{name}{ending}")
            })
            .collect();
        texts.join(", ")
    }

    fn ranking(&mut self) -> Option<Step> {
        let input = self.pick();
        let Some(selected) = self.ordered_columns(&input) else {
            self.put_back(input);
            return None;
        };
        let function = *["ROW_NUMBER", "ROW_NUMBER", "RANK", "DENSE_RANK"]
            .choose(self.rng)
            .expect("a list of functions");
        let partition: Vec<String> = selected
            .names
            .iter()
            .filter(|_| self.rng.random_bool(0.3))
            .cloned()
            .collect();
        let by = if function == "ROW_NUMBER" {
            selected.names.clone()
        } else {
            let some = selected.names.iter().filter(|_| self.rng.random_bool(0.5));
            let some: Vec<String> = some.cloned().collect();
            if some.is_empty() {
                selected.names.clone()
            } else {
                some
            }
        };
        let order = self.order(&by);
        let (partition, is_timed) = in_event_time_order(&input, &partition, &order);
        let partition = if partition.is_empty() {
            String::new()
        } else {
            format!("PARTITION BY {} ", partition.join(", "))
        };
        let number = self.column(SqlType::BigInt, true);
        let low = self.rng.random_range(1..3);
        let high = low + self.rng.random_range(0..7);
        let name = &number.name;
        let bound = match self.rng.random_range(0..5) {
            0 => format!("{name} = {low}"),
            1 => format!("{name} BETWEEN {low} AND {high}"),
            2 => format!("{name} >= {low}"),
            _ => format!("{name} <= {high}"),
        };
        let (weir, mut oracle) = input.from();
        if let Some(time) = is_timed {
            oracle = format!(
                "(SELECT * FROM {oracle} WHERE own_watermark IS NULL OR {time} >= own_watermark) AS timely"
            );
        }
        let call = format!("CAST({function}() OVER ({partition}ORDER BY {order}) AS BIGINT)");
        let shown = self.rng.random_bool(0.5);
        let mut columns = selected.columns.clone();
        let mut outer: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        if shown {
            outer.push(number.name.clone());
            columns.push(number.clone());
        }
        let inside = self.fresh("r");
        let text = |from: &str, call: &str| {
            format!(
                "SELECT {} FROM (SELECT {}, {call} AS {} FROM {from}) AS {inside} WHERE {bound}",
                outer.join(", "),
                selected.items.join(", "),
                number.name
            )
        };
        // The library counts unsigned, Weir in BIGINT.
        let bare = format!("{function}() OVER ({partition}ORDER BY {order})");
        let texts = (text(&weir, &bare), text(&oracle, &call));
        let mut relation = self.relation(columns, None, input.rows);
        relation.retracts = true;
        relation.windowed = input.windowed;
        Some((relation, texts.0, texts.1))
    }

    /// The first rows of each window, by all of its columns.
    fn window_ranking(&mut self) -> Option<Step> {
        let (input, time) = self.timed()?;
        let windows = self.windows();
        let selected = self.ordered_columns(&input)?;
        let function = *["ROW_NUMBER", "RANK", "DENSE_RANK"].choose(self.rng)?;
        let mut partition = vec!["window_start".to_owned(), "window_end".to_owned()];
        partition.extend(selected.names.choose(self.rng).cloned());
        partition.truncate(self.rng.random_range(2..=3));
        let mut by = selected.names.clone();
        if function != "ROW_NUMBER" {
            by.truncate(2);
        }
        let (partition, order) = (partition.join(", "), self.order(&by));
        let (end, number) = (
            self.column(SqlType::Timestamp, true),
            self.column(SqlType::BigInt, true),
        );
        let bound = match self.rng.random_range(0..4) {
            0 => format!("{} = 1", number.name),
            1 => format!("{} >= 2", number.name),
            _ => format!("{} <= {}", number.name, self.rng.random_range(1..5)),
        };
        let mut columns = selected.columns.clone();
        columns.push(end.clone());
        if self.rng.random_bool(0.5) {
            columns.push(number.clone());
        }
        let outer: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let inside = self.fresh("r");
        let text = |from: &str, call: &str| {
            format!(
                "SELECT {} FROM (SELECT {}, window_end AS {}, {call} AS {} FROM {from}) AS {inside} WHERE {bound}",
                outer.join(", "),
                selected.items.join(", "),
                end.name,
                number.name
            )
        };
        let bare = format!("{function}() OVER (PARTITION BY {partition} ORDER BY {order})");
        let texts = (
            text(&windows.weir(&input.name, &time), &bare),
            text(
                &windows.oracle(&input.name, &time),
                &format!("CAST({bare} AS BIGINT)"),
            ),
        );
        let rows = input.rows * windows.overlap() as f64;
        let mut relation = self.relation(columns, None, rows);
        relation.windowed = true;
        Some((relation, texts.0, texts.1))
    }

    fn limit(&mut self) -> Option<Step> {
        let input = self.pick();
        let Some(selected) = self.ordered_columns(&input) else {
            self.put_back(input);
            return None;
        };
        let order = self.order(&selected.names);
        let limit = self.rng.random_range(1..30);
        let tail = if self.rng.random_bool(0.4) {
            format!("LIMIT {limit} OFFSET {}", self.rng.random_range(0..5))
        } else {
            format!("LIMIT {limit}")
        };
        let (weir, oracle) = input.from();
        let text = |from: &str| {
            let items = selected.items.join(", ");
            format!("SELECT {items} FROM {from} ORDER BY {order} {tail}")
        };
        let texts = (text(&weir), text(&oracle));
        let mut relation = self.relation(selected.columns, None, input.rows.min(30.0));
        relation.retracts = true;
        relation.windowed = input.windowed;
        Some((relation, texts.0, texts.1))
    }
}

/// Partitions of rows that are only inserted, in the order of event time, leave out late rows: the time column then. A
/// relation may have more event times than we know of: by such a column the rows are ranked without partitions.
fn in_event_time_order(
    input: &Relation,
    partition: &[String],
    order: &str,
) -> (Vec<String>, Option<String>) {
    let first = order.split(", ").next().unwrap_or_default();
    let name = first.split(' ').next().unwrap_or_default();
    let column = input.columns.iter().position(|column| column.name == name);
    let is_time = column.is_some_and(|at| input.columns[at].kind == SqlType::Timestamp);
    let is_partition = partition.iter().any(|part| part == name);
    if first.contains("DESC") || !is_time || is_partition {
        return (partition.to_vec(), None);
    }
    // Of windows' rows one of the partition's columns may be a window's end.
    if column == input.time && !input.retracts && !input.windowed && !partition.is_empty() {
        return (partition.to_vec(), Some(name.to_owned()));
    }
    (Vec::new(), None)
}
