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
];

/// Where the groups of a window stand in time, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    slide: i64,
    size: i64,
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
        Windows { slide, size }
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
