//! How long state is kept, and what bounds each table that nothing else does.
//!
//! ```text
//!   SET 'state.ttl', STATE_TTL hints ─▶ resolve: which operators of the graph keep their state for how long   (before lowering)
//!   plan ─▶ bounds: an input that ends bounds what is kept of it; of what is left a warning each              (after lowering)
//! ```
//!
//! A TTL is for operators that keep state by key and that nothing else ends: GROUP BY and DISTINCT, regular joins, rankings of
//! partitions, set operations. What a window or an interval bounds already, and what has no key, is left alone.

use std::collections::BTreeMap;

use weir_types::{Diagnostic, Span};

use crate::Catalog;
use crate::binder::clock::is_arrival;
use crate::codes;
use crate::logical::{Graph, NodeId, NodeKind};
use crate::lower::ttl::time_column;
use crate::plan::{
    Changelog, Operator, OperatorKind, StateBound, StateTtl, StreamPlan, TableDefinition, TtlTime,
};
use crate::settings::parse_duration;

/// A TTL as a text, for EXPLAIN and fingerprints.
pub(crate) fn ttl_text(ttl: StateTtl) -> String {
    let time = match ttl.time {
        TtlTime::Event => "event time",
        TtlTime::Processing => "processing time",
    };
    format!("TTL {} by {time}", duration_text(ttl.micros))
}

/// A time in the greatest unit of which it is a multiple.
fn duration_text(micros: i64) -> String {
    const UNITS: &[(i64, &str)] = &[
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    let unit = UNITS.iter().find(|(unit, _)| micros % unit == 0);
    let &(unit, name) = unit.unwrap_or(&(1, "µs"));
    format!("{} {name}", micros / unit)
}

/// The microseconds of a TTL as users write it; `None`: too short, too long, or no time.
pub(crate) fn ttl_micros(text: &str) -> Option<i64> {
    let micros = i64::try_from(parse_duration(text)?.as_micros()).ok()?;
    // Moments are counted in microseconds from 1970: a TTL may not carry them beyond what a number holds.
    (1..=i64::MAX / 8).contains(&micros).then_some(micros)
}

// ---------------------------------------------------------------------- which operators have one

/// Whether a TTL means anything for this step.
pub(crate) fn takes_ttl(graph: &Graph, node: NodeId) -> bool {
    match &graph.nodes[node].kind {
        NodeKind::Aggregate {
            window: None, keys, ..
        } => !keys.is_empty(),
        NodeKind::Join { left_keys, .. } => left_keys.iter().any(|key| !key.columns().is_empty()),
        kind @ NodeKind::Rank { partition, .. } => {
            let input = graph.nodes[node].inputs[0];
            !partition.is_empty() && crate::final_rank::timing(graph, input, kind).is_none()
        }
        NodeKind::SetOperation { .. } => true,
        _ => false,
    }
}

/// Why state cannot get old here: what is missing, and what to do.
fn obstacle(graph: &Graph, node: NodeId, time: TtlTime) -> Option<(&'static str, &'static str)> {
    let inputs = || graph.nodes[node].inputs.iter().copied();
    let is_updating =
        |input: NodeId| graph.nodes[input].properties.changelog == Changelog::Retractions;
    let by_arrival =
        matches!(&graph.nodes[node].kind, NodeKind::Rank { order, .. } if is_arrival(order));
    match time {
        _ if by_arrival => Some((
            "an order by arrival keeps a count or a row of each key for as long as it runs",
            "rank by an event-time column instead",
        )),
        TtlTime::Event if inputs().any(|input| time_column(graph, input).is_none()) => Some((
            "an input of it has no event time",
            "declare a WATERMARK for its table, or take the clock: SET 'state.ttl.time' = 'processing'",
        )),
        TtlTime::Processing if inputs().any(is_updating) => Some((
            "rows of its input may be taken back, and by the clock nobody knows whether they were dropped before",
            "take event time, if the rows have it: SET 'state.ttl.time' = 'event'; or bound the input before",
        )),
        _ => None,
    }
}

/// Puts hints and settings together: fills [`Graph::ttls`] for everything below the roots.
pub(crate) fn resolve(
    graph: &mut Graph,
    settings: &BTreeMap<String, String>,
    roots: &[NodeId],
) -> Vec<Diagnostic> {
    let setting = settings.get("state.ttl").filter(|value| *value != "off");
    let of_all = setting.and_then(|value| ttl_micros(value));
    let mut problems = Vec::new();
    if let (Some(value), None) = (setting, of_all) {
        problems.push(
            Diagnostic::error(
                codes::STATE_TTL,
                format!("'{value}' is no time that state can be kept for"),
            )
            .help("a TTL is at least a microsecond and at most some ten thousand years"),
        );
    }
    let time = match settings.get("state.ttl.time").map(String::as_str) {
        Some("processing") => TtlTime::Processing,
        _ => TtlTime::Event,
    };
    let mut ttls = BTreeMap::new();
    let mut nodes: Vec<NodeId> = roots.iter().flat_map(|&root| graph.below(root)).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes.into_iter().filter(|&node| takes_ttl(graph, node)) {
        let hint = graph.hinted_ttls.get(&node).copied();
        let Some(micros) = hint.map(|(micros, _)| micros).or(of_all) else {
            continue;
        };
        match obstacle(graph, node, time) {
            None => {
                ttls.insert(node, StateTtl { micros, time });
            }
            Some(obstacle) => problems.push(without_effect(graph, node, hint, obstacle)),
        }
    }
    graph.ttls = ttls;
    problems
}

/// A hint that cannot be followed is an error; a setting speaks of all operators, also of those that it cannot help.
fn without_effect(
    graph: &Graph,
    node: NodeId,
    hint: Option<(i64, Span)>,
    (why, help): (&str, &str),
) -> Diagnostic {
    let current = &graph.nodes[node];
    let id = current.named();
    match hint {
        Some((_, span)) => {
            let message = format!("the state of `{id}` cannot be dropped after a time");
            Diagnostic::error(codes::STATE_TTL, message)
                .at(span, why)
                .help(help)
        }
        None => {
            let message = format!("'state.ttl' has no effect on `{id}`");
            Diagnostic::warning(codes::TTL_WITHOUT_EFFECT, message)
                .at(current.span, why)
                .help(help)
        }
    }
}

// ---------------------------------------------------------------------- what bounds the tables

/// Marks tables that only their input bounds, and warns of those that nothing bounds.
pub(crate) fn bounds(plan: &mut StreamPlan, catalog: &dyn Catalog) -> Vec<Diagnostic> {
    let mut ends: Vec<bool> = Vec::with_capacity(plan.operators.len());
    let mut warnings = Vec::new();
    let tables = &plan.tables;
    for operator in &mut plan.operators {
        let all_end = match &operator.kind {
            OperatorKind::Source { table, .. } => is_bounded(tables.get(table), catalog),
            _ => operator.inputs.iter().all(|input| ends[input.from]),
        };
        if all_end {
            for table in &mut operator.state {
                if table.bound == StateBound::Nothing {
                    table.bound = StateBound::BoundedInput;
                }
            }
        }
        // Of a join one input may end while the other does not.
        if let (OperatorKind::Join { .. } | OperatorKind::LookupJoin { .. }, [left, right]) =
            (&operator.kind, operator.inputs.as_slice())
        {
            for (name, input) in [("left", left), ("right", right)] {
                for table in &mut operator.state {
                    if table.name == name && table.bound == StateBound::Nothing && ends[input.from]
                    {
                        table.bound = StateBound::BoundedInput;
                    }
                }
            }
        }
        warnings.extend(unbounded(operator, tables));
        ends.push(all_end);
    }
    warnings
}

fn is_bounded(table: Option<&TableDefinition>, catalog: &dyn Catalog) -> bool {
    table.is_some_and(|table| catalog.source_traits(&table.options).bounded)
}

/// A warning for an operator with a table that nothing bounds.
fn unbounded(
    operator: &Operator,
    definitions: &BTreeMap<String, TableDefinition>,
) -> Option<Diagnostic> {
    let grows = |table: &&crate::plan::StateTable| table.bound == StateBound::Nothing;
    let tables: Vec<&str> = operator
        .state
        .iter()
        .filter(grows)
        .map(|table| table.name.as_str())
        .collect();
    let first = tables.first()?;
    let (kept, help) = match (&operator.kind, tables.as_slice()) {
        (OperatorKind::Join { .. }, ["left", "right"]) => (
            "both sides are kept for ever".to_owned(),
            "say how far apart in time two rows may be, e.g. ON … AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1' HOUR",
        ),
        (OperatorKind::Join { .. }, ["left"]) => (
            "the rows before this join are kept for ever".to_owned(),
            "say how far apart in time two rows may be, e.g. ON … AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1' HOUR",
        ),
        (OperatorKind::Join { .. }, _) => (
            "its rows are kept for ever".to_owned(),
            "say how far apart in time two rows may be, e.g. ON … AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1' HOUR",
        ),
        (OperatorKind::LookupJoin { .. }, _) => (
            "the rows that are looked up are kept for ever".to_owned(),
            "look up a relation with a key: a table with a PRIMARY KEY and a WATERMARK, a changelog, or a GROUP BY",
        ),
        (OperatorKind::Rank { bounds, .. }, _) if bounds.last.is_none() => (
            "every row is ranked and kept".to_owned(),
            "keep the first rows: QUALIFY the number <= 10",
        ),
        (OperatorKind::Rank { .. }, _) => (
            "every row is kept, because those before it may be taken back".to_owned(),
            "aggregate before, or limit what comes in",
        ),
        (OperatorKind::Over { time: Some(_), .. }, _) => (
            "every row is kept, because a call looks back to the first".to_owned(),
            "bound the frame: ROWS BETWEEN 100 PRECEDING AND CURRENT ROW",
        ),
        (OperatorKind::Over { time: None, .. }, _) => (
            "every row is kept, because one that comes later can change its result".to_owned(),
            "order by the event time and look back only: ORDER BY ts ROWS BETWEEN 10 PRECEDING AND CURRENT ROW",
        ),
        (OperatorKind::Sink { table }, _)
            if definitions
                .get(table)
                .is_some_and(TableDefinition::is_materialized_view) =>
        {
            (
                "the view keeps every row, and no key says which rows replace others".to_owned(),
                "keep less of them: GROUP BY a key, or the newest row of each (ROW_NUMBER() … = 1); or write them into a table",
            )
        }
        (OperatorKind::Sink { .. }, _) => (
            "the whole result is kept, and no key says which rows replace others".to_owned(),
            "write changes instead of a snapshot, or give the table a PRIMARY KEY that the query keeps",
        ),
        _ => (
            format!("`{first}` keeps every value"),
            "group by a window, or take an aggregate that needs no table of values",
        ),
    };
    let message = format!("the state of `{}` grows with its input", operator.id);
    let warning = Diagnostic::warning(codes::UNBOUNDED_STATE, message)
        .at(operator.span, kept)
        .help(help);
    // Those have no TTL.
    Some(
        if matches!(
            operator.kind,
            OperatorKind::Sink { .. } | OperatorKind::Over { .. }
        ) {
            warning
        } else {
            warning.help("or limit for how long it is kept: SET 'state.ttl' = '1 day'")
        },
    )
}

/// What bounds the state of a plan, as a table: one line for each state table but the positions of sources.
pub fn bounds_summary(plan: &StreamPlan) -> Vec<[String; 4]> {
    let mut lines = Vec::new();
    for operator in &plan.operators {
        for table in &operator.state {
            if table.layout == crate::plan::StateLayout::Position {
                continue;
            }
            let bound = match (table.bound, operator.ttl) {
                (StateBound::Ttl, Some(ttl)) => ttl_text(ttl),
                (StateBound::Ttl, None) => "TTL".to_owned(),
                (StateBound::Watermark, _) => "the watermark".to_owned(),
                (StateBound::Clock, _) => "the clock".to_owned(),
                (StateBound::Keys, _) => "its keys".to_owned(),
                (StateBound::Constant, _) => "constant size".to_owned(),
                (StateBound::BoundedInput, _) => "its input, which ends".to_owned(),
                (StateBound::Nothing, _) => "nothing".to_owned(),
            };
            let line = format!(
                "{}:{}",
                operator.span.start.line, operator.span.start.column
            );
            lines.push([operator.id.to_string(), table.name.clone(), bound, line]);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnyCatalog, Planned, plan};

    const TABLES: &str = "
        CREATE TABLE a (k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
            WITH ('connector' = 'filesystem', 'mode' = 'continuous');
        CREATE TABLE b (k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
            WITH ('connector' = 'filesystem');
        CREATE TABLE plain (k BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'mode' = 'continuous');
    ";

    fn planned(sql: &str) -> Planned {
        plan(&format!("{TABLES}{sql}"), &AnyCatalog).unwrap()
    }

    fn bounds_of(sql: &str) -> Vec<String> {
        let summary = bounds_summary(&planned(sql).plan).into_iter();
        summary
            .map(|[_, table, bound, _]| format!("{table}: {bound}"))
            .collect()
    }

    fn codes_of(sql: &str) -> Vec<String> {
        planned(sql)
            .warnings
            .iter()
            .map(|warning| warning.code.clone())
            .collect()
    }

    #[test]
    fn an_input_that_ends_bounds_what_is_kept_of_it() {
        assert_eq!(
            bounds_of("SELECT a.v FROM a JOIN b ON a.k = b.k;"),
            ["left: nothing", "right: its input, which ends"]
        );
        assert_eq!(
            bounds_of("SELECT x.v FROM b AS x JOIN b AS y ON x.k = y.k;"),
            [
                "left: its input, which ends",
                "right: its input, which ends"
            ]
        );
        assert!(codes_of("SELECT x.v FROM b AS x JOIN b AS y ON x.k = y.k;").is_empty());
    }

    #[test]
    fn what_nothing_bounds_is_warned_of_once_for_each_operator() {
        let warnings = planned("SELECT a.v FROM a JOIN a AS c ON a.k = c.k;").warnings;
        assert_eq!(warnings.len(), 1);
        let text = warnings[0].to_string();
        assert!(text.contains("[W1002]"), "{text}");
        assert!(text.contains("'state.ttl'"), "{text}");
    }

    #[test]
    fn a_ttl_bounds_groups_joins_rankings_and_sets() {
        for query in [
            "SELECT k, count(*) FROM a GROUP BY k",
            "SELECT DISTINCT k FROM a",
            "SELECT a.v FROM a JOIN b ON a.k = b.k",
            "SELECT a.v FROM a LEFT JOIN b ON a.k = b.k",
            "SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v) AS n FROM a",
            "SELECT k, ts FROM a INTERSECT SELECT k, ts FROM b",
            "SELECT k, median(v) FROM a GROUP BY k",
        ] {
            let sql = format!("SET 'state.ttl' = '1 day'; {query};");
            let bounds = bounds_of(&sql);
            assert!(
                bounds
                    .iter()
                    .any(|bound| bound.ends_with("TTL 1 d by event time")),
                "{query}: {bounds:?}"
            );
            assert!(
                !bounds.iter().any(|bound| bound.ends_with("nothing")),
                "{query}: {bounds:?}"
            );
            assert!(codes_of(&sql).is_empty(), "{query}");
        }
    }

    #[test]
    fn a_ttl_changes_the_operator_that_has_one_and_none_else() {
        let prints = |sql: &str| -> BTreeMap<String, String> {
            let operators = planned(sql).plan.operators.into_iter();
            operators
                .map(|o| (o.id.to_string(), o.fingerprint))
                .collect()
        };
        let query = "SELECT k, count(*) FROM a GROUP BY k;";
        let (without, with) = (
            prints(query),
            prints(&format!("SET 'state.ttl' = '1 day'; {query}")),
        );
        assert_eq!(without["a/source"], with["a/source"]);
        assert_ne!(without["select/aggregate"], with["select/aggregate"]);
        let longer = prints(&format!("SET 'state.ttl' = '2 day'; {query}"));
        assert_ne!(longer["select/aggregate"], with["select/aggregate"]);
    }

    #[test]
    fn a_ttl_adds_no_column_to_what_is_stored_or_given() {
        for query in [
            "SELECT k, count(*) FROM a GROUP BY k",
            "SELECT a.v FROM a LEFT JOIN b ON a.k = b.k",
            "SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v) AS n FROM a",
        ] {
            let tables = |sql: &str| {
                let operators = planned(sql).plan.operators.into_iter();
                let stored = operators.filter(Operator::is_stateful).map(|operator| {
                    let tables = operator.state.into_iter();
                    let own = tables.filter(|table| {
                        !table.name.starts_with("li") && !table.name.starts_with("wait")
                    });
                    let own: Vec<_> = own
                        .map(|table| (table.name, table.key, table.value))
                        .collect();
                    (operator.schema, own)
                });
                stored.collect::<Vec<_>>()
            };
            assert_eq!(
                tables(&format!("{query};")),
                tables(&format!("SET 'state.ttl' = '1 day'; {query};")),
                "{query}"
            );
        }
    }

    #[test]
    fn a_setting_that_cannot_help_is_a_warning_and_a_hint_an_error() {
        assert_eq!(
            codes_of("SET 'state.ttl' = '1 day'; SELECT k, count(*) FROM plain GROUP BY k;"),
            ["W1004"]
        );
        let hint = "SELECT /*+ STATE_TTL('plain' = '1 d') */ k, count(*) FROM plain GROUP BY k;";
        let refused = plan(&format!("{TABLES}{hint}"), &AnyCatalog).unwrap_err();
        assert_eq!(refused.0[0].code, "P1460");
        let by_clock = format!("SET 'state.ttl.time' = 'processing'; {hint}");
        assert!(bounds_of(&by_clock).contains(&"groups: TTL 1 d by processing time".to_owned()));
    }

    #[test]
    fn hints_name_joined_relations_and_blocks() {
        let with = |sql: &str| -> Vec<String> {
            let operators = planned(sql).plan.operators.into_iter();
            let with =
                operators.filter_map(|o| o.ttl.map(|ttl| format!("{} {}", o.id, ttl_text(ttl))));
            with.collect()
        };
        assert_eq!(
            with("SELECT /*+ STATE_TTL('c' = '2 h') */ a.v FROM a JOIN a AS c ON a.k = c.k;"),
            ["select/join(c) TTL 2 h by event time"]
        );
        assert_eq!(
            with(
                "SELECT /*+ STATE_TTL('A' = '2 h', 'c' = '120 min') */ a.v FROM a JOIN a AS c ON a.k = c.k;"
            ),
            ["select/join(c) TTL 2 h by event time"]
        );
        assert_eq!(
            with("SELECT /*+ ID('n'), STATE_TTL('n' = '90 s') */ k, count(*) FROM a GROUP BY k;"),
            ["select.n/aggregate TTL 90 s by event time"]
        );
        assert_eq!(
            with(
                "SET 'state.ttl' = '1 d'; SELECT /*+ STATE_TTL('a' = '1 h') */ DISTINCT k FROM a;"
            ),
            ["select/distinct TTL 1 h by event time"]
        );
        for wrong in [
            "SELECT /*+ STATE_TTL('x' = '2 h') */ a.v FROM a JOIN a AS c ON a.k = c.k;",
            "SELECT /*+ STATE_TTL('a' = '2 h') */ v FROM a;",
            "SELECT /*+ STATE_TTL('a' = '2 h', 'c' = '3 h') */ a.v FROM a JOIN a AS c ON a.k = c.k;",
        ] {
            let refused = plan(&format!("{TABLES}{wrong}"), &AnyCatalog).unwrap_err();
            assert_eq!(refused.0[0].code, "P1460", "{wrong}");
        }
    }
}
