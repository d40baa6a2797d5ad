//! What is written, and what somebody else finds in the folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use weir_types::{ChangeBatch, CheckpointId, Column, DataType, WorkerId};

use super::write;
use crate::testing::{environment, request};
use crate::{Error, SinkEnvironment, open_sink};

fn batch(numbers: &[i64], names: &[Option<&str>]) -> ChangeBatch {
    let schema = DataType::arrow_schema(&both());
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(numbers.to_vec())),
        Arc::new(StringViewArray::from(names.to_vec())),
    ];
    ChangeBatch::append_only(RecordBatch::try_new(schema, arrays).unwrap())
}

fn both() -> Vec<Column> {
    vec![
        Column::new("n", DataType::Int64),
        Column {
            external_name: Some("Name".to_owned()),
            ..Column::new("name", DataType::String)
        },
    ]
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn partitions_are_folders_with_encoded_values() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "out"),
        ("format", "csv"),
    ];
    let mut table = request(folder.path(), &options, &both());
    table.partitioned_by = vec![1];
    let sink = open_sink(table.clone(), &environment(folder.path(), 3)).unwrap();
    let mut writer = sink.writer(WorkerId(1)).unwrap();
    writer
        .write(&batch(
            &[1, 2, 3, 4, 5],
            &[Some("a/b"), None, Some("a/b"), Some("__null__"), Some("")],
        ))
        .unwrap();
    writer.end_epoch().unwrap();
    let prepared = writer.prepare(CheckpointId(7)).unwrap().unwrap();
    sink.committer()
        .unwrap()
        .commit(CheckpointId(7), &[prepared])
        .unwrap();
    let found = files(&folder.path().join("out"));
    // Which part has which number does not matter here.
    let published: Vec<_> = found
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .collect();
    let folders: Vec<_> = published
        .iter()
        .map(|(name, text)| {
            let (partition, part) = name.split_once('/').unwrap();
            assert!(
                part.starts_with("part-job%2E1-t%2Fsink-3-1-") && part.ends_with(".csv"),
                "{part}"
            );
            (partition, text.as_str())
        })
        .collect();
    assert_eq!(
        folders,
        [
            ("Name=%5F_null__", "n\n4\n"),
            ("Name=", "n\n5\n"),
            ("Name=__null__", "n\n2\n"),
            ("Name=a%2Fb", "n\n1\n3\n"),
        ]
    );
    let list = found
        .iter()
        .find(|(name, _)| name == "_commits/job%2E1.t%2Fsink.7.json")
        .unwrap();
    assert_eq!(list.1.matches("part-job%2E1").count(), 4);
    assert!(!found.iter().any(|(name, _)| name.starts_with("_staging")));
}

#[test]
fn a_part_that_is_gone_is_told_and_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "out"),
        ("format", "json"),
    ];
    let sink = open_sink(
        request(folder.path(), &options, &both()),
        &environment(folder.path(), 1),
    )
    .unwrap();
    let mut writer = sink.writer(WorkerId(0)).unwrap();
    writer.write(&batch(&[1], &[None])).unwrap();
    let prepared = writer.prepare(CheckpointId(1)).unwrap().unwrap();
    fs::remove_dir_all(folder.path().join("out/_staging")).unwrap();
    let outcome = sink
        .committer()
        .unwrap()
        .commit(CheckpointId(1), &[prepared]);
    assert!(matches!(outcome, Err(Error::Inconsistent(text)) if text.contains("neither in")));
}

#[test]
fn at_least_once_publishes_at_epochs_but_not_more_often_than_the_interval() {
    for (interval, expected) in [("0 s", [1, 2, 3]), ("1 h", [1, 1, 1])] {
        publish_at_epochs(interval, expected);
    }
}

fn publish_at_epochs(interval: &str, expected: [usize; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "out"),
        ("format", "json"),
        ("sink.publish.interval", interval),
    ];
    let env = SinkEnvironment {
        exactly_once: false,
        ..environment(folder.path(), 1)
    };
    let sink = open_sink(request(folder.path(), &options, &both()), &env).unwrap();
    assert_eq!(sink.visibility(), crate::Visibility::Epoch);
    let mut writer = sink.writer(WorkerId(0)).unwrap();
    let published = || {
        files(&folder.path().join("out"))
            .iter()
            .filter(|(name, _)| !name.starts_with('_'))
            .count()
    };
    let counts = [(); 3].map(|()| {
        writer.write(&batch(&[1], &[None])).unwrap();
        writer.end_epoch().unwrap();
        published()
    });
    assert_eq!(counts, expected);
    writer.write(&batch(&[1], &[None])).unwrap();
    assert_eq!(writer.prepare(CheckpointId(1)).unwrap(), None);
    let all = expected[2] + 1;
    assert_eq!(published(), all);
    // What was published so is never withdrawn: a repeated row is allowed, a lost one is not.
    let mut committer = sink.committer().unwrap();
    committer.rollback_to(None).unwrap();
    assert_eq!(
        (published(), committer.holds_output().unwrap()),
        (all, true)
    );
    committer.remove_output().unwrap();
    assert_eq!(published(), 0);
}

#[test]
fn a_snapshot_is_sorted_replaced_only_when_it_changed_and_does_not_take_a_strangers_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "now.csv"),
        ("format", "csv"),
        ("mode", "snapshot"),
        ("sink.snapshot.keep", "3"),
    ];
    let table = request(folder.path(), &options, &both());
    write(folder.path(), "now.csv", "mine");
    let error = open_sink(table.clone(), &environment(folder.path(), 1))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("[C0012] `now.csv` is there already"),
        "{error}"
    );
    fs::remove_file(folder.path().join("now.csv")).unwrap();

    let sink = open_sink(table.clone(), &environment(folder.path(), 1)).unwrap();
    let mut committer = sink.committer().unwrap();
    let mut writers = [
        sink.writer(WorkerId(0)).unwrap(),
        sink.writer(WorkerId(1)).unwrap(),
    ];
    let show = || fs::read_to_string(folder.path().join("now.csv")).unwrap();
    let mut prepared = Vec::new();
    for checkpoint in 1..=4 {
        writers[1]
            .write(&batch(&[2, 1], &[Some("x\ny"), Some("b")]))
            .unwrap();
        // The third result is the second one.
        writers[0]
            .write(&batch(
                &[if checkpoint == 3 { 12 } else { checkpoint + 10 }],
                &[None],
            ))
            .unwrap();
        let all: Vec<_> = writers
            .iter_mut()
            .filter_map(|writer| writer.prepare(CheckpointId(checkpoint as u64)).unwrap())
            .collect();
        let before = fs::metadata(folder.path().join("now.csv"))
            .and_then(|file| file.modified())
            .ok();
        committer
            .commit(CheckpointId(checkpoint as u64), &all)
            .unwrap();
        let after = fs::metadata(folder.path().join("now.csv"))
            .and_then(|file| file.modified())
            .ok();
        assert_eq!(before == after, checkpoint == 3);
        prepared.push(all);
    }
    assert_eq!(show(), "n,Name\n1,b\n14,\n2,\"x\ny\"\n");

    // A worker that writes nothing has nothing: only the other one's rows are left.
    writers[0].write(&batch(&[7], &[None])).unwrap();
    let all: Vec<_> = writers
        .iter_mut()
        .filter_map(|writer| writer.prepare(CheckpointId(5)).unwrap())
        .collect();
    committer.commit(CheckpointId(5), &all).unwrap();
    assert_eq!(show(), "n,Name\n7,\n");
    committer.rollback_to(Some(CheckpointId(4))).unwrap();
    assert_eq!(show(), "n,Name\n1,b\n14,\n2,\"x\ny\"\n");

    // Checkpoint 3 is kept, and shown again; checkpoint 1 is not, and the file stays with a warning.
    let restore = |checkpoint: usize| {
        let sink = open_sink(table.clone(), &environment(folder.path(), 2)).unwrap();
        let mut committer = sink.committer().unwrap();
        committer
            .commit(CheckpointId(checkpoint as u64), &prepared[checkpoint - 1])
            .unwrap();
        committer
            .rollback_to(Some(CheckpointId(checkpoint as u64)))
            .unwrap()
    };
    assert!(restore(3).is_empty());
    assert_eq!(show(), "n,Name\n1,b\n12,\n2,\"x\ny\"\n");
    let warnings = restore(1);
    assert!(
        warnings.len() == 1 && warnings[0].contains("still shows the result of checkpoint 3"),
        "{warnings:?}"
    );
    assert_eq!(show(), "n,Name\n1,b\n12,\n2,\"x\ny\"\n");
}
