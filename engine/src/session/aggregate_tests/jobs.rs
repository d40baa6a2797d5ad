//! Aggregate functions of a program in jobs: versions, savepoints, state of every type.

use super::*;

/// A job over those rows that never ends, and what it has written: the newest total of each key.
fn job(folder: &std::path::Path, settings: &[(&str, &str)]) -> Session {
    let settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut session = Session::with_options(SessionOptions {
        views_root: None,
        base: folder.to_owned(),
        state_root: Some(folder.join(".weir")),
        settings: settings.collect(),
    });
    session
        .register_aggregate(total("total").retracts(), Total)
        .unwrap();
    session.register_aggregate(total("once"), Total).unwrap();
    session
        .execute(
            "CREATE TABLE s (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'mode' = 'continuous', \
               'source.scan.interval' = '20ms');
             CREATE TABLE o (k BIGINT, t BIGINT, d BIGINT, p BIGINT, u BIGINT, PRIMARY KEY (k) NOT ENFORCED) \
               WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json', 'mode' = 'snapshot');",
        )
        .unwrap();
    session
}

/// Of updating input: what has its state in columns, in a side table, and in both.
const INSERT: &str = "INSERT INTO o SELECT k % 3, total(n), once(DISTINCT n), once(n), total(DISTINCT n) \
    FROM (SELECT n % 10 AS k, sum(n) AS n FROM s GROUP BY n % 10) AS sums GROUP BY k % 3";

fn feed(folder: &std::path::Path, name: &str, numbers: std::ops::Range<i64>) {
    let lines: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::create_dir_all(folder.join("in")).unwrap();
    std::fs::write(folder.join("in").join(name), lines).unwrap();
}

/// Waits until so many records were read, and stops with a savepoint.
#[expect(
    clippy::disallowed_methods,
    reason = "a test that watches a job of other threads"
)]
fn stopped(session: &mut Session, records: u64, savepoint: &std::path::Path) {
    for _ in 0..600 {
        if session.jobs()[0].progress.rows_in >= records {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let order = format!("STOP JOB o WITH SAVEPOINT '{}'", savepoint.display());
    session.execute(&order).unwrap();
}

fn written(folder: &std::path::Path) -> Vec<String> {
    let path = folder.join("out");
    let text: String = match path.is_file() {
        true => std::fs::read_to_string(&path).unwrap(),
        false => std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.is_file()
                    && !path
                        .file_name()
                        .unwrap()
                        .to_string_lossy()
                        .starts_with(['_', '.'])
            })
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect(),
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_version_is_part_of_the_plan_of_state_and_of_fingerprints() {
    let mut session = session();
    let sql = format!("SELECT k, total(n) AS s FROM {EVENTS} GROUP BY k");
    let first = session.plan(&sql).unwrap().plan;
    assert!(
        weir_planner::explain(&first).contains("total@1("),
        "{}",
        weir_planner::explain(&first)
    );
    let json = first.to_json().unwrap();
    assert_eq!(
        weir_planner::plan::StreamPlan::from_json(&json).unwrap(),
        first
    );
    let aggregate = |plan: &StreamPlan| {
        let found = plan
            .operators
            .iter()
            .find(|operator| operator.id.as_str() == "select/aggregate");
        found.cloned().unwrap()
    };
    let columns: Vec<String> = aggregate(&first).state[0]
        .value
        .iter()
        .map(|column| column.name.clone())
        .collect();
    assert_eq!(columns.len(), 2);
    assert!(
        columns[0].starts_with("total@1(")
            && columns[0].ends_with(") sum")
            && columns[1].ends_with(") count"),
        "{columns:?}"
    );
    session
        .register_aggregate(total("total").retracts().version("2"), Total)
        .unwrap();
    let second = session.plan(&sql).unwrap().plan;
    assert_ne!(
        aggregate(&first).fingerprint,
        aggregate(&second).fingerprint
    );
    // What another session has registered means nothing here.
    let told = Session::ephemeral().query(&sql).err().unwrap().to_string();
    assert!(told.contains("P1003"), "{told}");
}

#[test]
fn its_state_survives_savepoints_at_another_parallelism_and_backend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    feed(path, "1.json", 0..500);
    let mut session = job(path, &[("parallelism", "1"), ("state.backend", "memory")]);
    session.execute(INSERT).unwrap();
    stopped(&mut session, 500, &path.join("saved"));
    drop(session);
    // The savepoint names the columns, and the side tables.
    let names: Vec<String> = walk(&path.join("saved"));
    assert!(
        names.iter().any(|name| name.contains("values%28")),
        "{names:?}"
    );
    feed(path, "2.json", 500..1000);
    let mut session = job(
        path,
        &[
            ("parallelism", "3"),
            ("state.backend", "rocksdb"),
            ("state.memory", "1MiB"),
        ],
    );
    session.execute(INSERT).unwrap();
    stopped(&mut session, 1000, &path.join("again"));
    drop(session);
    let sums: Vec<i64> = (0..10)
        .map(|k| (0..1000).filter(|n| n % 10 == k).sum())
        .collect();
    let expected: Vec<String> = (0..3)
        .map(|key| {
            let sum: i64 = (0..10).filter(|k| k % 3 == key).map(|k| sums[k]).sum();
            format!("{{\"k\":{key},\"t\":{sum},\"d\":{sum},\"p\":{sum},\"u\":{sum}}}")
        })
        .collect();
    assert_eq!(written(path), expected);
    // Another version is another function: the job does not go on as if nothing had happened.
    let mut session = job(path, &[]);
    session
        .register_aggregate(total("total").retracts().version("2"), Total)
        .unwrap();
    let told = session.execute(INSERT).err().map(|error| error.to_string());
    let told = told.unwrap_or_else(|| match session.wait("o") {
        Err(error) => error.to_string(),
        Ok(status) => panic!("it went on: {:?}", status.state),
    });
    assert!(
        told.contains("total@2") || told.contains("aggregate"),
        "{told}"
    );
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(walk(&path));
        }
    }
    found
}

#[test]
fn values_of_every_type_come_and_go_unchanged() {
    /// Keeps the last value by a count of how many came: with one row the value itself.
    struct Keep;
    impl AggregateFunction for Keep {
        fn accumulate(
            &self,
            state: &mut GroupState<'_, '_>,
            row: Row<'_>,
        ) -> std::result::Result<(), String> {
            state.set_bool(0, row.bool(0)?.ok_or("bool")?)?;
            state.set_int(1, row.int(1)?.ok_or("int")?)?;
            state.set_float(2, row.float(2)?.ok_or("float")?)?;
            state.set_decimal(3, row.decimal(3)?.ok_or("decimal")?)?;
            state.set_text(4, row.text(4)?.ok_or("text")?)?;
            state.set_bytes(5, row.bytes(5)?.ok_or("bytes")?)?;
            state.set_int(6, row.int(6)?.ok_or("date")?)
        }
        fn merge(&self, _: &mut GroupState<'_, '_>, _: Row<'_>) -> std::result::Result<(), String> {
            Err("nothing is merged here".to_owned())
        }
        fn result(&self, state: Row<'_>) -> std::result::Result<Value, String> {
            let bytes = String::from_utf8_lossy(state.bytes(5)?.unwrap_or_default()).into_owned();
            Ok(Value::Text(format!(
                "{:?} {:?} {:?} {:?} {:?} {bytes} {:?}",
                state.bool(0)?,
                state.int(1)?,
                state.float(2)?,
                state.decimal(3)?,
                state.text(4)?,
                state.int(6)?
            )))
        }
    }
    let types = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Float32,
        DataType::Decimal(5, 2),
        DataType::String,
        DataType::Bytes,
        DataType::Date,
    ];
    let named =
        |(i, data_type): (usize, &DataType)| Column::new(format!("c{i}"), data_type.clone());
    let state: Vec<Column> = types.iter().enumerate().map(named).collect();
    let mut session = Session::ephemeral();
    let keep = AggregateSignature::new("keep_all", types.to_vec(), DataType::String, state);
    session.register_aggregate(keep, Keep).unwrap();
    let sql = "SELECT keep_all(true, CAST(-7 AS TINYINT), CAST(1.5 AS REAL), CAST(3.25 AS DECIMAL(5, 2)), 'text', CAST('raw' AS BYTES), \
        DATE '1970-01-03') AS r";
    assert_eq!(
        rows(&mut session, sql),
        ["Some(true) Some(-7) Some(1.5) Some(325) Some(\"text\") raw Some(2)"]
    );
    /// Gives what it is told to, fitting or not.
    struct Give(Value);
    impl AggregateFunction for Give {
        fn accumulate(
            &self,
            state: &mut GroupState<'_, '_>,
            _: Row<'_>,
        ) -> std::result::Result<(), String> {
            state.set_int(0, 300)
        }
        fn merge(&self, _: &mut GroupState<'_, '_>, _: Row<'_>) -> std::result::Result<(), String> {
            Ok(())
        }
        fn result(&self, _: Row<'_>) -> std::result::Result<Value, String> {
            Ok(self.0.clone())
        }
    }
    let wrong = [
        (
            "give_a",
            DataType::Int64,
            DataType::Int8,
            Value::Int(300),
            "outside of its range",
        ),
        (
            "give_b",
            DataType::Int8,
            DataType::Int64,
            Value::Int(1),
            "outside of its range",
        ),
        (
            "give_c",
            DataType::Int64,
            DataType::String,
            Value::Int(1),
            "is not a value of it",
        ),
        (
            "give_d",
            DataType::Int64,
            DataType::Decimal(3, 0),
            Value::Decimal(1000),
            "more digits",
        ),
        (
            "give_e",
            DataType::String,
            DataType::Int64,
            Value::Int(1),
            "is not a value of it",
        ),
    ];
    for (name, kept, returns, value, reason) in wrong {
        let state = vec![Column::new("s", kept)];
        let give = AggregateSignature::new(name, vec![DataType::Int64], returns, state);
        session.register_aggregate(give, Give(value)).unwrap();
        let query = session
            .query(&format!("SELECT {name}(n) AS r FROM (VALUES (1)) t(n)"))
            .unwrap();
        let told = futures::executor::block_on_stream(query)
            .find_map(Result::err)
            .unwrap()
            .to_string();
        assert!(told.contains(reason), "{name}: {told}");
    }
}
