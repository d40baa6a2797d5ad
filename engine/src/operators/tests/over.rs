//! OVER against a model that looks for every row at the rows of its partition, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::accumulator_layout;
use weir_planner::over::{
    Exclusion, Frame, FrameBound, FrameUnit, OverCall, OverFunction, Reach, accumulated,
};
use weir_planner::plan::{Changelog, OperatorKind, StateLayout, StateTable, StreamPlan};
use weir_state::BackendKind;
use weir_types::{
    ChangeBatch, Column, DataType, Scalar, Schema, SortColumn, Span, TimeUnit, Watermark,
};

use super::super::harness::{BACKENDS, Harness, batch, call, ints, plan, schema, table};

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);

/// Key, time in milliseconds, value, name.
type Row = (Option<i64>, i64, Option<i64>, i64);

fn input() -> Schema {
    schema(&[
        ("k", DataType::Int64),
        ("t", MOMENT),
        ("v", DataType::Int64),
        ("a", DataType::Int64),
    ])
}

fn over(function: OverFunction, frame: &Frame, data_type: DataType) -> OverCall {
    OverCall {
        name: String::new(),
        function,
        frame: frame.clone(),
        data_type,
        span: Span::default(),
    }
}

/// One call of each kind that the frame allows. Order-dependent ones read `a`, which no two rows share.
fn calls(frame: &Frame, back_only: bool) -> Vec<OverCall> {
    let number = DataType::Int64;
    let aggregate = |function: &str, arguments: &[usize]| {
        let call = call(function, arguments, number.clone());
        over(OverFunction::Aggregate(call), frame, number.clone())
    };
    let nth = |place, from_last, ignore_nulls, value| {
        let function = OverFunction::Nth {
            value,
            place,
            from_last,
            ignore_nulls,
        };
        over(function, frame, number.clone())
    };
    let shift = |by, default, ignore_nulls| {
        let function = OverFunction::Shift {
            value: 2,
            by,
            default,
            ignore_nulls,
        };
        over(function, &Frame::PARTITION, number.clone())
    };
    let distinct = {
        let mut call = call("count", &[2], number.clone());
        call.name.push_str("distinct");
        call.distinct = true;
        over(OverFunction::Aggregate(call), frame, number.clone())
    };
    let whole = |function| over(function, &Frame::PARTITION, number.clone());
    let mut calls = vec![
        aggregate("sum", &[2]),
        aggregate("count", &[]),
        aggregate("max", &[2]),
        distinct,
        nth(1, false, false, 3),
        nth(2, true, false, 3),
        nth(1, true, true, 2),
        shift(-1, Some(3), false),
        shift(-2, None, true),
        whole(OverFunction::RowNumber),
        whole(OverFunction::Rank),
        whole(OverFunction::DenseRank),
    ];
    if !back_only {
        calls.extend([
            shift(2, Some(3), false),
            shift(1, None, true),
            whole(OverFunction::Ntile(3)),
            over(OverFunction::CumeDist, &Frame::PARTITION, DataType::Float64),
        ]);
    }
    calls
}

/// A distance is measured in one column.
fn is_measured(frame: &Frame) -> bool {
    let has_distance =
        |bound: &FrameBound| matches!(bound, FrameBound::Preceding(_) | FrameBound::Following(_));
    frame.unit == FrameUnit::Range && (has_distance(&frame.start) || has_distance(&frame.end))
}

/// Orders by time; `total`: by the name too, so that no two rows are equal.
fn order(total: bool) -> Vec<SortColumn> {
    let mut order = vec![SortColumn::ascending(1)];
    if total {
        order.push(SortColumn::ascending(3));
    }
    order
}

fn windowed(calls: Vec<OverCall>, total: bool, timed: bool) -> StreamPlan {
    let input = input();
    let key = schema(&[("k", DataType::Int64)]);
    let sorted = |name: &str| StateTable {
        order: order(total),
        ..table(name, StateLayout::Sorted, key.clone(), input.clone())
    };
    let mut state = vec![sorted("rows")];
    if timed {
        state.push(sorted("waiting"));
        let at = schema(&[("at", DataType::Int64)]);
        state.push(table("times", StateLayout::Slices, key.clone(), at));
        if Reach::of(&calls, &input).running {
            let mut value = schema(&[("rows", DataType::Int64), ("groups", DataType::Int64)]);
            let (aggregates, _) = accumulated(&calls, &input);
            if !aggregates.is_empty() {
                value.extend(accumulator_layout(&aggregates, &input, false).columns);
            }
            state.push(table("running", StateLayout::Map, key.clone(), value));
        }
    }
    let mut output = input.clone();
    output.extend(
        calls
            .iter()
            .enumerate()
            .map(|(i, call)| Column::new(format!("r{i}"), call.data_type.clone())),
    );
    let kind = OperatorKind::Over {
        partition: vec![0],
        order: order(total),
        time: timed.then_some(1),
        calls,
    };
    let changelog = if timed {
        Changelog::AppendOnly
    } else {
        Changelog::Retractions
    };
    plan(vec![(input, changelog)], kind, output, state)
}

fn changes(rows: &[(Row, i64, Option<i64>)]) -> ChangeBatch {
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.0.1)).collect();
    let columns = vec![
        ints(rows.iter().map(|row| row.0.0)),
        Arc::new(times) as _,
        ints(rows.iter().map(|row| row.0.2)),
        ints(rows.iter().map(|row| Some(row.0.3))),
    ];
    let weights: Vec<i64> = rows.iter().map(|row| row.1).collect();
    let mut changes = batch(&input(), columns, &weights);
    if rows.iter().any(|row| row.2.is_some()) {
        let own: Int64Array = rows.iter().map(|row| row.2.map(|own| own * 1000)).collect();
        changes.own_watermark = Some(own);
    }
    changes
}

fn text(value: Option<i64>) -> String {
    value.map_or("NULL".to_owned(), |value| value.to_string())
}

fn moment(ms: i64) -> String {
    let array: arrow::array::ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![ms]));
    arrow::util::display::array_value_to_string(&array, 0).unwrap()
}

/// Whether row `j` of a partition is in the frame of row `i`.
fn in_frame(rows: &[Row], groups: &[usize], frame: &Frame, i: usize, j: usize) -> bool {
    let distance = |bound: &FrameBound, unit: FrameUnit| -> i64 {
        match bound {
            FrameBound::UnboundedPreceding => -1_000_000_000,
            FrameBound::UnboundedFollowing => 1_000_000_000,
            FrameBound::CurrentRow => 0,
            FrameBound::Preceding(Scalar::Int(by)) if unit == FrameUnit::Range => -by / 1000,
            FrameBound::Following(Scalar::Int(by)) if unit == FrameUnit::Range => by / 1000,
            FrameBound::Preceding(Scalar::Int(by)) => -by,
            FrameBound::Following(Scalar::Int(by)) => *by,
            _ => unreachable!(),
        }
    };
    let away = match frame.unit {
        FrameUnit::Rows => j as i64 - i as i64,
        FrameUnit::Range if is_measured(frame) => rows[j].1 - rows[i].1,
        FrameUnit::Groups | FrameUnit::Range => groups[j] as i64 - groups[i] as i64,
    };
    let within =
        (distance(&frame.start, frame.unit)..=distance(&frame.end, frame.unit)).contains(&away);
    let excluded = match frame.exclude {
        Exclusion::NoOthers => false,
        Exclusion::CurrentRow => i == j,
        Exclusion::Group => groups[i] == groups[j],
        Exclusion::Ties => groups[i] == groups[j] && i != j,
    };
    within && !excluded
}

/// The result of a call for row `i` of a partition.
fn result(rows: &[Row], groups: &[usize], call: &OverCall, i: usize) -> String {
    let frame: Vec<Row> = (0..rows.len())
        .filter(|&j| in_frame(rows, groups, &call.frame, i, j))
        .map(|j| rows[j])
        .collect();
    let values = || frame.iter().filter_map(|row| row.2);
    let of = |column: usize, row: &Row| if column == 2 { row.2 } else { Some(row.3) };
    let first = groups.iter().position(|&g| g == groups[i]).unwrap();
    let same = groups.iter().filter(|&&g| g == groups[i]).count();
    match &call.function {
        OverFunction::Aggregate(aggregate) => match aggregate.function.as_str() {
            "sum" => text((values().count() > 0).then(|| values().sum())),
            "max" => text(values().max()),
            _ if aggregate.distinct => {
                let distinct: std::collections::BTreeSet<i64> = values().collect();
                distinct.len().to_string()
            }
            _ => frame.len().to_string(),
        },
        OverFunction::RowNumber => (i + 1).to_string(),
        OverFunction::Rank => (first + 1).to_string(),
        OverFunction::DenseRank => (groups[i] + 1).to_string(),
        OverFunction::CumeDist => {
            let share = (first + same) as f64 / rows.len() as f64;
            let array: arrow::array::ArrayRef =
                Arc::new(arrow::array::Float64Array::from(vec![share]));
            arrow::util::display::array_value_to_string(&array, 0).unwrap()
        }
        OverFunction::Ntile(parts) => {
            let sizes = (0..*parts as usize).map(|part| {
                rows.len() / *parts as usize + usize::from(part < rows.len() % *parts as usize)
            });
            let mut end = 0;
            for (part, size) in sizes.enumerate() {
                end += size;
                if i < end {
                    return (part + 1).to_string();
                }
            }
            unreachable!()
        }
        OverFunction::Shift {
            value,
            by,
            default,
            ignore_nulls,
        } => {
            let mut place = i as i64;
            for _ in 0..by.abs() {
                loop {
                    place += by.signum();
                    let Some(row) = usize::try_from(place).ok().and_then(|p| rows.get(p)) else {
                        return text(default.and_then(|default| of(default, &rows[i])));
                    };
                    if !ignore_nulls || of(*value, row).is_some() {
                        break;
                    }
                }
            }
            text(of(*value, &rows[place as usize]))
        }
        OverFunction::Nth {
            value,
            place,
            from_last,
            ignore_nulls,
        } => {
            let counted = frame
                .iter()
                .map(|row| of(*value, row))
                .filter(|value| !ignore_nulls || value.is_some());
            let mut counted: Vec<Option<i64>> = counted.collect();
            if *from_last {
                counted.reverse();
            }
            text(counted.get(*place as usize - 1).copied().flatten())
        }
        OverFunction::PercentRank => unreachable!(),
    }
}

fn expected(rows: &[Row], calls: &[OverCall], total: bool) -> BTreeMap<String, i64> {
    let mut partitions: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        partitions.entry(row.0).or_default().push(*row);
    }
    let mut expected = BTreeMap::new();
    for mut rows in partitions.into_values() {
        // Behind the order: all other columns in the order of the schema, NULLs last.
        let last = |value: Option<i64>| (value.is_none(), value);
        let by_name = |row: &Row| if total { row.3 } else { 0 };
        rows.sort_by_key(|row| (row.1, by_name(row), last(row.2), row.3));
        let mut groups = vec![0; rows.len()];
        for i in 1..rows.len() {
            let tie = rows[i].1 == rows[i - 1].1 && (!total || rows[i].3 == rows[i - 1].3);
            groups[i] = groups[i - 1] + usize::from(!tie);
        }
        for (i, row) in rows.iter().enumerate() {
            let mut line = format!(
                "k={}, t={}, v={}, a={}",
                text(row.0),
                moment(row.1),
                text(row.2),
                row.3
            );
            for (c, call) in calls.iter().enumerate() {
                line.push_str(&format!(", r{c}={}", result(&rows, &groups, call, i)));
            }
            *expected.entry(line).or_default() += 1;
        }
    }
    expected
}

fn frames(back_only: bool) -> impl Strategy<Value = Frame> {
    let unit = prop_oneof![
        Just(FrameUnit::Rows),
        Just(FrameUnit::Range),
        Just(FrameUnit::Groups)
    ];
    let exclude = prop_oneof![
        3 => Just(Exclusion::NoOthers),
        1 => Just(Exclusion::CurrentRow),
        1 => Just(Exclusion::Group),
        1 => Just(Exclusion::Ties)
    ];
    // Places from the first row to the last; those between count from the row.
    let bounds = (0..8i64, 0..8i64);
    (unit, exclude, bounds).prop_map(move |(unit, exclude, (a, b))| {
        let end_max = if back_only { 3 } else { 7 };
        let (start, end) = (a.min(b).min(end_max), a.max(b).min(end_max));
        let start = start.min(6);
        let scaled = |by: i64| {
            Scalar::Int(if unit == FrameUnit::Range {
                by * 1000
            } else {
                by
            })
        };
        let bound = |place: i64, is_end: bool| match place {
            0 if !is_end => FrameBound::UnboundedPreceding,
            7 => FrameBound::UnboundedFollowing,
            0..=2 => FrameBound::Preceding(scaled(3 - place)),
            3 => FrameBound::CurrentRow,
            _ => FrameBound::Following(scaled(place - 3)),
        };
        Frame {
            unit,
            start: bound(start, false),
            end: bound(end.max(start), true),
            exclude,
        }
    })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let key = prop_oneof![Just(None), Just(Some(1)), Just(Some(2))];
    let value = prop_oneof![1 => Just(None), 3 => (0..6i64).prop_map(Some)];
    prop::collection::vec((key, 0..9i64, value), 1..40).prop_map(|rows| {
        let named = rows.into_iter().enumerate();
        named.map(|(i, (k, t, v))| (k, t, v, i as i64)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn changes_fold_to_what_every_row_sees(
        all in rows(),
        frame in frames(false),
        total: bool,
        local: bool,
        steps in prop::collection::vec((0..40usize, 0..4u8), 1..40),
        stored in 0..6u8,
    ) {
        let total = total && !is_measured(&frame);
        let mut calls = calls(&frame, false);
        if local {
            // Without those that look at the whole partition.
            calls.retain(|call| match call.function {
                OverFunction::Aggregate(_) | OverFunction::Nth { ignore_nulls: false, .. } => true,
                OverFunction::Shift { ignore_nulls, .. } => !ignore_nulls,
                _ => false,
            });
        }
        // RocksDB is slow to open: for some of the cases.
        let backend = BACKENDS[usize::from(stored == 0)];
        {
            let plan = windowed(calls.clone(), total, false);
            let mut harness = Harness::new(plan, backend, 7);
            let mut present: Vec<Row> = Vec::new();
            for &(pick, what) in &steps {
                match what {
                    // The same row may be there several times.
                    0 | 1 => {
                        let row = all[pick % all.len()];
                        present.push(row);
                        harness.send(0, changes(&[(row, 1, None)]));
                    }
                    2 if !present.is_empty() => {
                        let row = present.swap_remove(pick % present.len());
                        harness.send(0, changes(&[(row, -1, None)]));
                    }
                    _ => {
                        harness.end_epoch();
                        prop_assert_eq!(&harness.result, &expected(&present, &calls, total));
                        if pick % 5 == 0 {
                            harness.restart();
                        }
                    }
                }
            }
            harness.end_epoch();
            prop_assert_eq!(&harness.result, &expected(&present, &calls, total));
        }
    }

    #[test]
    fn rows_in_the_order_of_time_are_given_once(
        all in rows(),
        frame in frames(true),
        total: bool,
        some in prop::collection::vec(any::<bool>(), 12),
        cuts in prop::collection::vec(1..6usize, 1..20),
        delay in 0..4i64,
        stored in 0..6u8,
    ) {
        let total = total && !is_measured(&frame);
        let chosen = calls(&frame, true).into_iter().zip(&some);
        let calls: Vec<OverCall> = chosen
            .filter(|(call, some)| {
                let looks_back = matches!(frame.end, FrameBound::CurrentRow | FrameBound::Preceding(_));
                **some && (looks_back || !call.function.has_frame())
            })
            .map(|(call, _)| call)
            .collect();
        // RocksDB is slow to open: for some of the cases.
        let backend = BACKENDS[usize::from(stored == 0)];
        {
            let plan = windowed(calls.clone(), total, true);
            let mut harness = Harness::new(plan, backend, 5);
            let (mut rest, mut kept, mut late) = (all.as_slice(), Vec::new(), 0);
            let mut seen = i64::MIN;
            for (i, &cut) in cuts.iter().cycle().enumerate() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                let mut sent = Vec::new();
                for &row in now {
                    let own = (seen != i64::MIN).then(|| seen - delay).filter(|&own| row.1 < own);
                    if own.is_some() { late += 1 } else { kept.push(row) }
                    sent.push((row, 1, own));
                    seen = seen.max(row.1);
                }
                harness.send(0, changes(&sent));
                harness.watermark(Watermark((seen - delay) * 1000));
                let given = harness.end_epoch();
                prop_assert!(given.iter().all(|(_, weight)| *weight == 1));
                if i % 3 == 1 {
                    harness.restart();
                }
            }
            harness.watermark(Watermark::MAX);
            harness.end_epoch();
            prop_assert_eq!(&harness.result, &expected(&kept, &calls, total));
            prop_assert_eq!(harness.late_rows(), late);
        }
    }
}

#[test]
fn only_rows_whose_result_changes_are_given_again() {
    let frame = Frame {
        unit: FrameUnit::Rows,
        start: FrameBound::Preceding(Scalar::Int(1)),
        end: FrameBound::CurrentRow,
        exclude: Exclusion::NoOthers,
    };
    let sum = call("sum", &[2], DataType::Int64);
    let calls = vec![over(OverFunction::Aggregate(sum), &frame, DataType::Int64)];
    let mut harness = Harness::new(windowed(calls, true, false), BackendKind::Memory, 100);
    let row = |a: i64, v: i64| ((Some(1), a, Some(v), a), 1, None);
    let rows: Vec<_> = (0..20_000)
        .filter(|a| a % 2 == 0)
        .map(|a| row(a, 1))
        .collect();
    harness.send(0, changes(&rows));
    assert_eq!(harness.end_epoch().len(), 10_000);
    harness.send(0, changes(&[row(5_001, 10)]));
    let given: Vec<i64> = harness.end_epoch().iter().map(|change| change.1).collect();
    assert_eq!(given, [-1, 1, 1], "the new row, and the one behind it");
}

#[test]
fn a_partition_with_more_rows_of_one_time_than_are_read_at_once_is_given_whole() {
    let frame = Frame {
        unit: FrameUnit::Range,
        start: FrameBound::UnboundedPreceding,
        end: FrameBound::CurrentRow,
        exclude: Exclusion::NoOthers,
    };
    let count = call("count", &[], DataType::Int64);
    let calls = vec![over(
        OverFunction::Aggregate(count),
        &frame,
        DataType::Int64,
    )];
    let mut harness = Harness::new(windowed(calls, false, true), BackendKind::Memory, 1000);
    let row = |a: i64| ((Some(1), a / 10_000, Some(1), a), 1, None);
    let rows: Vec<_> = (0..20_000).map(row).collect();
    harness.send(0, changes(&rows));
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
    let with = |count: &str| {
        harness
            .result
            .keys()
            .filter(|row| row.ends_with(count))
            .count()
    };
    assert_eq!((with("r0=10000"), with("r0=20000")), (10_000, 10_000));
}
