//! Sessions as a program uses them: channels, jobs, files, mistakes.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use weir_types::{ChangeBatch, Column, DataType};

use super::*;

fn numbers(values: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn one_column() -> TableSpec {
    TableSpec::new(vec![Column::new("n", DataType::Int64)])
}

/// The changes of a query until it ends.
fn read(mut rows: QueryStream) -> Vec<ChangeBatch> {
    let mut epochs = Vec::new();
    loop {
        match rows.next_within(Duration::from_secs(60)).unwrap() {
            Next::Epoch(epoch) => epochs.push(epoch),
            Next::Nothing => panic!("nothing within a minute"),
            Next::End(_) => return epochs,
        }
    }
}

/// The sum of a column of whole numbers with what was taken back.
fn folded(epochs: &[ChangeBatch]) -> i64 {
    epochs
        .iter()
        .flat_map(|epoch| {
            let values = epoch.rows.column(0).as_primitive::<Int64Type>();
            (0..epoch.num_rows())
                .map(|row| epoch.weight(row) * values.value(row))
                .collect::<Vec<_>>()
        })
        .sum()
}

fn failure<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it worked"),
        Err(error) => error,
    }
}

#[test]
fn rows_of_a_channel_go_through_a_query() {
    let mut session = Session::ephemeral();
    let sender = session.channel("t", one_column()).unwrap();
    let rows = session.query("SELECT sum(n) AS total FROM t").unwrap();
    assert!(rows.is_updating() && !rows.is_bounded());
    sender.send(numbers(&[1, 2])).unwrap();
    sender.send(numbers(&[3])).unwrap();
    drop(sender);
    assert_eq!(folded(&read(rows)), 6);
}

#[test]
fn two_channels_are_joined_and_read_through_a_third() {
    let mut session = Session::ephemeral();
    let left = session.channel("l", one_column()).unwrap();
    let right = session.channel("r", one_column()).unwrap();
    let out = session.channel_out("o", one_column()).unwrap();
    session.execute("SET 'state.ttl' = '1 h'").unwrap();
    session
        .execute("INSERT INTO o SELECT l.n FROM l JOIN r ON l.n = r.n")
        .unwrap();
    left.send(numbers(&[1, 2, 3])).unwrap();
    right.send(numbers(&[2, 3, 4])).unwrap();
    drop((left, right));
    let changes: Vec<ChangeBatch> = out.collect();
    assert_eq!(folded(&changes), 5);
    let status = session.wait("o").unwrap();
    assert_eq!(status.state, JobState::Finished);
}

#[test]
fn a_receiver_that_is_dropped_and_a_channel_that_is_read_twice_are_told() {
    let mut session = Session::ephemeral();
    let sender = session.channel("t", one_column()).unwrap();
    let first = session.query("SELECT n FROM t").unwrap();
    let second = failure(session.query("SELECT n FROM t"));
    assert!(second.to_string().contains("R0015"), "{second}");
    drop(first);
    let told = failure(sender.send(numbers(&[1])));
    assert!(told.to_string().contains("nobody reads"), "{told}");
}

#[test]
fn what_fails_leaves_the_session_as_it_was() {
    let mut session = Session::ephemeral();
    session
        .execute("CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows' = '3')")
        .unwrap();
    let twice = failure(session.execute("CREATE TABLE t (a INT) WITH ('connector' = 'datagen')"));
    assert!(matches!(twice, Error::Plan(_)));
    let Error::Plan(found) = failure(session.execute("SELECT 1;\n  SELECT b FROM t")) else {
        panic!("a diagnostic");
    };
    assert_eq!(found.0[0].labels[0].span.start.line, 2);
    assert_eq!(found.0[0].labels[0].span.start.column, 10);
    let rows = session.query("SELECT a FROM t").unwrap();
    assert!(rows.is_bounded());
    assert_eq!(
        read(rows).iter().map(ChangeBatch::num_rows).sum::<usize>(),
        3
    );
}

#[test]
fn a_job_is_started_saved_stopped_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = SessionOptions {
        views_root: None,
        base: folder.path().to_owned(),
        state_root: Some(folder.path().join(".weir")),
        settings: Vec::new(),
    };
    let declare = "CREATE TABLE s (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', 'fields.a.kind' = 'sequence');
        CREATE TABLE o (a BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
        SET 'checkpoint.interval' = '100ms';";
    let insert = "INSERT INTO o SELECT a FROM s";
    let mut session = Session::with_options(options.clone());
    session.execute(declare).unwrap();
    let started = session.execute(insert).unwrap();
    assert!(matches!(&started[0].answer, Answer::Started(name) if name == "o"));
    let again = failure(session.execute(insert));
    assert!(again.to_string().contains("running already"), "{again}");
    let saved = session.execute("SAVEPOINT JOB o").unwrap();
    assert!(matches!(saved[0].answer, Answer::Saved(_)));
    let stopped = session.execute("STOP JOB o").unwrap();
    assert!(matches!(stopped[0].answer, Answer::Done(_)));
    assert_eq!(session.jobs()[0].state, JobState::Stopped);
    drop(session);
    let mut session = Session::with_options(options);
    session.execute(declare).unwrap();
    session.execute(insert).unwrap();
    let stopped = session.stop("o", StopOrder::default()).unwrap();
    assert!(stopped.is_none());
    assert!(session.jobs()[0].progress.last_checkpoint.is_some());
}

#[test]
fn files_are_tables_without_a_declaration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("rides.csv"),
        "City,km\nOslo,3\nBern,4\nOslo,5\n",
    )
    .unwrap();
    let mut session = Session::with_options(SessionOptions {
        views_root: None,
        base: folder.path().to_owned(),
        state_root: None,
        settings: Vec::new(),
    });
    let rows = session
        .query("SELECT sum(km) AS km FROM 'rides.csv' WHERE rides.city = 'Oslo'")
        .unwrap();
    assert_eq!(folded(&read(rows)), 8);
    let made = session
        .execute("CREATE TABLE r FROM 'rides.csv'; SELECT km FROM r")
        .unwrap();
    let Answer::Text(ddl) = &made[0].answer else {
        panic!("the DDL")
    };
    assert!(
        ddl.contains("City STRING") && ddl.contains("km BIGINT"),
        "{ddl}"
    );
    session
        .execute("CREATE VIEW v AS SELECT km FROM 'rides.csv'")
        .unwrap();
    assert_eq!(
        folded(&read(session.query("SELECT sum(km) AS km FROM v").unwrap())),
        12
    );
}

#[test]
fn rows_can_be_taken_back_where_the_table_says_so() {
    let mut session = Session::ephemeral();
    let spec = TableSpec::new(vec![Column::new("k", DataType::String)]).with_retractions();
    let sender = session.channel("t", spec).unwrap();
    let rows = session.query("SELECT count(*) AS n FROM t").unwrap();
    let keys: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "a"]));
    let mut changes = ChangeBatch::append_only(RecordBatch::try_from_iter([("k", keys)]).unwrap());
    changes.retracted = Some(vec![false, false, true].into());
    sender.send_changes(changes).unwrap();
    drop(sender);
    assert_eq!(folded(&read(rows)), 1);
}
