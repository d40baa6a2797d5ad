//! What a sink's writer gets of an epoch.

use std::sync::{Arc, Mutex};

use weir_connectors::SinkWriter;
use weir_types::{ChangeBatch, CheckpointId, DataType, OperatorId, ProcessingTime, Schema};

use super::super::harness::{batch, ints, schema};
use super::super::sink::Sink;
use super::super::{Operator, OperatorContext};

/// Notes values with their signs, and `end` for every end of an epoch.
struct Writer(Arc<Mutex<Vec<String>>>);

impl SinkWriter for Writer {
    fn write(&mut self, changes: &ChangeBatch) -> weir_connectors::Result<()> {
        let values = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(
            changes.rows.column(0),
        );
        let mut log = self.0.lock().unwrap();
        log.extend(
            (0..changes.num_rows())
                .map(|row| format!("{:+}", values.value(row) * changes.weight(row))),
        );
        Ok(())
    }

    fn end_epoch(&mut self) -> weir_connectors::Result<()> {
        self.0.lock().unwrap().push("end".to_owned());
        Ok(())
    }

    fn prepare(&mut self, _: CheckpointId) -> weir_connectors::Result<Option<serde_json::Value>> {
        Ok(None)
    }
}

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
        Box::new(Writer(log.clone())),
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
