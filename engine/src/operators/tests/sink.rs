//! What a sink's writer gets of an epoch.

use std::sync::{Arc, Mutex};

use weir_planner::plan::{Changelog, OperatorKind, Partitioning, StateLayout};
use weir_types::{ChangeBatch, DataType, OperatorId, ProcessingTime, Schema};

use super::super::harness::{BACKENDS, Harness, NotingWriter, batch, ints, plan, schema, table};
use super::super::sink::Sink;
use super::super::{Operator, OperatorContext};

fn input() -> Schema {
    schema(&[("a", DataType::Int64)])
}

fn changes(values: &[i64]) -> ChangeBatch {
    let weights: Vec<i64> = values.iter().map(|value| value.signum()).collect();
    batch(
        &input(),
        vec![ints(
            values
                .iter()
                .map(|value| Some(value.abs()))
                .collect::<Vec<_>>(),
        )],
        &weights,
    )
}

fn written(retractions: bool, epochs: &[&[&[i64]]]) -> Vec<String> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut sink = Sink::new(
        OperatorId::new("t/sink"),
        Box::new(NotingWriter(log.clone())),
        None,
        retractions,
        100,
    );
    let mut context = OperatorContext::new(ProcessingTime(0), 100);
    for epoch in epochs {
        for batch in *epoch {
            sink.on_batch(0, changes(batch), &mut context).unwrap();
        }
        sink.on_epoch_end(&mut context).unwrap();
    }
    log.lock().unwrap().clone()
}

#[test]
fn an_updating_epoch_is_written_net_and_whole() {
    let log = written(true, &[&[&[1, 2], &[-1, 3]], &[&[-3], &[4]]]);
    assert_eq!(log, ["+2", "+3", "end", "-3", "+4", "end"]);
}

#[test]
fn append_only_rows_are_written_as_they_come() {
    assert_eq!(
        written(false, &[&[&[1], &[2]], &[]]),
        ["+1", "+2", "end", "end"]
    );
}

#[test]
fn a_snapshot_is_the_whole_result_also_after_a_restart() {
    for backend in BACKENDS {
        let state = vec![table("rows", StateLayout::MultiMap, input(), input())];
        let kind = OperatorKind::Sink {
            table: "t".to_owned(),
        };
        let mut plan = plan(
            vec![(input(), Changelog::Retractions)],
            kind,
            input(),
            state,
        );
        plan.operators[1].inputs[0].partitioning = Partitioning::Hash(vec![0]);
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut harness = Harness::snapshot_sink(plan, backend, &log);
        let written = |log: &Arc<Mutex<Vec<String>>>| {
            let mut written = std::mem::take(&mut *log.lock().unwrap());
            written.sort();
            written
        };
        harness.send(0, changes(&[1, 2, 2, 5]));
        harness.end_epoch();
        assert_eq!(written(&log), ["end"], "an epoch gives the writer nothing");
        harness.prepare();
        assert_eq!(written(&log), ["+1", "+2", "+2", "+5"]);
        harness.restart();
        harness.send(0, changes(&[-2, -5, 7]));
        harness.end_epoch();
        harness.prepare();
        assert_eq!(written(&log), ["+1", "+2", "+7", "end"]);
    }
}
