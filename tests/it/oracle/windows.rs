//! Query shapes: windows of event time.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

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
#[derive(Clone)]
pub(super) struct Windows {
    slide: i64,
    size: i64,
    kind: Kind,
}

#[derive(Clone, PartialEq)]
enum Kind {
    /// TUMBLE, or HOP with a slide below the size.
    Fixed,
    /// CUMULATE, the slide as its step.
    Cumulate,
    /// SESSION by these columns, the slide as its gap.
    Session(Vec<String>),
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
        if self.rng.random_bool(0.4) {
            return Windows {
                slide,
                size: slide,
                kind: Kind::Fixed,
            };
        }
        let kind = if self.rng.random_bool(0.4) {
            Kind::Cumulate
        } else {
            Kind::Fixed
        };
        let size = slide * self.rng.random_range(2..=4);
        Windows { slide, size, kind }
    }

    /// Windows of any kind over a relation.
    fn windows_over(&mut self, input: &Relation) -> Windows {
        if self.rng.random_bool(0.7) {
            return self.windows();
        }
        let slide = *[1, 2, 5, 30].choose(self.rng).expect("a list");
        let columns = input.columns.iter().enumerate();
        let mut keys: Vec<String> = columns
            .filter(|(at, column)| {
                input.time != Some(*at) && column.exact && column.kind != SqlType::Double
            })
            .map(|(_, column)| column.name.clone())
            .collect();
        keys.shuffle(self.rng);
        keys.truncate(self.rng.random_range(0..=2));
        Windows {
            slide,
            size: slide,
            kind: Kind::Session(keys),
        }
    }

    pub(super) fn window_aggregate(&mut self) -> Option<Step> {
        let (input, time) = self.timed()?;
        let windows = self.windows_over(&input);
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
        let windows = self.windows_over(&input);
        let (mut columns, mut items, mut time_at) = self.select_list(&input);
        if let Kind::Session(_) = windows.kind {
            // A row comes when its session is over: of the input's columns none is event time any more.
            time_at = None;
        }
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
    pub(super) fn overlap(&self) -> i64 {
        self.size / self.slide
    }

    pub(super) fn weir(&self, relation: &str, time: &str) -> String {
        if let Kind::Session(keys) = &self.kind {
            let by = match keys.as_slice() {
                [] => String::new(),
                [key] => format!(" PARTITION BY {key}"),
                keys => format!(" PARTITION BY ({})", keys.join(", ")),
            };
            return format!(
                "SESSION({relation}{by}, {time}, INTERVAL '{}' SECOND)",
                self.slide
            );
        }
        if self.kind == Kind::Cumulate {
            format!(
                "CUMULATE({relation}, {time}, INTERVAL '{}' SECOND, INTERVAL '{}' SECOND)",
                self.slide, self.size
            )
        } else if self.size == self.slide {
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
    pub(super) fn oracle(&self, relation: &str, time: &str) -> String {
        if let Kind::Session(keys) = &self.kind {
            return self.sessions(keys, relation, time);
        }
        let bin = |length: i64| {
            format!(
                "date_bin(INTERVAL '{length} seconds', {time}, CAST('1970-01-01' AS TIMESTAMP))"
            )
        };
        let copies: Vec<_> = (0..self.overlap())
            .map(|at| match self.kind {
                Kind::Cumulate => format!(
                    "SELECT *, {start} AS window_start, {start} + INTERVAL '{length} seconds' AS window_end FROM {relation} \
                     WHERE {start} + INTERVAL '{length} seconds' > {time}",
                    start = bin(self.size),
                    length = (at + 1) * self.slide,
                ),
                _ => format!(
                    "SELECT *, {start} - INTERVAL '{back} seconds' AS window_start, \
                     {start} + INTERVAL '{ahead} seconds' AS window_end FROM {relation}",
                    start = bin(self.slide),
                    back = at * self.slide,
                    ahead = self.size - at * self.slide,
                ),
            })
            .collect();
        format!(
            "(SELECT *, window_end - INTERVAL '1 milliseconds' AS window_time FROM ({}) \
             WHERE own_watermark IS NULL OR window_end > own_watermark)",
            copies.join(" UNION ALL ")
        )
    }

    /// Rows that are not late, with the first and the last moment of their session: a row begins one if the row before it
    /// is a gap away, and its number is how many have begun up to it.
    fn sessions(&self, keys: &[String], relation: &str, time: &str) -> String {
        let by = if keys.is_empty() {
            String::new()
        } else {
            format!("PARTITION BY {} ", keys.join(", "))
        };
        let within = if keys.is_empty() {
            "PARTITION BY session_number".to_owned()
        } else {
            format!("{by}, session_number")
        };
        let gap = self.slide;
        format!(
            "(SELECT *, window_end - INTERVAL '1 milliseconds' AS window_time FROM (SELECT *, \
             min({time}) OVER ({within}) AS window_start, max({time}) OVER ({within}) + INTERVAL '{gap} seconds' AS window_end \
             FROM (SELECT *, sum(session_begins) OVER ({by}ORDER BY {time}) AS session_number \
             FROM (SELECT *, CASE WHEN lag({time}) OVER ({by}ORDER BY {time}) + INTERVAL '{gap} seconds' > {time} THEN 0 ELSE 1 END \
             AS session_begins FROM {relation} WHERE own_watermark IS NULL OR {time} >= own_watermark))))"
        )
    }
}
