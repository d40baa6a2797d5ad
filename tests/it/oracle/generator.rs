//! Random queries of the language, each in two spellings: for Weir and for the oracle.
//!
//! ```text
//!   tables ─▶ step ─▶ step ─▶ … ─▶ SELECT       a step is one block, made by a shape: select.rs, groups.rs, windows.rs, joins.rs, …
//!              named: a view or a CTE            what a later step reads is chosen among all named ones
//!              inline: a derived table
//! ```
//!
//! **To add a shape**: an entry in the `SHAPES` of the area's file, and a function that makes a [`Step`] or says `None` (nothing that is
//! there suits it). It says of the relation that it gives what later steps have to know: see the fields of [`Relation`].
//!
//! Both spellings are the same text but for windows. The oracle has no streams: there a relation with event time carries the hidden
//! column `own_watermark`, and a window is a computed column with the lateness rule as a filter.
//!
//! Expressions cannot fail and floats are sums of quarters, so that the answers are equal whatever the order of additions; a column
//! that holds an average is *inexact* and never used in a comparison.

use rand::Rng;
use rand::rngs::SmallRng;

use weir_tests::data::{SqlType, Table};

use super::{
    groups, joins, lookups, over, ranks, select, sets, subqueries, timed, unnests, windows,
};

/// The shapes of every area.
const AREAS: &[&[Shape]] = &[
    select::SHAPES,
    groups::SHAPES,
    windows::SHAPES,
    joins::SHAPES,
    timed::SHAPES,
    lookups::SHAPES,
    sets::SHAPES,
    subqueries::SHAPES,
    unnests::SHAPES,
    ranks::SHAPES,
    over::SHAPES,
];

/// A kind of block.
pub(super) struct Shape {
    /// What it is: the suite counts how often each is drawn.
    pub(super) name: &'static str,
    /// How often it is drawn, relative to the others.
    pub(super) weight: u32,
    /// Makes one; `None` if nothing that is there suits it.
    pub(super) make: fn(&mut Generator<'_>) -> Option<Step>,
}

/// A block: what it gives, and its two texts.
pub(super) type Step = (Relation, String, String);

/// A column of a relation within a generated query.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: SqlType,
    /// False for floats that hang on the order of additions: averages, and what is made of them.
    pub(super) exact: bool,
}

/// A table, or a step that later steps can read.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Its event-time column, while it has one.
    pub(super) time: Option<usize>,
    /// More or less how many rows it has, so that joins stay small.
    pub(super) rows: f64,
    /// Its rows can be taken back.
    pub(super) retracts: bool,
    /// It gives columns of a window that was assigned below: a GROUP BY over them is a windowed one, which aggregates no
    /// expression of them (P1024).
    pub(super) windowed: bool,
    /// A derived table: its two texts stand in the FROM of the one step that reads it.
    pub(super) inline: Option<(String, String)>,
}

/// A generated query.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// For Weir: tables and views.
    pub(super) views: String,
    /// For Weir: the SELECT.
    pub(super) select: String,
    /// What it gives: names and types; nothing is known of a query that is written by hand.
    pub(super) columns: Vec<(String, SqlType)>,
    /// For the oracle: one SELECT with CTEs.
    pub(super) oracle: String,
    /// The names of the shapes that it is made of.
    pub(super) shapes: Vec<&'static str>,
}

impl Query {
    /// For Weir: tables, views, and the SELECT.
    pub(super) fn weir(&self) -> String {
        format!("{}{};\n", self.views, self.select)
    }
}

/// What a query is being made of.
pub(super) struct Generator<'a> {
    pub(super) rng: &'a mut SmallRng,
    pub(super) relations: Vec<Relation>,
    /// Named steps so far: name, Weir's text, the oracle's.
    named: Vec<(String, String, String)>,
    names: usize,
    pub(super) joins: usize,
    shapes: Vec<&'static str>,
}

/// The names of all shapes.
pub(super) fn shape_names() -> impl Iterator<Item = &'static str> {
    AREAS
        .iter()
        .flat_map(|area| area.iter())
        .map(|shape| shape.name)
}

/// A random query over these tables.
pub(super) fn random_query(tables: &[Table], rng: &mut SmallRng) -> Query {
    let relations = tables
        .iter()
        .map(|table| Relation {
            name: table.name.clone(),
            columns: table
                .columns
                .iter()
                .map(|(name, kind)| Column {
                    name: name.clone(),
                    kind: *kind,
                    exact: true,
                })
                .collect(),
            time: table.watermark.map(|delay| delay.column),
            rows: table.rows.len() as f64,
            retracts: table.is_changelog(),
            windowed: false,
            inline: None,
        })
        .collect();
    let steps = rng.random_range(1..=4);
    let views = rng.random_bool(0.5);
    let mut generator = Generator {
        rng,
        relations,
        named: Vec::new(),
        names: 0,
        joins: 0,
        shapes: Vec::new(),
    };
    for _ in 1..steps {
        let (relation, weir, oracle) = generator.step();
        generator.keep(relation, weir, oracle);
    }
    let (last, weir, oracle) = generator.step();
    // Without the hidden column.
    let columns: Vec<_> = last
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let oracle = format!("SELECT {} FROM ({oracle}) AS last", columns.join(", "));
    let with = |texts: Vec<(String, String)>| match texts.as_slice() {
        [] => String::new(),
        texts => {
            let list: Vec<_> = texts
                .iter()
                .map(|(name, text)| format!("{name} AS (\n{text}\n)"))
                .collect();
            format!("WITH {}\n", list.join(", "))
        }
    };
    let named = &generator.named;
    let oracle_with = with(
        named
            .iter()
            .map(|(name, _, oracle)| (name.clone(), oracle.clone()))
            .collect(),
    );
    let mut text: String = tables.iter().map(Table::ddl).collect();
    let mut select = weir;
    if views {
        named.iter().for_each(|(name, weir, _)| {
            text.push_str(&format!("CREATE VIEW {name} AS\n{weir};\n"))
        });
    } else {
        let steps = named
            .iter()
            .map(|(name, weir, _)| (name.clone(), weir.clone()));
        select = format!("{}{select}", with(steps.collect()));
    }
    Query {
        views: text,
        select,
        columns: last
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.kind))
            .collect(),
        oracle: format!("{oracle_with}{oracle}"),
        shapes: generator.shapes,
    }
}

impl Generator<'_> {
    /// A block over something that is there.
    fn step(&mut self) -> Step {
        let shapes = || AREAS.iter().flat_map(|area| area.iter());
        let total: u32 = shapes().map(|shape| shape.weight).sum();
        loop {
            let mut at = self.rng.random_range(0..total);
            let shape = shapes().find(|shape| {
                let here = at < shape.weight;
                at = at.saturating_sub(shape.weight);
                here
            });
            let shape = shape.expect("a number below the sum of weights");
            if let Some(step) = (shape.make)(self) {
                self.shapes.push(shape.name);
                return step;
            }
        }
    }

    pub(super) fn relation(
        &mut self,
        columns: Vec<Column>,
        time: Option<usize>,
        rows: f64,
    ) -> Relation {
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

    pub(super) fn column(&mut self, kind: SqlType, exact: bool) -> Column {
        Column {
            name: self.fresh("c"),
            kind,
            exact,
        }
    }

    /// A name that nothing has yet.
    pub(super) fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn keep(&mut self, mut relation: Relation, weir: String, oracle: String) {
        if self.rng.random_bool(0.25) {
            relation.inline = Some((weir, oracle));
        } else {
            self.named.push((relation.name.clone(), weir, oracle));
        }
        self.relations.push(relation);
    }

    /// The relation that the next step reads: most often the last one. A derived table is read once and is gone then.
    pub(super) fn pick(&mut self) -> Relation {
        let last = self.relations.len() - 1;
        let at = if self.rng.random_bool(0.7) {
            last
        } else {
            self.rng.random_range(0..=last)
        };
        if self.relations[at].inline.is_some() {
            self.relations.remove(at)
        } else {
            self.relations[at].clone()
        }
    }

    /// A derived table that was picked and then not used can be picked again.
    pub(super) fn put_back(&mut self, relation: Relation) {
        if relation.inline.is_some() {
            self.relations.push(relation);
        }
    }
}

impl Relation {
    /// How FROM calls it: for Weir and for the oracle.
    pub(super) fn from(&self) -> (String, String) {
        match &self.inline {
            None => (self.name.clone(), self.name.clone()),
            Some((weir, oracle)) => (
                format!("({weir}) AS {}", self.name),
                format!("({oracle}) AS {}", self.name),
            ),
        }
    }
}
