//! Random queries, and random edits of them (`queries/edits.rs`): views over views over two sources, each view of one kind.
//!
//! ```text
//!   a (append-only) ─┐
//!                    ├─▶ v0 ─▶ v1 ─▶ …      select, aggregate, window, distinct, join, rank, union
//!   b (perhaps taken │                       a sink for most of them
//!      back again)  ─┘
//! ```
//!
//! A query writes itself for Weir and for the batch engine: only windows differ. Rankings are ordered by a column and then
//! by `id`, which no two rows of a source share, so that there are no ties to be broken.

mod edits;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};

/// The columns of both sources.
pub(super) const COLUMNS: [&str; 6] = ["id", "k", "g", "x", "y", "t"];

/// A text with everything that an edit can change.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// Whether rows of `b` are taken back.
    pub(super) updating: bool,
    /// Seconds by which the watermarks of `a` and `b` stay behind.
    pub(super) delays: [u32; 2],
    pub(super) views: Vec<View>,
    /// Names of views that are written, each to a table `s_NAME`.
    pub(super) sinks: BTreeSet<String>,
    /// Of these the table takes no row back.
    of_rows: BTreeSet<String>,
    /// Views of which one column is written to the table `pool`, by a statement each.
    pooled: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) kind: Kind,
    inputs: Vec<String>,
    /// Conditions over each input, as texts without a table's name.
    conditions: [Vec<Condition>; 2],
    /// Columns and what they are made of: of a join with `l.` or `r.` in front.
    out: Vec<(String, String)>,
    keys: Vec<String>,
    calls: Vec<Call>,
    having: Option<i64>,
    /// Windows begin every so many seconds; `None`: one after the other.
    slide: Option<u32>,
    /// What a union is instead.
    set: Option<&'static str>,
    /// One group of all rows, whatever its keys.
    alone: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Select,
    Distinct,
    Aggregate,
    /// Of so many seconds.
    Window(u32),
    /// Kind, keys of both sides, whether a further condition compares two columns.
    Join(&'static str, (String, String), Option<(String, String)>),
    /// Column, descending, how many.
    Rank(String, bool, u32),
    Union,
}

#[derive(Clone, Debug)]
struct Condition {
    column: String,
    compare: &'static str,
    value: i64,
}

#[derive(Clone, Debug)]
struct Call {
    name: String,
    function: &'static str,
    column: String,
    filter: Option<Condition>,
}

/// What a view or a source gives.
#[derive(Clone, Debug, Default)]
struct Given {
    columns: Vec<String>,
    /// Rows are only added.
    appends: bool,
    /// `t` is event time.
    timed: bool,
}

impl Given {
    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|own| own == column)
    }

    /// Columns other than times.
    fn numbers(&self) -> Vec<String> {
        let times = |column: &&String| !is_time(column);
        self.columns.iter().filter(times).cloned().collect()
    }

    /// Columns with few values.
    fn plain(&self) -> Vec<String> {
        let numbers = self.numbers();
        let plain: Vec<String> = numbers
            .iter()
            .filter(|name| !name.ends_with("id"))
            .cloned()
            .collect();
        if plain.is_empty() { numbers } else { plain }
    }
}

fn is_time(column: &str) -> bool {
    matches!(column, "t" | "ws") || column.ends_with("_t") || column.ends_with("_ws")
}

fn pick(rng: &mut SmallRng, from: &[String]) -> Option<String> {
    from.choose(rng).cloned()
}

fn condition(rng: &mut SmallRng, given: &Given) -> Option<Condition> {
    Some(Condition {
        column: pick(rng, &given.plain())?,
        compare: [">", "<=", "="].choose(rng)?,
        value: rng.random_range(0..4),
    })
}

fn call(rng: &mut SmallRng, given: &Given, number: u32) -> Option<Call> {
    Some(Call {
        name: format!("a{number}"),
        function: ["count", "sum", "min", "max", "count(DISTINCT"].choose(rng)?,
        column: pick(rng, &given.plain())?,
        filter: if rng.random_bool(0.2) {
            Some(condition(rng, given)?)
        } else {
            None
        },
    })
}

impl Condition {
    fn text(&self, table: &str) -> String {
        format!("{table}{} {} {}", self.column, self.compare, self.value)
    }
}

impl Call {
    fn text(&self) -> String {
        let call = match self.function.strip_suffix("(DISTINCT") {
            Some(function) => format!("{function}(DISTINCT {})", self.column),
            None => format!("{}({})", self.function, self.column),
        };
        match &self.filter {
            Some(filter) => format!("{call} FILTER (WHERE {})", filter.text("")),
            None => call,
        }
    }
}

fn all_of(conditions: &[String]) -> String {
    match conditions {
        [] => String::new(),
        some => format!(" WHERE {}", some.join(" AND ")),
    }
}

impl View {
    fn columns(&self) -> Vec<String> {
        match self.kind {
            Kind::Aggregate | Kind::Window(_) => {
                let window = matches!(self.kind, Kind::Window(_)).then(|| "ws".to_owned());
                let calls = self.calls.iter().map(|call| call.name.clone());
                window
                    .into_iter()
                    .chain(self.groups().iter().cloned())
                    .chain(calls)
                    .collect()
            }
            _ => self.out.iter().map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The keys that it groups by.
    fn groups(&self) -> &[String] {
        if self.alone { &[] } else { &self.keys }
    }

    fn own(&self, side: usize, table: &str) -> Vec<String> {
        self.conditions[side]
            .iter()
            .map(|condition| condition.text(table))
            .collect()
    }

    fn query(&self, batch: bool) -> String {
        let input = &self.inputs[0];
        let own = all_of(&self.own(0, ""));
        let list = |separator: &str| {
            let items: Vec<String> = self
                .out
                .iter()
                .map(|(name, from)| format!("{from} AS {name}"))
                .collect();
            items.join(separator)
        };
        match &self.kind {
            Kind::Select => format!("SELECT {} FROM {input}{own}", list(", ")),
            Kind::Distinct => format!("SELECT DISTINCT {} FROM {input}{own}", list(", ")),
            Kind::Union => {
                let second = all_of(&self.own(1, ""));
                let items = list(", ");
                format!(
                    "SELECT {items} FROM {input}{own} {} SELECT {items} FROM {}{second}",
                    self.set.unwrap_or("UNION ALL"),
                    self.inputs[1]
                )
            }
            Kind::Aggregate => {
                let having = self.having.map_or_else(String::new, |least| {
                    format!(" HAVING {} > {least}", self.calls[0].text())
                });
                let keys = match self.groups() {
                    [] => String::new(),
                    keys => format!(" GROUP BY {}", keys.join(", ")),
                };
                format!(
                    "SELECT {} FROM {input}{own}{keys}{having}",
                    self.grouped(None)
                )
            }
            Kind::Window(seconds) if batch && self.slide.is_some() => {
                let slide = self.slide.unwrap_or(*seconds);
                let own = if own.is_empty() {
                    " WHERE t IS NOT NULL".to_owned()
                } else {
                    format!("{own} AND t IS NOT NULL")
                };
                let window = |number: u32| {
                    format!(
                        "SELECT *, date_bin(INTERVAL '{slide} seconds', t, TIMESTAMP '1970-01-01 00:00:00') - INTERVAL '{} seconds' AS \
                         begin FROM {input}{own}",
                        number * slide
                    )
                };
                let windows: Vec<String> = (0..seconds / slide).map(window).collect();
                format!(
                    "SELECT {} FROM ({}) AS hopped GROUP BY begin, {}",
                    self.grouped(Some("begin")),
                    windows.join(" UNION ALL "),
                    self.keys.join(", ")
                )
            }
            Kind::Window(seconds) if batch => {
                let window = format!(
                    "date_bin(INTERVAL '{seconds} seconds', t, TIMESTAMP '1970-01-01 00:00:00')"
                );
                let own = if own.is_empty() {
                    " WHERE t IS NOT NULL".to_owned()
                } else {
                    format!("{own} AND t IS NOT NULL")
                };
                format!(
                    "SELECT {} FROM {input}{own} GROUP BY {window}, {}",
                    self.grouped(Some(&window)),
                    self.keys.join(", ")
                )
            }
            Kind::Window(seconds) => {
                let window = match self.slide {
                    Some(slide) => format!(
                        "HOP({input}, t, INTERVAL '{slide}' SECOND, INTERVAL '{seconds}' SECOND)"
                    ),
                    None => format!("TUMBLE({input}, t, INTERVAL '{seconds}' SECOND)"),
                };
                format!(
                    "SELECT {} FROM {window}{own} GROUP BY window_start, window_end, {}",
                    self.grouped(Some("window_start")),
                    self.keys.join(", ")
                )
            }
            Kind::Rank(order, descending, rows) => {
                let inner: Vec<String> = self.out.iter().map(|(name, _)| name.clone()).collect();
                let direction = if *descending { "DESC" } else { "ASC" };
                // Rows of a join share an `id`: what is left open then is which of several equal rows is given.
                let is_table = matches!(self.inputs[0].as_str(), "a" | "b");
                let rest = self.out.iter().filter(|_| !is_table);
                let rest: String = rest
                    .map(|(_, from)| format!(", {from} ASC NULLS LAST"))
                    .collect();
                format!(
                    "SELECT {} FROM (SELECT {}, row_number() OVER (PARTITION BY {} ORDER BY {order} {direction} NULLS LAST, id ASC \
                     NULLS LAST{rest}) AS place FROM {input}{own}) AS ranked WHERE place <= {rows}",
                    inner.join(", "),
                    list(", "),
                    self.keys.join(", ")
                )
            }
            Kind::Join(kind, (left, right), further) => {
                self.join(kind, left, right, further.as_ref(), &list(", "))
            }
        }
    }

    fn join(
        &self,
        kind: &str,
        left: &str,
        right: &str,
        further: Option<&(String, String)>,
        list: &str,
    ) -> String {
        let (a, b) = (&self.inputs[0], &self.inputs[1]);
        let mut on = vec![format!("l.{left} = r.{right}")];
        on.extend(further.map(|(left, right)| format!("l.{left} < r.{right}")));
        let mut conditions = self.own(0, "l.");
        if matches!(kind, "semi" | "anti") {
            on.extend(self.own(1, "r."));
            let not = if kind == "anti" { "NOT " } else { "" };
            conditions.push(format!(
                "{not}EXISTS (SELECT 1 FROM {b} AS r WHERE {})",
                on.join(" AND ")
            ));
            return format!("SELECT {list} FROM {a} AS l{}", all_of(&conditions));
        }
        conditions.extend(self.own(1, "r."));
        let word = if kind == "left" { "LEFT " } else { "" };
        format!(
            "SELECT {list} FROM {a} AS l {word}JOIN {b} AS r ON {}{}",
            on.join(" AND "),
            all_of(&conditions)
        )
    }

    fn grouped(&self, window: Option<&str>) -> String {
        let window = window.map(|text| format!("{text} AS ws"));
        let calls = self
            .calls
            .iter()
            .map(|call| format!("{} AS {}", call.text(), call.name));
        let items: Vec<String> = window
            .into_iter()
            .chain(self.groups().iter().cloned())
            .chain(calls)
            .collect();
        items.join(", ")
    }

    fn is_appending(&self, inputs: &[Given]) -> bool {
        let all = inputs.iter().all(|input| input.appends);
        match &self.kind {
            Kind::Aggregate | Kind::Rank(..) => false,
            Kind::Join(kind, ..) => all && matches!(*kind, "inner" | "semi"),
            Kind::Union if self.set.is_some() => false,
            _ => all,
        }
    }
}

impl Text {
    /// What a name stands for; `None` if there is nothing of that name.
    fn given(&self, name: &str) -> Option<Given> {
        if name == "a" || name == "b" {
            return Some(Given {
                columns: COLUMNS.iter().map(|&column| column.to_owned()).collect(),
                appends: name == "a" || !self.updating,
                timed: true,
            });
        }
        let view = self.views.iter().find(|view| view.name == name)?;
        let inputs: Vec<Given> = view
            .inputs
            .iter()
            .map(|input| self.given(input))
            .collect::<Option<_>>()?;
        Some(Given {
            columns: view.columns(),
            appends: view.is_appending(&inputs),
            timed: matches!(view.kind, Kind::Select | Kind::Union)
                && inputs.iter().all(|input| input.timed)
                && view
                    .out
                    .iter()
                    .any(|(name, from)| name == "t" && from == "t")
                && view.set.is_none(),
        })
    }

    /// A random one.
    pub(super) fn random(rng: &mut SmallRng) -> Self {
        let mut text = Self {
            updating: rng.random_bool(0.4),
            delays: [rng.random_range(2..5), rng.random_range(2..5)],
            views: Vec::new(),
            sinks: BTreeSet::new(),
            of_rows: BTreeSet::new(),
            pooled: BTreeMap::new(),
        };
        let count = rng.random_range(2..6);
        while text.views.len() < count {
            let name = format!("v{}", text.views.len());
            if let Some(view) = text.random_view(rng, &name) {
                text.views.push(view);
            }
        }
        for view in &text.views {
            if rng.random_bool(0.7) {
                text.sinks.insert(view.name.clone());
            }
        }
        let last = text.views[text.views.len() - 1].name.clone();
        text.sinks.insert(last);
        text
    }

    fn names(&self) -> Vec<String> {
        let sources = ["a", "b"].map(str::to_owned);
        sources
            .into_iter()
            .chain(self.views.iter().map(|view| view.name.clone()))
            .collect()
    }

    fn random_view(&self, rng: &mut SmallRng, name: &str) -> Option<View> {
        let names = self.names();
        let recent = if rng.random_bool(0.6) {
            names.len().saturating_sub(3)
        } else {
            0
        };
        let input = pick(rng, &names[recent..])?;
        let given = self.given(&input)?;
        let mut view = View {
            name: name.to_owned(),
            kind: Kind::Select,
            inputs: vec![input],
            conditions: [Vec::new(), Vec::new()],
            out: Vec::new(),
            keys: Vec::new(),
            calls: Vec::new(),
            having: None,
            slide: None,
            set: None,
            alone: false,
        };
        if rng.random_bool(0.3) {
            view.conditions[0].push(condition(rng, &given)?);
        }
        let numbers = given.plain();
        let mut keys = numbers.clone();
        keys.shuffle(rng);
        keys.truncate(rng.random_range(1..3));
        match rng.random_range(0..13) {
            0 | 1 => view.out = some(rng, &given, 0.75),
            2..5 => {
                view.kind = Kind::Aggregate;
                view.keys = keys;
                for number in 0..rng.random_range(1..3) {
                    view.calls.push(call(rng, &given, number)?);
                }
                view.having = rng.random_bool(0.2).then(|| rng.random_range(0..3));
            }
            5 | 6 => {
                if !given.timed || !given.appends {
                    return None;
                }
                view.kind = Kind::Window(*[5, 10].choose(rng)?);
                view.keys = keys[..1].to_vec();
                for number in 0..rng.random_range(1..3) {
                    view.calls.push(call(rng, &given, number)?);
                }
            }
            7 => {
                view.kind = Kind::Distinct;
                view.out = keys.iter().map(|key| (key.clone(), key.clone())).collect();
            }
            8..11 => self.make_join(rng, &mut view, &given)?,
            11 => {
                if !given.has("id") {
                    return None;
                }
                view.kind = Kind::Rank(
                    pick(rng, &numbers)?,
                    rng.random_bool(0.5),
                    rng.random_range(1..4),
                );
                view.keys = keys[..1].to_vec();
                view.out = some(rng, &given, 0.8);
            }
            _ => {
                let other = pick(rng, &names)?;
                let second = self.given(&other)?;
                view.kind = Kind::Union;
                view.inputs.push(other);
                let shared = given.columns.iter().filter(|column| second.has(column));
                view.out = shared
                    .map(|column| (column.clone(), column.clone()))
                    .collect();
                if view.out.len() < 2 {
                    return None;
                }
            }
        }
        (!view.columns().is_empty()).then_some(view)
    }

    fn make_join(&self, rng: &mut SmallRng, view: &mut View, given: &Given) -> Option<()> {
        let other = pick(rng, &self.names())?;
        let second = self.given(&other)?;
        let kind = *["inner", "inner", "left", "semi", "anti"].choose(rng)?;
        view.kind = Kind::Join(
            kind,
            (pick(rng, &given.plain())?, pick(rng, &second.plain())?),
            if rng.random_bool(0.2) {
                Some((pick(rng, &given.plain())?, pick(rng, &second.plain())?))
            } else {
                None
            },
        );
        view.inputs.push(other);
        let left = some(rng, given, 0.6);
        view.out = left
            .into_iter()
            .map(|(name, from)| (name, format!("l.{from}")))
            .collect();
        if matches!(kind, "inner" | "left") {
            let right = some(rng, &second, 0.4);
            for (name, from) in right {
                let mut name = format!("r_{name}");
                while view.out.iter().any(|(taken, _)| *taken == name) {
                    name.insert_str(0, "r_");
                }
                view.out.push((name, format!("r.{from}")));
            }
        }
        if rng.random_bool(0.2) {
            view.conditions[1].push(condition(rng, &second)?);
        }
        Some(())
    }

    /// Whether a view still finds what it reads.
    fn fits(&self, view: &View) -> bool {
        let inputs: Option<Vec<Given>> =
            view.inputs.iter().map(|input| self.given(input)).collect();
        let Some(inputs) = inputs else { return false };
        let read =
            |side: usize, column: &str| inputs.get(side).is_some_and(|given| given.has(column));
        let conditions = (0..2).all(|side| {
            view.conditions[side]
                .iter()
                .all(|own| read(side, &own.column))
        });
        let calls = view.calls.iter().all(|call| {
            read(0, &call.column)
                && call
                    .filter
                    .as_ref()
                    .is_none_or(|filter| read(0, &filter.column))
        });
        let keys = view.keys.iter().all(|key| read(0, key));
        let columns = view.columns();
        let distinct: BTreeSet<&String> = columns.iter().collect();
        let out = view
            .out
            .iter()
            .all(|(_, from)| match (&view.kind, from.split_once('.')) {
                (Kind::Join(..), Some(("l", column))) => read(0, column),
                (Kind::Join(kind, ..), Some(("r", column))) => {
                    read(1, column) && matches!(*kind, "inner" | "left")
                }
                (Kind::Union, _) => read(0, from) && read(1, from),
                _ => read(
                    0,
                    from.trim_start_matches('(')
                        .split(' ')
                        .next()
                        .unwrap_or_default(),
                ),
            });
        let kind = match &view.kind {
            Kind::Window(_) => inputs[0].timed && inputs[0].appends,
            Kind::Rank(order, ..) => inputs[0].has("id") && inputs[0].has(order),
            Kind::Join(_, (left, right), further) => {
                read(0, left)
                    && read(1, right)
                    && further
                        .as_ref()
                        .is_none_or(|(left, right)| read(0, left) && read(1, right))
            }
            _ => true,
        };
        conditions
            && calls
            && keys
            && out
            && kind
            && !columns.is_empty()
            && distinct.len() == columns.len()
    }

    // ------------------------------------------------------------------ SQL

    /// Views that a sink reads, directly or not.
    fn used(&self) -> BTreeSet<String> {
        let mut used: BTreeSet<String> = self.sinks.clone();
        used.extend(self.pooled.keys().cloned());
        for view in self.views.iter().rev() {
            if used.contains(&view.name) {
                used.extend(view.inputs.iter().cloned());
            }
        }
        used
    }

    /// For Weir.
    pub(super) fn sql(&self) -> String {
        let mut sql = String::new();
        let used = self.used();
        for (name, delay) in ["a", "b"].into_iter().zip(self.delays) {
            let format = if name == "b" && self.updating {
                "changelog-json"
            } else {
                "json"
            };
            if used.contains(name) {
                writeln!(
                    sql,
                    "CREATE TABLE {name} (id BIGINT, k BIGINT, g BIGINT, x BIGINT, y BIGINT, t TIMESTAMP(3), WATERMARK FOR t AS t - \
                     INTERVAL '{delay}' SECOND) WITH ('connector' = 'filesystem', 'path' = '{name}', 'format' = '{format}');"
                )
                .unwrap();
            }
        }
        for view in self.views.iter().filter(|view| used.contains(&view.name)) {
            writeln!(sql, "CREATE VIEW {} AS {};", view.name, view.query(false)).unwrap();
        }
        for view in self
            .views
            .iter()
            .filter(|view| self.sinks.contains(&view.name))
        {
            let columns = view.columns();
            let kind = |column: &String| {
                if is_time(column) {
                    "TIMESTAMP(3)"
                } else {
                    "BIGINT"
                }
            };
            let declared: Vec<String> = columns
                .iter()
                .map(|column| format!("{column} {}", kind(column)))
                .collect();
            let name = &view.name;
            let format = match self.of_rows.contains(name) {
                true => "json",
                false => "changelog-json",
            };
            writeln!(
                sql,
                "CREATE TABLE s_{name} ({}) WITH ('connector' = 'filesystem', 'path' = 's_{name}', 'format' = '{format}');\n\
                 INSERT INTO s_{name} SELECT {} FROM {name};",
                declared.join(", "),
                columns.join(", ")
            )
            .unwrap();
        }
        if !self.pooled.is_empty() {
            sql.push_str(
                "CREATE TABLE pool (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'pool', 'format' = 'changelog-json');\n",
            );
        }
        for (view, column) in &self.pooled {
            writeln!(sql, "INSERT INTO pool SELECT {column} AS n FROM {view};").unwrap();
        }
        sql
    }

    /// Other tables for a sequence of texts: one that several statements write, which come and go, and some that take no row
    /// back, where none is.
    pub(super) fn with_other_tables(texts: &mut [Self], rng: &mut SmallRng) {
        let names: BTreeSet<String> = texts
            .iter()
            .flat_map(|text| text.sinks.iter().cloned())
            .collect();
        let appends = |name: &String| {
            let mut given = texts.iter().filter_map(|text| text.given(name));
            given.all(|given| given.appends)
        };
        let mut of_rows: BTreeSet<String> =
            names.iter().filter(|name| appends(name)).cloned().collect();
        of_rows.retain(|_| rng.random_bool(0.7));
        let mut pooled: BTreeSet<String> = BTreeSet::new();
        for text in texts {
            text.of_rows = of_rows.clone();
            for view in &text.views {
                // Most stay as they are, so that what is exact can be seen.
                if rng.random_bool(0.3) && !pooled.remove(&view.name) {
                    pooled.insert(view.name.clone());
                }
            }
            for name in &pooled {
                // A view may have two columns of one name: while nobody reads it, that is no error.
                let column = text.given(name).and_then(|given| {
                    let names: BTreeSet<&String> = given.columns.iter().collect();
                    let apart = names.len() == given.columns.len();
                    given.plain().into_iter().next().filter(|_| apart)
                });
                text.pooled
                    .extend(column.map(|column| (name.clone(), column)));
            }
        }
    }

    /// Other kinds of views for a sequence of texts: windows that overlap, differences and intersections for unions, one group for
    /// many. What a view is changes now and then.
    pub(super) fn with_other_kinds(texts: &mut [Self], rng: &mut SmallRng) {
        let mut chosen: BTreeMap<String, (u32, &'static str, bool)> = BTreeMap::new();
        for text in texts {
            for view in &mut text.views {
                let set = match rng.random_bool(0.5) {
                    true => "EXCEPT",
                    false => "INTERSECT",
                };
                let drawn = (rng.random_range(0..4), set, rng.random_bool(0.3));
                let of = chosen.entry(view.name.clone()).or_insert(drawn);
                if rng.random_bool(0.25) {
                    *of = drawn;
                }
                match view.kind {
                    Kind::Window(seconds) if of.0 > 0 => {
                        view.slide = Some(if of.0 == 1 { seconds } else { 5 });
                    }
                    Kind::Union => view.set = Some(of.1),
                    Kind::Aggregate => {
                        view.alone = of.2 && view.having.is_none();
                    }
                    _ => {}
                }
            }
        }
    }

    /// For the batch engine: its views, and for each sink its columns and the query that gives its rows.
    pub(super) fn batch(&self) -> (Vec<String>, Vec<(String, Vec<String>, String)>) {
        let used = self.used();
        let views = self.views.iter().filter(|view| used.contains(&view.name));
        let views = views.map(|view| format!("CREATE VIEW {} AS {}", view.name, view.query(true)));
        let written = self
            .views
            .iter()
            .filter(|view| self.sinks.contains(&view.name));
        let sinks = written.map(|view| {
            let columns = view.columns();
            let query = format!("SELECT {} FROM {}", columns.join(", "), view.name);
            (format!("s_{}", view.name), columns, query)
        });
        let all = self.pooled.iter();
        let all = all.map(|(view, column)| format!("SELECT {column} AS n FROM {view}"));
        let all: Vec<String> = all.collect();
        let pool = (!all.is_empty()).then(|| {
            let query = format!("SELECT n FROM ({}) AS p", all.join(" UNION ALL "));
            ("pool".to_owned(), vec!["n".to_owned()], query)
        });
        (views.collect(), sinks.chain(pool).collect())
    }
}

/// Some columns as they are; `id` and `t` more often.
fn some(rng: &mut SmallRng, given: &Given, share: f64) -> Vec<(String, String)> {
    let chosen = |rng: &mut SmallRng, column: &String| {
        let share = if matches!(column.as_str(), "id" | "t") {
            0.9
        } else {
            share
        };
        rng.random_bool(share)
    };
    let mut out: Vec<(String, String)> = Vec::new();
    for column in &given.columns {
        if chosen(rng, column) {
            out.push((column.clone(), column.clone()));
        }
    }
    if out.is_empty() {
        out.extend(
            given
                .columns
                .first()
                .map(|column| (column.clone(), column.clone())),
        );
    }
    out
}
