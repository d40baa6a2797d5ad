//! Joins of windows of every kind against a model that looks at every pair of rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::TimestampMillisecondArray;
use proptest::prelude::*;
use weir_planner::plan::{
    BinaryOp, Changelog, Expr, ExprKind, JoinKind, JoinTiming, OperatorKind, StateLayout,
    StreamPlan,
};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, Span, TimeUnit, Watermark};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);

fn side(name: &str) -> Schema {
    let column = |column: &str| format!("{name}{column}");
    schema(&[
        (column("e").as_str(), MOMENT),
        (column("k").as_str(), DataType::Int64),
        (column("v").as_str(), DataType::Int64),
    ])
}

/// `lv < rv`, if there is a residual.
fn joined(join: JoinKind, residual: bool) -> StreamPlan {
    let (left, right) = (side("l"), side("r"));
    let key = |side: &Schema| side[..2].to_vec();
    let at = schema(&[("at", DataType::Int64)]);
    let state = vec![
        table("left", StateLayout::MultiMap, key(&left), left.clone()),
        table("right", StateLayout::MultiMap, key(&right), right.clone()),
        table("windows", StateLayout::Slices, key(&left), at),
    ];
    let mut output = left.clone();
    if join.gives_right() {
        output.extend(right.clone());
    }
    let value = |column| Box::new(Expr::column(column, DataType::Int64, Span::default()));
    let residual = residual.then(|| Expr {
        kind: ExprKind::Binary {
            op: BinaryOp::Lt,
            left: value(2),
            right: value(5),
        },
        data_type: DataType::Boolean,
        span: Span::default(),
    });
    let kind = OperatorKind::TimedJoin {
        timing: JoinTiming::Window {
            left_end: 0,
            right_end: 0,
        },
        join,
        left_keys: vec![0, 1],
        right_keys: vec![0, 1],
        residual,
    };
    let inputs = vec![
        (left, Changelog::AppendOnly),
        (right, Changelog::AppendOnly),
    ];
    plan(inputs, kind, output, state)
}

/// End of the window in seconds, key, value.
type Row = (i64, Option<i64>, i64);

fn changes(side: &Schema, rows: &[Row]) -> ChangeBatch {
    let ends: TimestampMillisecondArray = rows.iter().map(|row| Some(row.0 * 1000)).collect();
    let columns = vec![
        Arc::new(ends) as _,
        ints(rows.iter().map(|row| row.1)),
        ints(rows.iter().map(|row| Some(row.2))),
    ];
    batch(side, columns, &vec![1; rows.len()])
}

fn text(name: &str, row: &Row) -> String {
    let array: arrow::array::ArrayRef =
        Arc::new(TimestampMillisecondArray::from(vec![row.0 * 1000]));
    let end = arrow::util::display::array_value_to_string(&array, 0).unwrap();
    let key = row.1.map_or("NULL".to_owned(), |key| key.to_string());
    format!("{name}e={end}, {name}k={key}, {name}v={}", row.2)
}

fn model(rows: &[Vec<Row>; 2], join: JoinKind, residual: bool) -> BTreeMap<String, i64> {
    let mut result = BTreeMap::new();
    let mut has_partner = rows.each_ref().map(|rows| vec![false; rows.len()]);
    for (l, left) in rows[0].iter().enumerate() {
        for (r, right) in rows[1].iter().enumerate() {
            let equal = left.1.is_some() && (left.0, left.1) == (right.0, right.1);
            if equal && (!residual || left.2 < right.2) {
                (has_partner[0][l], has_partner[1][r]) = (true, true);
                if join.gives_right() {
                    let line = format!("{}, {}", text("l", left), text("r", right));
                    *result.entry(line).or_default() += 1;
                }
            }
        }
    }
    for (row, &has) in rows[0].iter().zip(&has_partner[0]) {
        let line = match join {
            JoinKind::Semi if has => text("l", row),
            JoinKind::Anti if !has => text("l", row),
            JoinKind::Left | JoinKind::Full if !has => {
                format!("{}, re=NULL, rk=NULL, rv=NULL", text("l", row))
            }
            _ => continue,
        };
        *result.entry(line).or_default() += 1;
    }
    for (row, &has) in rows[1].iter().zip(&has_partner[1]) {
        if join.keeps_right() && !has {
            let line = format!("le=NULL, lk=NULL, lv=NULL, {}", text("r", row));
            *result.entry(line).or_default() += 1;
        }
    }
    result
}

#[derive(Clone, Debug)]
enum Step {
    /// Input, windows from the watermark on, key, value.
    Row(usize, i64, Option<i64>, i64),
    EndOfBatch,
    Watermark(i64),
    /// Processing time goes on, in seconds.
    Clock(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::option::weighted(0.9, 0i64..3);
    let row = (0usize..2, 1i64..4, key, 0i64..3)
        .prop_map(|(input, end, key, value)| Step::Row(input, end, key, value));
    let step = prop_oneof![
        12 => row, 3 => Just(Step::EndOfBatch), 2 => (1i64..3).prop_map(Step::Watermark), 1 => (1i64..4).prop_map(Step::Clock),
        1 => Just(Step::Restart)
    ];
    proptest::collection::vec(step, 0..120)
}

fn run(
    steps: &[Step],
    (join, residual): (JoinKind, bool),
    backend: BackendKind,
    batch_rows: usize,
) {
    let mut harness = Harness::new(joined(join, residual), backend, batch_rows);
    let sides = [side("l"), side("r")];
    let (mut watermark, mut now) = (0, 0);
    let (mut all, mut pending) = ([const { Vec::new() }; 2], [const { Vec::<Row>::new() }; 2]);
    let flush = |harness: &mut Harness, pending: &mut [Vec<Row>; 2]| {
        for (input, rows) in pending.iter_mut().enumerate() {
            if !rows.is_empty() {
                harness.send(input, changes(&sides[input], rows));
                rows.clear();
            }
        }
    };
    for step in steps {
        match step {
            Step::Row(input, end, key, value) => {
                let row = (watermark + end, *key, *value);
                all[*input].push(row);
                pending[*input].push(row);
            }
            Step::EndOfBatch => flush(&mut harness, &mut pending),
            Step::Watermark(forward) => {
                flush(&mut harness, &mut pending);
                // Without a key a row waits for nothing; all others wait for their window.
                for (row, _) in harness.end_epoch() {
                    assert!(row.contains("k=NULL"), "{row}");
                }
                watermark += forward;
                harness.watermark(Watermark(watermark * 1_000_000));
                let given: i64 = harness.end_epoch().iter().map(|(_, weight)| weight).sum();
                assert!(given >= 0);
                let over = all.each_ref().map(|rows| {
                    let rows = rows
                        .iter()
                        .filter(|row| row.1.is_none() || row.0 <= watermark);
                    rows.copied().collect::<Vec<Row>>()
                });
                assert_eq!(harness.result, model(&over, join, residual));
            }
            Step::Clock(forward) => {
                flush(&mut harness, &mut pending);
                harness.end_epoch();
                now += forward * 1_000_000;
                harness.at(now);
            }
            Step::Restart => {
                flush(&mut harness, &mut pending);
                harness.end_epoch();
                harness.restart();
            }
        }
    }
    flush(&mut harness, &mut pending);
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
    assert_eq!(harness.result, model(&all, join, residual));
}

const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_of_a_window_are_joined_when_it_ends(
        steps in steps(), kind in 0usize..6, residual: bool, rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        run(&steps, (KINDS[kind], residual), BACKENDS[usize::from(rocks)], batch_rows);
    }
}

#[test]
fn rows_go_into_the_tables_when_their_window_gets_old_or_state_is_frozen() {
    let left = side("l");
    let mut harness = Harness::new(joined(JoinKind::Left, false), BackendKind::Memory, 100);
    let send = |harness: &mut Harness, rows: &[Row]| harness.send(0, changes(&left, rows));
    send(&mut harness, &[(1, Some(1), 1), (2, Some(2), 2)]);
    harness.end_epoch();
    assert_eq!(harness.kept_entries(), 0);
    harness.watermark(Watermark(1_000_000));
    assert_eq!(harness.end_epoch().len(), 1);
    harness.restart();
    assert_eq!(harness.result.len(), 1);
    // The second window has rows in the tables: the next one follows. (A restored table is not in memory.)
    send(&mut harness, &[(2, Some(3), 3), (3, Some(4), 4)]);
    harness.end_epoch();
    assert_eq!(harness.kept_entries(), 2, "a row, and its key");
    harness.at(2_000_000);
    harness.end_epoch();
    assert_eq!(harness.kept_entries(), 2);
    harness.at(3_000_000);
    harness.end_epoch();
    assert_eq!(harness.kept_entries(), 4);
    harness.watermark(Watermark::MAX);
    assert_eq!(harness.end_epoch().len(), 3);
}
