//! Orders by arrival and conditions on the clock, against models, with restarts in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{Changelog, OperatorKind, RankBounds, StateLayout};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, TimeUnit};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

// ---------------------------------------------------------------------- arrival

fn arriving() -> Schema {
    schema(&[("k", DataType::Int64), ("v", DataType::Int64)])
}

/// By arrival within `k`: the last row, or the rows with those numbers.
fn arrival(backend: BackendKind, last: bool, bounds: RankBounds, batch_rows: usize) -> Harness {
    let columns = arriving();
    let state = if last {
        table(
            "rows",
            StateLayout::Map,
            columns[..1].to_vec(),
            columns.clone(),
        )
    } else {
        let count = schema(&[("count", DataType::Int64)]);
        table("counts", StateLayout::Map, columns[..1].to_vec(), count)
    };
    let kind = OperatorKind::Arrival {
        partition: vec![0],
        last,
        bounds,
        shown: false,
    };
    let inputs = vec![(columns.clone(), Changelog::AppendOnly)];
    Harness::new(
        plan(inputs, kind, columns, vec![state]),
        backend,
        batch_rows,
    )
}

type Arrived = (Option<i64>, i64);

fn rows(rows: &[Arrived]) -> ChangeBatch {
    let columns = vec![
        ints(rows.iter().map(|row| row.0)),
        ints(rows.iter().map(|row| Some(row.1))),
    ];
    batch(&arriving(), columns, &vec![1; rows.len()])
}

/// Epochs of rows, and whether a restart follows each.
fn arrivals() -> impl Strategy<Value = Vec<(Vec<Arrived>, bool)>> {
    let row = (prop::option::weighted(0.8, 0..3_i64), 0..100_i64);
    let rows = prop::collection::vec(row, 0..6);
    prop::collection::vec((rows, prop::bool::weighted(0.3)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_first_rows_of_a_key_to_arrive_are_given_at_once_and_stay(
        epochs in arrivals(), first in 1..3_u64, more in 0..3_u64
    ) {
        for backend in BACKENDS {
            let bounds = RankBounds { first, last: Some(first + more), skip: 0 };
            let mut harness = arrival(backend, false, bounds, 100);
            let (mut came, mut expected) = (BTreeMap::<Option<i64>, u64>::new(), BTreeMap::new());
            for (epoch, restarts) in &epochs {
                harness.send(0, rows(epoch));
                for (key, value) in epoch {
                    let place = came.entry(*key).or_default();
                    *place += 1;
                    if (first..=first + more).contains(place) {
                        *expected.entry(format!("k={}, v={value}", number(*key))).or_default() += 1_i64;
                    }
                }
                // At once: before the epoch ends.
                prop_assert_eq!(&harness.result, &expected);
                prop_assert!(harness.end_epoch().iter().all(|change| change.1 > 0));
                if *restarts {
                    harness.restart();
                }
            }
        }
    }

    #[test]
    fn the_last_row_of_a_key_to_arrive_takes_the_place_of_the_one_before_once_an_epoch(
        epochs in arrivals(), batch_rows in 2..5_usize
    ) {
        for backend in BACKENDS {
            let bounds = RankBounds { first: 1, last: Some(1), skip: 0 };
            let mut harness = arrival(backend, true, bounds, batch_rows);
            let mut last = BTreeMap::new();
            for (epoch, restarts) in &epochs {
                harness.send(0, rows(epoch));
                last.extend(epoch.iter().copied());
                let changes = harness.end_epoch();
                for sign in [-1, 1] {
                    let mut of_sign: Vec<_> = changes
                        .iter()
                        .filter(|change| change.1 == sign)
                        .filter_map(|change| change.0.split(',').next())
                        .collect();
                    let count = of_sign.len();
                    of_sign.sort_unstable();
                    of_sign.dedup();
                    prop_assert_eq!(count, of_sign.len(), "a key twice in {:?}", changes);
                }
                let expected = last.iter().map(|(key, value)| (format!("k={}, v={value}", number(*key)), 1));
                prop_assert_eq!(&harness.result, &expected.collect::<BTreeMap<_, _>>());
                if *restarts {
                    harness.restart();
                }
            }
        }
    }
}

// ---------------------------------------------------------------------- conditions on the clock

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);

fn staying() -> Schema {
    schema(&[("e", MOMENT), ("l", MOMENT), ("v", DataType::Int64)])
}

fn temporal_filter(backend: BackendKind, batch_rows: usize) -> Harness {
    let columns = staying();
    let key = || columns[..2].to_vec();
    let state = vec![
        table("rows", StateLayout::MultiMap, key(), columns.clone()),
        table(
            "times",
            StateLayout::Slices,
            key(),
            schema(&[("at", DataType::Int64)]),
        ),
    ];
    let kind = OperatorKind::TemporalFilter {
        enters: vec![0],
        leaves: vec![1],
    };
    let inputs = vec![(columns.clone(), Changelog::Retractions)];
    Harness::new(plan(inputs, kind, columns, state), backend, batch_rows)
}

/// Seconds at which it enters and leaves, a value.
type Stay = (Option<i64>, Option<i64>, i64);

fn moments(seconds: impl Iterator<Item = Option<i64>>) -> TimestampMillisecondArray {
    seconds
        .map(|second| second.map(|second| second * 1000))
        .collect()
}

fn stays(rows: &[(Stay, i64)]) -> ChangeBatch {
    let columns = vec![
        Arc::new(moments(rows.iter().map(|row| row.0.0))) as ArrayRef,
        Arc::new(moments(rows.iter().map(|row| row.0.1))) as _,
        ints(rows.iter().map(|row| Some(row.0.2))),
    ];
    let weights: Vec<i64> = rows.iter().map(|row| row.1).collect();
    batch(&staying(), columns, &weights)
}

fn shown(stay: &Stay) -> String {
    let text = |second: Option<i64>| {
        let array = moments(std::iter::once(second));
        if array.is_null(0) {
            return "NULL".to_owned();
        }
        arrow::util::display::array_value_to_string(&array, 0).unwrap()
    };
    format!("e={}, l={}, v={}", text(stay.0), text(stay.1), stay.2)
}

/// Epochs: by how much the clock goes on, rows that come, whether one is taken back, whether a restart follows.
fn timed_epochs() -> impl Strategy<Value = Vec<(i64, Vec<Stay>, Option<usize>, bool)>> {
    let moment = || prop::option::weighted(0.9, 0..40_i64);
    let rows = prop::collection::vec((moment(), moment(), 0..3_i64), 0..6);
    let gone = prop::option::weighted(0.4, 0..100_usize);
    prop::collection::vec((0..15_i64, rows, gone, prop::bool::weighted(0.3)), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn at_the_end_of_every_epoch_the_rows_of_its_moment_have_been_given(
        epochs in timed_epochs(), batch_rows in 2..5_usize
    ) {
        for backend in BACKENDS {
            let mut harness = temporal_filter(backend, batch_rows);
            let (mut now, mut there) = (0, Vec::<Stay>::new());
            for (step, coming, gone, restarts) in &epochs {
                now += step;
                harness.at(now * 1_000_000);
                let mut changes: Vec<(Stay, i64)> = Vec::new();
                if let Some(gone) = gone.filter(|_| !there.is_empty()) {
                    changes.push((there.remove(gone % there.len()), -1));
                }
                changes.extend(coming.iter().map(|row| (*row, 1)));
                there.extend(coming);
                // A batch goes through whole.
                for changes in changes.chunks(batch_rows) {
                    harness.send(0, stays(changes));
                }
                harness.end_epoch();
                let mut expected = BTreeMap::new();
                for stay in &there {
                    if let (Some(enters), Some(leaves)) = (stay.0, stay.1)
                        && (enters..leaves).contains(&now)
                    {
                        *expected.entry(shown(stay)).or_default() += 1;
                    }
                }
                prop_assert_eq!(&harness.result, &expected, "at second {}", now);
                if *restarts {
                    harness.restart();
                }
            }
        }
    }
}
