//! Query shapes: joins that time bounds.

use rand::Rng;
use rand::seq::IndexedRandom;

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Relation, Shape, Step};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "an interval join",
        weight: 1,
        make: |generator| generator.interval_join(),
    },
    Shape {
        name: "rows with a partner in an interval, or without one",
        weight: 1,
        make: |generator| generator.interval_exists(),
    },
    Shape {
        name: "a join of windows",
        weight: 1,
        make: |generator| generator.window_join(),
    },
];

/// What becomes of rows without a partner.
const KINDS: [&str; 6] = [
    "JOIN",
    "JOIN",
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
];

/// Two relations with event time, under their aliases.
struct Pair {
    left: Relation,
    right: Relation,
    l: String,
    r: String,
    /// An equality, most often.
    equal: Vec<String>,
}

impl Pair {
    /// The oracle's text with a name of its own for each column: joins of columns of one name are not what they say there.
    fn apart(&self, text: &str) -> String {
        let (l, r) = (&self.l, &self.r);
        text.replace(&format!("{l}."), &format!("{l}.{l}_"))
            .replace(&format!("{r}."), &format!("{r}.{r}_"))
    }
}

/// A side of the oracle's join, its columns called after it.
fn renamed(side: &Relation, from: &str, alias: &str, more: &[&str]) -> String {
    let columns = side.columns.iter().map(|column| column.name.as_str());
    let columns = columns.chain(["own_watermark"]).chain(more.iter().copied());
    let columns: Vec<String> = columns
        .map(|column| format!("{column} AS {alias}_{column}"))
        .collect();
    format!("(SELECT {} FROM {from}) AS {alias}", columns.join(", "))
}

impl Generator<'_> {
    fn timed_pair(&mut self) -> Option<Pair> {
        let (left, _) = self.timed()?;
        let (right, _) = self.timed()?;
        // Two windows that meet are joined as windows, whatever else is said.
        let plain = [&left, &right]
            .iter()
            .all(|side| !side.retracts && !side.windowed);
        if self.joins >= 2 || left.rows * right.rows > 60_000.0 || !plain {
            return None;
        }
        self.joins += 1;
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let mut equal = Vec::new();
        for a in left.columns.iter().filter(|c| c.exact) {
            // An equality of two event times is a bound of its own, and a relation may have more of them than we know of.
            let same = |b: &&Column| b.exact && b.kind == a.kind && b.kind != SqlType::Timestamp;
            equal.extend(
                right
                    .columns
                    .iter()
                    .filter(same)
                    .filter(|b| {
                        left.time.map(|t| &left.columns[t].name) != Some(&a.name)
                            || right.time.map(|t| &right.columns[t].name) != Some(&b.name)
                    })
                    .map(|b| format!("{l}.{} = {r}.{}", a.name, b.name)),
            );
        }
        let equal = match equal.choose(self.rng) {
            Some(one) if self.rng.random_bool(0.8) => vec![one.clone()],
            _ => Vec::new(),
        };
        Some(Pair {
            left,
            right,
            l,
            r,
            equal,
        })
    }

    fn both(pair: &Pair) -> Vec<Column> {
        let prefixed = |columns: &[Column], prefix: &str| -> Vec<Column> {
            columns
                .iter()
                .map(|c| Column {
                    name: format!("{prefix}.{}", c.name),
                    ..c.clone()
                })
                .collect()
        };
        let mut both = prefixed(&pair.left.columns, &pair.l);
        both.extend(prefixed(&pair.right.columns, &pair.r));
        both
    }

    fn interval_join(&mut self) -> Option<Step> {
        let pair = self.timed_pair()?;
        let both = Self::both(&pair);
        let (left_at, right_at) = (pair.left.time?, pair.left.columns.len() + pair.right.time?);
        let (left_time, right_time) = (both[left_at].name.clone(), both[right_at].name.clone());
        let choices = [0, 5, 20, 90, 600];
        let (before, after) = (*choices.choose(self.rng)?, *choices.choose(self.rng)?);
        let mut conditions = pair.equal.clone();
        conditions.push(if self.rng.random_bool(0.5) {
            format!(
                "{left_time} BETWEEN {right_time} - INTERVAL '{before}' SECOND AND {right_time} + INTERVAL '{after}' SECOND"
            )
        } else {
            format!(
                "{left_time} + INTERVAL '{before}' SECOND >= {right_time} AND {right_time} >= {left_time} - INTERVAL '{after}' SECOND"
            )
        });
        // Not of times: a condition between the two event times is one more bound, in WHERE as well.
        let mut timeless = self.relation(both.clone(), None, 1.0);
        timeless
            .columns
            .retain(|column| column.kind != SqlType::Timestamp);
        if self.rng.random_bool(0.2) && !timeless.columns.is_empty() {
            conditions.push(self.predicate(&timeless.columns, 1));
        }
        let kind = *KINDS.choose(self.rng)?;
        // The kept side's event time goes on; the oracle follows one of them.
        let time = match kind {
            "LEFT JOIN" => Some(left_at),
            "RIGHT JOIN" => Some(right_at),
            "FULL JOIN" => None,
            _ if self.rng.random_bool(0.5) => Some(left_at),
            _ => Some(right_at),
        };
        let joined = self.relation(both, time, pair.left.rows * pair.right.rows / 4.0);
        let (columns, items, time_at) = self.select_list(&joined);
        let filter = if timeless.columns.is_empty() {
            String::new()
        } else {
            self.filter(&timeless, 0.2)
        };
        let (l, r) = (&pair.l, &pair.r);
        let text = |left: &str, right: &str, hidden: &str, late: &str| {
            format!(
                "SELECT {}{hidden} FROM {left} {kind} {right} ON {}{late}{filter}",
                items.join(", "),
                conditions.join(" AND ")
            )
        };
        let late = format!(
            " AND ({l}.own_watermark IS NULL OR {l}.own_watermark <= {right_time} + INTERVAL '{after}' SECOND) \
             AND ({r}.own_watermark IS NULL OR {r}.own_watermark <= {left_time} + INTERVAL '{before}' SECOND)"
        );
        let hidden = format!(
            ", CASE WHEN {l}.own_watermark IS NULL OR {r}.own_watermark > {l}.own_watermark THEN {r}.own_watermark \
             ELSE {l}.own_watermark END - INTERVAL '{}' SECOND AS own_watermark",
            before.max(after)
        );
        let hidden = if time_at.is_some() {
            hidden
        } else {
            String::new()
        };
        let texts = (
            text(
                &format!("{} AS {l}", pair.left.name),
                &format!("{} AS {r}", pair.right.name),
                "",
                "",
            ),
            pair.apart(&text(
                &renamed(&pair.left, &pair.left.name, l, &[]),
                &renamed(&pair.right, &pair.right.name, r, &[]),
                &hidden,
                &late,
            )),
        );
        let rows = joined.rows;
        Some((self.relation(columns, time_at, rows), texts.0, texts.1))
    }

    /// EXISTS or NOT EXISTS of a row not too far away in time: the left's event time goes on.
    fn interval_exists(&mut self) -> Option<Step> {
        let pair = self.timed_pair()?;
        let both = Self::both(&pair);
        let (left_at, right_at) = (pair.left.time?, pair.left.columns.len() + pair.right.time?);
        let (left_time, right_time) = (both[left_at].name.clone(), both[right_at].name.clone());
        let choices = [0, 5, 20, 90, 600];
        let (before, after) = (*choices.choose(self.rng)?, *choices.choose(self.rng)?);
        let mut conditions = pair.equal.clone();
        conditions.push(format!(
            "{left_time} BETWEEN {right_time} - INTERVAL '{before}' SECOND AND {right_time} + INTERVAL '{after}' SECOND"
        ));
        let mut timeless = self.relation(both.clone(), None, 1.0);
        timeless
            .columns
            .retain(|column| column.kind != SqlType::Timestamp);
        if self.rng.random_bool(0.3) && !timeless.columns.is_empty() {
            conditions.push(self.predicate(&timeless.columns, 1));
        }
        let left = both[..pair.left.columns.len()].to_vec();
        let kept = self.relation(left, Some(left_at), pair.left.rows / 2.0);
        let (columns, items, time_at) = self.select_list(&kept);
        let (l, r) = (&pair.l, &pair.r);
        let (items, conditions) = (items.join(", "), conditions.join(" AND "));
        let anti = self.rng.random_bool(0.5);
        let (not, join) = if anti {
            ("NOT ", "LEFT ANTI JOIN")
        } else {
            ("", "LEFT SEMI JOIN")
        };
        let hidden = match time_at {
            Some(_) => format!(
                ", {l}.own_watermark - INTERVAL '{}' SECOND AS own_watermark",
                before.max(after)
            ),
            None => String::new(),
        };
        let weir = format!(
            "SELECT {items} FROM {} AS {l} WHERE {not}EXISTS (SELECT 1 FROM {} AS {r} WHERE {conditions})",
            pair.left.name, pair.right.name
        );
        let oracle = pair.apart(&format!(
            "SELECT {items}{hidden} FROM {} {join} {} ON {conditions} \
             AND ({l}.own_watermark IS NULL OR {l}.own_watermark <= {right_time} + INTERVAL '{after}' SECOND) \
             AND ({r}.own_watermark IS NULL OR {r}.own_watermark <= {left_time} + INTERVAL '{before}' SECOND)",
            renamed(&pair.left, &pair.left.name, l, &[]),
            renamed(&pair.right, &pair.right.name, r, &[]),
        ));
        let rows = kept.rows;
        Some((self.relation(columns, time_at, rows), weir, oracle))
    }

    fn window_join(&mut self) -> Option<Step> {
        let pair = self.timed_pair()?;
        let windows = self.windows();
        let kind = *KINDS.choose(self.rng)?;
        let (left_time, right_time) = (
            pair.left.columns[pair.left.time?].name.clone(),
            pair.right.columns[pair.right.time?].name.clone(),
        );
        let both = Self::both(&pair);
        let (l, r) = (&pair.l, &pair.r);
        let mut conditions = vec![
            format!("{l}.window_start = {r}.window_start"),
            format!("{l}.window_end = {r}.window_end"),
        ];
        conditions.extend(pair.equal.iter().cloned());
        if self.rng.random_bool(0.2) {
            conditions.push(self.predicate(&both, 1));
        }
        let joined = self.relation(both, None, pair.left.rows * pair.right.rows / 2.0);
        let (mut columns, mut items, _) = self.select_list(&joined);
        let out = self.column(SqlType::Timestamp, true);
        items.push(format!("{l}.window_end AS {}", out.name));
        columns.push(out);
        let filter = self.filter(&joined, 0.2);
        let text = |left: String, right: String| {
            format!(
                "SELECT {} FROM {left} {kind} {right} ON {}{filter}",
                items.join(", "),
                conditions.join(" AND ")
            )
        };
        let window = ["window_start", "window_end"];
        let (left_from, right_from) = (
            windows.oracle(&pair.left.name, &left_time),
            windows.oracle(&pair.right.name, &right_time),
        );
        let texts = (
            text(
                format!("{} AS {l}", windows.weir(&pair.left.name, &left_time)),
                format!("{} AS {r}", windows.weir(&pair.right.name, &right_time)),
            ),
            pair.apart(&text(
                renamed(&pair.left, &left_from, l, &window),
                renamed(&pair.right, &right_from, r, &window),
            )),
        );
        let rows = joined.rows * windows.overlap() as f64;
        let mut relation = self.relation(columns, None, rows);
        relation.windowed = true;
        Some((relation, texts.0, texts.1))
    }
}
