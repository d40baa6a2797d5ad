//! Query shapes: lookups in a table as it is, the last row that is not later, and LATERAL subqueries.
//!
//! The batch engine is asked in other words: a join, a ranking by how near a row is, a ranking or groups joined by the key.

use rand::Rng;
use rand::seq::IndexedRandom;

use weir_tests::data::SqlType;

use super::generator::{Column, Generator, Relation, Shape, Step};
use super::joins::{aliased, prefixed};

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "a lookup",
        weight: 1,
        make: |generator| generator.lookup(),
    },
    Shape {
        name: "the last row that is not later",
        weight: 1,
        make: |generator| generator.as_of(),
    },
    Shape {
        name: "the first rows of another relation for each row",
        weight: 1,
        make: |generator| generator.lateral_first(),
    },
    Shape {
        name: "aggregates of another relation for each row",
        weight: 1,
        make: |generator| generator.lateral_aggregate(),
    },
];

impl Generator<'_> {
    /// Two relations, the right one by its name, and what can be equal.
    fn sides(&mut self) -> Option<(Relation, Relation, (String, String))> {
        let (left, right) = (self.pick(), self.pick());
        let pairs = self.equal_columns(&left, &right);
        let fits = self.joins < 2 && left.rows * right.rows <= 60_000.0;
        match pairs.choose(self.rng).filter(|_| fits) {
            Some(pair) => {
                self.joins += 1;
                Some((left, right, pair.clone()))
            }
            None => {
                self.put_back(left);
                self.put_back(right);
                None
            }
        }
    }

    /// Every table of the oracle ends: each row meets all of the right.
    fn lookup(&mut self) -> Option<Step> {
        let (left, right, (a, b)) = self.sides()?;
        // Only a name can stand before FOR SYSTEM_TIME; a key with event time would be read as versions.
        if right.inline.is_some() {
            self.put_back(left);
            self.put_back(right);
            return None;
        }
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let kind = *["JOIN", "LEFT JOIN"].choose(self.rng)?;
        let mut both = prefixed(&left.columns, &l);
        both.extend(prefixed(&right.columns, &r));
        let mut conditions = vec![format!("{l}.{a} = {r}.{b}")];
        if self.rng.random_bool(0.4) {
            conditions.push(self.predicate(&both, 1));
        }
        let time = left.time.filter(|_| !left.retracts);
        let joined = self.relation(both, time, left.rows * right.rows / 2.0);
        let (columns, items, time_at) = self.select_list(&joined);
        let filter = self.filter(&joined, 0.3);
        let (items, conditions) = (items.join(", "), conditions.join(" AND "));
        let hidden = match time_at {
            Some(_) => format!(", {l}.own_watermark AS own_watermark"),
            None => String::new(),
        };
        let (weir, oracle) = aliased(&left, &l);
        let texts = (
            format!(
                "SELECT {items} FROM {weir} {kind} {} FOR SYSTEM_TIME AS OF PROCTIME() AS {r} ON {conditions}{filter}",
                right.name
            ),
            format!(
                "SELECT {items}{hidden} FROM {oracle} {kind} {} AS {r} ON {conditions}{filter}",
                right.name
            ),
        );
        let rows = joined.rows;
        let mut relation = self.relation(columns, time_at, rows);
        (relation.retracts, relation.windowed) = (left.retracts, left.windowed);
        Some((relation, texts.0, texts.1))
    }

    /// The nearest row in time, its ties broken by the one column of it that is read beside the key.
    fn as_of(&mut self) -> Option<Step> {
        let (left, left_time) = self.timed()?;
        let (right, right_time) = self.timed()?;
        let plain = [&left, &right]
            .iter()
            .all(|side| !side.retracts && !side.windowed);
        let pairs = self.equal_columns(&left, &right);
        let pair = pairs.choose(self.rng).cloned();
        let (Some((a, b)), true) = (
            pair,
            plain && self.joins < 2 && left.rows * right.rows <= 60_000.0,
        ) else {
            return None;
        };
        let readable: Vec<&Column> = right
            .columns
            .iter()
            .filter(|c| c.exact && c.kind != SqlType::Double && c.name != right_time && c.name != b)
            .collect();
        let read = (*readable.choose(self.rng)?).clone();
        self.joins += 1;
        let (l, r) = (self.fresh("l"), self.fresh("r"));
        let strict = self.rng.random_bool(0.3);
        let (op, left_join) = (if strict { ">" } else { ">=" }, self.rng.random_bool(0.5));
        let (mut columns, mut weir, mut oracle, mut time_at) =
            (Vec::new(), Vec::new(), Vec::new(), None);
        for column in &left.columns {
            let is_time = column.name == left_time;
            if is_time || self.rng.random_bool(0.6) {
                let out = self.column(column.kind, column.exact);
                time_at = time_at.or(is_time.then_some(columns.len()));
                weir.push(format!("{l}.{} AS {}", column.name, out.name));
                oracle.push(format!("l_{} AS {}", column.name, out.name));
                columns.push(out);
            }
        }
        for (name, kind) in [(&read.name, read.kind), (&right_time, SqlType::Timestamp)] {
            let out = self.column(kind, true);
            weir.push(format!("{r}.{name} AS {}", out.name));
            oracle.push(format!("r_{name} AS {}", out.name));
            columns.push(out);
        }
        let join = if left_join {
            "ASOF LEFT JOIN"
        } else {
            "ASOF JOIN"
        };
        let weir = format!(
            "SELECT {} FROM {} AS {l} {join} {} AS {r} MATCH_CONDITION ({l}.{left_time} {op} {r}.{right_time}) ON {l}.{a} = {r}.{b}",
            weir.join(", "),
            left.name,
            right.name
        );
        let named = |relation: &Relation, prefix: &str| {
            let columns = relation.columns.iter();
            let columns =
                columns.map(|column| format!("{} AS {prefix}_{}", column.name, column.name));
            columns.collect::<Vec<_>>().join(", ")
        };
        let timely = |relation: &Relation, time: &str| {
            format!(
                "{} WHERE own_watermark IS NULL OR {time} >= own_watermark",
                relation.name
            )
        };
        let found = if left_join {
            String::new()
        } else {
            format!(" AND r_{right_time} IS NOT NULL")
        };
        let oracle = format!(
            "SELECT {}, CAST(NULL AS TIMESTAMP) AS own_watermark FROM (\
             SELECT *, row_number() OVER (PARTITION BY rid ORDER BY r_{right_time} DESC NULLS LAST, r_{} ASC NULLS LAST) AS rn FROM \
             (SELECT {}, row_number() OVER () AS rid FROM {}) AS l LEFT JOIN \
             (SELECT {} FROM {}) AS r ON l_{a} = r_{b} AND l_{left_time} {op} r_{right_time}) AS pairs WHERE rn = 1{found}",
            oracle.join(", "),
            read.name,
            named(&left, "l"),
            timely(&left, &left_time),
            named(&right, "r"),
            timely(&right, &right_time),
        );
        let rows = left.rows;
        Some((self.relation(columns, time_at, rows), weir, oracle))
    }

    /// What is selected of the right, and all of it in an order.
    fn inner_columns(&mut self, right: &Relation) -> Option<(Vec<String>, String)> {
        let selected = self.ordered_columns(right)?;
        let endings = ["", " DESC", " DESC NULLS LAST", " NULLS FIRST"];
        // In the order of event time, ascending, late rows would be left out.
        let mut first = selected.columns[0].kind == SqlType::Timestamp;
        let order = selected.names.iter().map(|name| {
            let ending = match std::mem::take(&mut first) {
                true => " DESC",
                false => *endings.choose(self.rng).expect("a list of endings"),
            };
            format!("{name}{ending}")
        });
        let order = order.collect::<Vec<_>>().join(", ");
        Some((selected.names, order))
    }

    fn lateral_first(&mut self) -> Option<Step> {
        let (left, right, (a, b)) = self.sides()?;
        let Some((names, order)) = self.inner_columns(&right) else {
            self.put_back(left);
            self.put_back(right);
            return None;
        };
        let (l, i, s) = (self.fresh("l"), self.fresh("i"), self.fresh("s"));
        let limit = self.rng.random_range(1..4);
        let is_left = self.rng.random_bool(0.4);
        let kept: Vec<Column> = right
            .columns
            .iter()
            .filter(|column| names.contains(&column.name))
            .cloned()
            .collect();
        let mut both = prefixed(&left.columns, &l);
        both.extend(prefixed(&kept, &s));
        let joined = self.relation(both, None, left.rows * f64::from(limit));
        let (columns, items, _) = self.select_list(&joined);
        let filter = self.filter(&joined, 0.2);
        let (items, names) = (items.join(", "), names.join(", "));
        let ((lw, lo), (iw, io)) = (aliased(&left, &l), aliased(&right, &i));
        let (join, end) = match is_left {
            true => ("LEFT JOIN LATERAL", " ON TRUE"),
            false => ("CROSS JOIN LATERAL", ""),
        };
        let kind = if is_left { "LEFT JOIN" } else { "JOIN" };
        let texts = (
            format!(
                "SELECT {items} FROM {lw} {join} (SELECT {names} FROM {iw} WHERE {i}.{b} = {l}.{a} ORDER BY {order} LIMIT {limit}) AS {s}{end}{filter}"
            ),
            format!(
                "SELECT {items} FROM {lo} {kind} (SELECT {names}, {b} AS tie, row_number() OVER (PARTITION BY {b} ORDER BY {order}) AS rn FROM {io}) AS {s} \
                 ON {s}.tie = {l}.{a} AND {s}.rn <= {limit}{filter}"
            ),
        );
        let rows = joined.rows;
        let mut relation = self.relation(columns, None, rows);
        relation.retracts = true;
        Some((relation, texts.0, texts.1))
    }

    fn lateral_aggregate(&mut self) -> Option<Step> {
        let (left, right, (a, b)) = self.sides()?;
        let exact: Vec<Column> = right
            .columns
            .iter()
            .filter(|c| c.exact && c.kind != SqlType::Double && c.kind != SqlType::Boolean)
            .cloned()
            .collect();
        let Some(of) = exact.choose(self.rng).cloned() else {
            self.put_back(left);
            self.put_back(right);
            return None;
        };
        let (l, i, s) = (self.fresh("l"), self.fresh("i"), self.fresh("s"));
        let calls = [
            ("count(*)".to_owned(), SqlType::BigInt),
            (format!("count({i}.{})", of.name), SqlType::BigInt),
            (format!("count(DISTINCT {i}.{})", of.name), SqlType::BigInt),
            (format!("min({i}.{})", of.name), of.kind),
            (format!("max({i}.{})", of.name), of.kind),
        ];
        let (call, kind) = calls.choose(self.rng)?.clone();
        let out = self.column(kind, true);
        let name = out.name.clone();
        let filter = match self.rng.random_bool(0.4) {
            true => format!(
                " AND ({})",
                self.predicate(&prefixed(&right.columns, &i), 1)
            ),
            false => String::new(),
        };
        let mut both = prefixed(&left.columns, &l);
        both.extend(prefixed(&[out], &s));
        let joined = self.relation(both, None, left.rows);
        let (columns, items, _) = self.select_list(&joined);
        let items = items.join(", ");
        let ((lw, lo), (iw, io)) = (aliased(&left, &l), aliased(&right, &i));
        let counts = call.starts_with("count");
        let value = match counts {
            true => format!("coalesce(g.{name}, 0)"),
            false => format!("g.{name}"),
        };
        let own: Vec<&str> = left
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        let own: Vec<String> = own.iter().map(|name| format!("{l}.{name}")).collect();
        let texts = (
            format!(
                "SELECT {items} FROM {lw}, LATERAL (SELECT {call} AS {name} FROM {iw} WHERE {i}.{b} = {l}.{a}{filter}) AS {s}"
            ),
            // The count of no rows is made below the names that the list reads.
            format!(
                "SELECT {items} FROM (SELECT {}, {value} AS s_{name} FROM {lo} LEFT JOIN \
                 (SELECT {i}.{b} AS tie, {call} AS {name} FROM {io} WHERE TRUE{filter} GROUP BY {i}.{b}) AS g ON g.tie = {l}.{a}) AS {l}",
                own.join(", ")
            )
            .replace(&format!("{s}.{name}"), &format!("{l}.s_{name}")),
        );
        let rows = joined.rows;
        let mut relation = self.relation(columns, None, rows);
        relation.retracts = true;
        Some((relation, texts.0, texts.1))
    }
}
