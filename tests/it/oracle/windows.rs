//! Query shapes: windows of event time.

use rand::Rng;
use rand::seq::IndexedRandom;

use weir_tests::data::SqlType;

use super::generator::{Generator, Relation, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "an aggregate in windows",
        weight: 2,
        make: |generator| generator.window_aggregate(),
    },
    Shape {
        name: "rows with their windows",
        weight: 1,
        make: |generator| generator.window_assign(),
    },
    Shape {
        name: "a join of windows",
        weight: 1,
        make: |generator| generator.window_join(),
    },
];

/// Where the groups of a window stand in time, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    slide: i64,
    size: i64,
    /// CUMULATE: the windows of one start, each a slide longer than the one before.
    grow: bool,
}

impl Generator<'_> {
    /// A relation that still has event time and a name, for a window over it.
    pub(super) fn timed(&mut self) -> Option<(Relation, String)> {
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

    pub(super) fn windows(&mut self) -> Windows {
        let slide = *[1, 5, 10, 60].choose(self.rng).expect("a list");
        let size = if self.rng.random_bool(0.5) {
            slide
        } else {
            slide * self.rng.random_range(2..=4)
        };
        let grow = self.rng.random_bool(0.2);
        Windows { slide, size, grow }
    }

    pub(super) fn window_aggregate(&mut self) -> Option<Step> {
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

    /// Two relations in windows of the same kind, joined window by window.
    pub(super) fn window_join(&mut self) -> Option<Step> {
        let (left, left_time) = self.timed()?;
        let (right, right_time) = self.timed()?;
        let windows = self.windows();
        let pairs = self.equal_columns(&left, &right);
        let rows = left.rows * right.rows / 4.0;
        if rows * windows.overlap() as f64 > 40_000.0 || self.joins >= 2 {
            return None;
        }
        self.joins += 1;
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let mut conditions = vec![
            format!("{l}.window_start = {r}.window_start"),
            format!("{l}.window_end = {r}.window_end"),
        ];
        for (a, b) in pairs.into_iter().take(self.rng.random_range(0..=1)) {
            conditions.push(format!("{l}.{a} = {r}.{b}"));
        }
        let mut both = super::joins::prefixed(&left.columns, &l);
        both.extend(super::joins::prefixed(&right.columns, &r));
        if self.rng.random_bool(0.3) {
            conditions.push(self.predicate(&both, 1));
        }
        let joined = self.relation(both, None, rows);
        let (mut columns, mut items, _) = self.select_list(&joined);
        let out = self.column(SqlType::Timestamp, true);
        items.push(format!("{l}.window_end AS {}", out.name));
        columns.push(out);
        let text = |left: &str, right: &str| {
            format!(
                "SELECT {} FROM {left} AS {l} JOIN {right} AS {r} ON {}",
                items.join(", "),
                conditions.join(" AND ")
            )
        };
        let weir = text(
            &windows.weir(&left.name, &left_time),
            &windows.weir(&right.name, &right_time),
        );
        let oracle = text(
            &windows.oracle(&left.name, &left_time),
            &windows.oracle(&right.name, &right_time),
        );
        let mut relation = self.relation(columns, None, rows);
        relation.windowed = true;
        Some((relation, weir, oracle))
    }

    pub(super) fn window_assign(&mut self) -> Option<Step> {
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
}

impl Windows {
    /// How many windows a row is in.
    fn overlap(self) -> i64 {
        self.size / self.slide
    }

    fn weir(self, relation: &str, time: &str) -> String {
        let (slide, size) = (self.slide, self.size);
        if self.grow {
            format!(
                "CUMULATE({relation}, {time}, INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND)"
            )
        } else if size == slide {
            format!("TUMBLE({relation}, {time}, INTERVAL '{size}' SECOND)")
        } else {
            format!("HOP({relation}, {time}, INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND)")
        }
    }

    /// Each row once for every window that holds it, windows that ended by the row's own watermark left out.
    fn oracle(self, relation: &str, time: &str) -> String {
        let (slide, size) = (self.slide, self.size);
        let window = |number: i64| {
            let (raster, back, length) = if self.grow {
                (size, 0, (number + 1) * slide)
            } else {
                (slide, number * slide, size)
            };
            format!(
                "SELECT *, window_start + INTERVAL '{length} seconds' AS window_end, \
                 window_start + INTERVAL '{length} seconds' - INTERVAL '1 milliseconds' AS window_time FROM \
                 (SELECT *, date_bin(INTERVAL '{raster} seconds', {time}, CAST('1970-01-01' AS TIMESTAMP)) - \
                 INTERVAL '{back} seconds' AS window_start FROM {relation})"
            )
        };
        let copies: Vec<_> = (0..self.overlap()).map(window).collect();
        format!(
            "(SELECT * FROM ({copies}) WHERE {time} < window_end AND (own_watermark IS NULL OR window_end > own_watermark))",
            copies = copies.join(" UNION ALL ")
        )
    }
}
