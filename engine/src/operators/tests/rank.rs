//! Rankings: the folded changelog is what sorting and numbering all rows gives.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_planner::plan::{
    Changelog, OperatorKind, RankBounds, RankFunction, StateLayout, StreamPlan,
};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, SortColumn};

use super::super::harness::{BACKENDS, Change, Harness, batch, ints, plan, schema, table};

#[derive(Clone, Copy, Debug)]
struct Query {
    function: RankFunction,
    bounds: RankBounds,
    shown: bool,
    by_key: bool,
    descending: bool,
}

fn input() -> Schema {
    schema(&[
        ("a", DataType::Int64),
        ("k", DataType::Int64),
        ("v", DataType::Int64),
    ])
}

/// Ranks by `v` within `k`, or all rows.
fn ranking(query: Query, changelog: Changelog) -> StreamPlan {
    let input = input();
    let partition = if query.by_key { vec![1] } else { Vec::new() };
    let order = vec![SortColumn {
        column: 2,
        descending: query.descending,
        nulls_first: query.descending,
    }];
    let key = partition
        .iter()
        .map(|&c: &usize| input[c].clone())
        .collect();
    let mut state = table("rows", StateLayout::Sorted, key, input.clone());
    state.order = order.clone();
    let mut output = input.clone();
    if query.shown {
        output.extend(schema(&[("n", DataType::Int64)]));
    }
    let kind = OperatorKind::Rank {
        partition,
        order,
        function: query.function,
        bounds: query.bounds,
        shown: query.shown,
    };
    plan(vec![(input, changelog)], kind, output, vec![state])
}

/// a, k, v.
type Row = (i64, Option<i64>, Option<i64>);

fn changes(rows: &[(Row, i64)]) -> ChangeBatch {
    let columns = vec![
        ints(rows.iter().map(|row| Some(row.0.0))),
        ints(rows.iter().map(|row| row.0.1)),
        ints(rows.iter().map(|row| row.0.2)),
    ];
    let weights: Vec<i64> = rows.iter().map(|row| row.1).collect();
    batch(&input(), columns, &weights)
}

/// What the query gives over these rows.
fn expected(rows: &[Row], query: Query) -> BTreeMap<String, i64> {
    let mut partitions: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let key = if query.by_key { row.1 } else { None };
        partitions.entry(key).or_default().push(*row);
    }
    let last = |value: Option<i64>| (value.is_none(), value);
    let mut result = BTreeMap::new();
    for mut rows in partitions.into_values() {
        rows.sort_by(|x, y| {
            let by_value = last(x.2).cmp(&last(y.2));
            let by_value = if query.descending {
                by_value.reverse()
            } else {
                by_value
            };
            by_value.then(x.0.cmp(&y.0)).then(last(x.1).cmp(&last(y.1)))
        });
        let (mut rank, mut dense) = (0u64, 0u64);
        for (i, row) in rows.iter().enumerate() {
            if i == 0 || rows[i - 1].2 != row.2 {
                rank = i as u64 + 1;
                dense += 1;
            }
            let number = match query.function {
                RankFunction::RowNumber => i as u64 + 1,
                RankFunction::Rank => rank,
                RankFunction::DenseRank => dense,
            };
            let bounds = query.bounds;
            let within = number >= bounds.first && bounds.last.is_none_or(|last| number <= last);
            if within && i as u64 >= bounds.skip {
                let text = |value: Option<i64>| value.map_or("NULL".to_owned(), |v| v.to_string());
                let mut row = format!("a={}, k={}, v={}", row.0, text(row.1), text(row.2));
                if query.shown {
                    row.push_str(&format!(", n={number}"));
                }
                *result.entry(row).or_default() += 1;
            }
        }
    }
    result
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Row),
    Retract(usize),
    EndOfBatch,
    EndOfEpoch,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let null_or = |range: std::ops::Range<i64>| proptest::option::weighted(0.9, range);
    let step = prop_oneof![
        12 => (0i64..3, null_or(0..3), null_or(0..5)).prop_map(Step::Insert),
        4 => (0usize..1000).prop_map(Step::Retract),
        3 => Just(Step::EndOfBatch),
        1 => Just(Step::EndOfEpoch),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..120)
}

fn queries() -> impl Strategy<Value = Query> {
    let function = prop_oneof![
        Just(RankFunction::RowNumber),
        Just(RankFunction::Rank),
        Just(RankFunction::DenseRank),
    ];
    let bounds = (1u64..4, proptest::option::of(0u64..6), 0u64..3)
        .prop_map(|(first, last, skip)| RankBounds { first, last, skip });
    (function, bounds, any::<[bool; 3]>()).prop_map(
        |(function, bounds, [shown, by_key, descending])| Query {
            function,
            bounds,
            shown,
            by_key,
            descending,
        },
    )
}

/// Runs the steps; a retraction takes back some row that is there, if rows can be taken back.
fn run(query: Query, steps: &[Step], changelog: Changelog, backend: BackendKind) {
    let mut harness = Harness::new(ranking(query, changelog), backend, 7);
    let (mut rows, mut pending): (Vec<Row>, Vec<(Row, i64)>) = (Vec::new(), Vec::new());
    let send = |harness: &mut Harness, pending: &mut Vec<(Row, i64)>| {
        if !pending.is_empty() {
            harness.send(0, changes(&std::mem::take(pending)));
        }
    };
    let end = |harness: &mut Harness, rows: &[Row]| {
        let changes = harness.end_epoch();
        let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (row, weight) in changes {
            seen.entry(row).or_default().push(weight);
        }
        for (row, weights) in seen {
            let alike = weights.iter().all(|weight| *weight == weights[0]);
            assert!(alike, "{row} is given and taken back within an epoch");
        }
        assert_eq!(harness.result, expected(rows, query));
    };
    for step in steps {
        match step {
            Step::Insert(row) => {
                rows.push(*row);
                pending.push((*row, 1));
            }
            Step::Retract(n) if changelog == Changelog::Retractions && !rows.is_empty() => {
                let row = rows.swap_remove(n % rows.len());
                pending.push((row, -1));
            }
            Step::Retract(_) => {}
            Step::EndOfBatch => send(&mut harness, &mut pending),
            Step::EndOfEpoch => {
                send(&mut harness, &mut pending);
                end(&mut harness, &rows);
            }
            Step::Restart => {
                send(&mut harness, &mut pending);
                end(&mut harness, &rows);
                harness.restart();
            }
        }
    }
    send(&mut harness, &mut pending);
    end(&mut harness, &rows);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_ranking_follows_rows_that_come_and_go(query in queries(), steps in steps()) {
        run(query, &steps, Changelog::Retractions, BackendKind::Memory);
    }

    #[test]
    fn a_ranking_over_rows_that_only_come_gives_the_same(query in queries(), steps in steps()) {
        run(query, &steps, Changelog::AppendOnly, BackendKind::Memory);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_ranking_survives_restarts_on_a_database(query in queries(), steps in steps()) {
        run(query, &steps, Changelog::Retractions, BackendKind::Rocksdb);
        run(query, &steps, Changelog::AppendOnly, BackendKind::Rocksdb);
    }
}

fn top(last: u64) -> Query {
    Query {
        function: RankFunction::RowNumber,
        bounds: RankBounds {
            first: 1,
            last: Some(last),
            skip: 0,
        },
        shown: false,
        by_key: true,
        descending: true,
    }
}

fn text(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|(row, weight)| format!("{weight:+} {row}"))
        .collect()
}

#[test]
fn a_row_whose_number_alone_changes_is_no_change_where_numbers_are_not_shown() {
    for backend in BACKENDS {
        let mut harness = Harness::new(ranking(top(2), Changelog::AppendOnly), backend, 100);
        let row = |a, v| ((a, Some(1), Some(v)), 1);
        harness.send(0, changes(&[row(1, 10), row(2, 20), row(3, 5)]));
        assert_eq!(
            text(&harness.end_epoch()),
            ["+1 a=2, k=1, v=20", "+1 a=1, k=1, v=10"]
        );
        harness.send(0, changes(&[row(4, 30)]));
        assert_eq!(
            text(&harness.end_epoch()),
            ["-1 a=1, k=1, v=10", "+1 a=4, k=1, v=30"]
        );
        harness.send(0, changes(&[row(5, 1)]));
        assert!(harness.end_epoch().is_empty());
    }
}

#[test]
fn rows_that_can_never_be_given_are_not_kept_until_the_end_of_the_epoch() {
    let mut harness = Harness::new(
        ranking(top(2), Changelog::AppendOnly),
        BackendKind::Memory,
        100,
    );
    let row = |a, v| ((a, Some(1), Some(v)), 1);
    let rising: Vec<(Row, i64)> = (0..10).map(|a| row(a, a)).collect();
    harness.send(0, changes(&rising));
    assert_eq!(harness.kept_entries(), 2);
    // Behind the second place; then level with it, where the other columns decide.
    harness.send(0, changes(&[row(10, 7)]));
    assert_eq!(harness.kept_entries(), 2);
    harness.send(0, changes(&[row(11, 8)]));
    assert_eq!(harness.kept_entries(), 3);
    assert_eq!(
        text(&harness.end_epoch()),
        ["+1 a=9, k=1, v=9", "+1 a=8, k=1, v=8"]
    );
    assert_eq!(harness.kept_entries(), 2);
    // The next epoch knows the second place from the state.
    harness.send(0, changes(&[row(12, 7), row(13, 9)]));
    assert_eq!(harness.kept_entries(), 3);
    assert_eq!(
        text(&harness.end_epoch()),
        ["-1 a=8, k=1, v=8", "+1 a=13, k=1, v=9"]
    );
    harness.send(0, changes(&[row(14, 1)]));
    assert!(harness.end_epoch().is_empty());
    assert_eq!(harness.kept_entries(), 2);
}

#[test]
fn a_large_partition_is_read_piece_by_piece() {
    let query = Query {
        bounds: RankBounds {
            first: 4_990,
            last: Some(5_010),
            skip: 0,
        },
        shown: true,
        ..top(0)
    };
    for function in [
        RankFunction::RowNumber,
        RankFunction::Rank,
        RankFunction::DenseRank,
    ] {
        let query = Query { function, ..query };
        let mut harness = Harness::new(
            ranking(query, Changelog::Retractions),
            BackendKind::Memory,
            1000,
        );
        let rows: Vec<Row> = (0..9_000)
            .map(|a| (a, Some(1), Some(a * 7919 % 6_000)))
            .collect();
        for part in rows.chunks(3_000) {
            let weighted: Vec<(Row, i64)> = part.iter().map(|row| (*row, 1)).collect();
            harness.send(0, changes(&weighted));
        }
        harness.end_epoch();
        assert_eq!(harness.result, expected(&rows, query), "{function:?}");
    }
}
