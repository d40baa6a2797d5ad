//! What is written is read back as it was, whatever the values.

use super::*;

/// Columns of every type that a format can hold, and a strategy for a batch of them.
fn scalar_columns() -> Vec<Column> {
    vec![
        column("b", DataType::Boolean),
        column("i8", DataType::Int8),
        column("i64", DataType::Int64),
        column("f32", DataType::Float32),
        column("f64", DataType::Float64),
        column("dec", DataType::Decimal(38, 5)),
        column("wide", DataType::Decimal(60, 3)),
        column("str", DataType::String),
        column("bytes", DataType::Bytes),
        column("date", DataType::Date),
        column("time", DataType::Time),
        column("ts", DataType::Timestamp(TimeUnit::Micro)),
        column("ltz", DataType::TimestampLtz(TimeUnit::Nano)),
    ]
}

fn nested_columns() -> Vec<Column> {
    let row = DataType::Row(vec![
        column("x", DataType::Int64),
        column("Y", DataType::String),
    ]);
    vec![
        column("l", DataType::Array(Box::new(row.clone()))),
        column("r", row),
        column(
            "m",
            DataType::Map(Box::new(DataType::Int64), Box::new(DataType::String)),
        ),
    ]
}

type Values = (
    Option<bool>,
    Option<i64>,
    Option<u64>,
    Option<i128>,
    Option<String>,
    Option<Vec<u8>>,
    u8,
);

fn values() -> impl Strategy<Value = Vec<Values>> {
    let decimal = -10_i128.pow(38) + 1..10_i128.pow(38);
    let text = prop_oneof![".{0,20}", "[\"\\\\,\\n\\r'NULLé ]{0,8}"];
    proptest::collection::vec(
        (
            any::<Option<bool>>(),
            any::<Option<i64>>(),
            any::<Option<u64>>(),
            proptest::option::of(decimal),
            proptest::option::of(text),
            any::<Option<Vec<u8>>>(),
            any::<u8>(),
        ),
        1..40,
    )
}

fn scalar_batch(values: &[Values]) -> RecordBatch {
    let ints = || values.iter().map(|value| value.1);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(values.iter().map(|value| value.0).collect::<BooleanArray>()),
        Arc::new(
            ints()
                .map(|int| int.map(|int| int as i8))
                .collect::<Int8Array>(),
        ),
        Arc::new(ints().collect::<Int64Array>()),
        Arc::new(
            values
                .iter()
                .map(|value| value.2.map(|bits| f32::from_bits(bits as u32)))
                .collect::<Float32Array>(),
        ),
        Arc::new(
            values
                .iter()
                .map(|value| value.2.map(f64::from_bits))
                .collect::<Float64Array>(),
        ),
        Arc::new(
            values
                .iter()
                .map(|value| value.3)
                .collect::<Decimal128Array>()
                .with_precision_and_scale(38, 5)
                .unwrap(),
        ),
        Arc::new(
            values
                .iter()
                .map(|value| value.3.map(arrow::datatypes::i256::from_i128))
                .collect::<Decimal256Array>()
                .with_precision_and_scale(60, 3)
                .unwrap(),
        ),
        Arc::new(
            values
                .iter()
                .map(|value| value.4.as_deref())
                .collect::<StringViewArray>(),
        ),
        Arc::new(
            values
                .iter()
                .map(|value| value.5.as_deref())
                .collect::<BinaryArray>(),
        ),
        Arc::new(
            ints()
                .map(|int| int.map(|int| int as i32))
                .collect::<Date32Array>(),
        ),
        Arc::new(
            ints()
                .map(|int| int.map(|int| int.rem_euclid(86_400_000_000_000)))
                .collect::<Time64NanosecondArray>(),
        ),
        Arc::new(ints().collect::<TimestampMicrosecondArray>()),
        Arc::new(
            ints()
                .collect::<TimestampNanosecondArray>()
                .with_timezone("+00:00"),
        ),
    ];
    RecordBatch::try_new(DataType::arrow_schema(&scalar_columns()), arrays).unwrap()
}

/// Nested values by way of their JSON: Arrow's builders would say the same in many more lines.
fn nested_json(values: &[Values]) -> String {
    let rows = values.iter().map(|value| {
        let row = serde_json::json!({ "x": value.1, "Y": value.4 });
        let (list, map) = (
            vec![row.clone(); usize::from(value.6 % 4)],
            (0..value.6 % 3).map(|key| (key.to_string(), value.4.clone())),
        );
        let map: std::collections::BTreeMap<_, _> = map.collect();
        let row = if value.6 % 5 == 0 {
            serde_json::Value::Null
        } else {
            row
        };
        format!("{}\n", serde_json::json!({ "l": list, "r": row, "m": map }))
    });
    rows.collect()
}

fn decode_text(request: &TableRequest, text: &str) -> Vec<RecordBatch> {
    let (header, body) = match Settings::of(request).has_header() {
        true => text
            .split_once('\n')
            .map(|(header, body)| (Some(header), body))
            .unwrap(),
        false => (None, text),
    };
    let mut chunk = chunk(body.as_bytes(), header);
    chunk.records = body.lines().count() as u64;
    let decoded = TextDecoder::new(request).decode(&chunk).unwrap();
    decoded
        .batches
        .into_iter()
        .map(|batch| batch.rows)
        .collect()
}

/// NaN is not itself; by their bits all are the same one.
fn normalized(batch: &RecordBatch) -> Vec<String> {
    texts(&[crate::DecodedBatch {
        rows: batch.clone(),
        retracted: None,
        offsets: vec![0; batch.num_rows()],
    }])
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_itself(values in values(), csv: bool, iso: bool) {
        let batch = scalar_batch(&values);
        let options = [("format", if csv { "csv" } else { "json" }), ("timestamp.format", if iso { "iso-8601" } else { "sql" })];
        let request = request(Path::new("."), &options, &scalar_columns());
        let text = encode(&request, &ChangeBatch::append_only(batch.clone()));
        let read = decode_text(&request, &text);
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(normalized(&read[0]), normalized(&batch), "{}", text);
        prop_assert_eq!(encode(&request, &ChangeBatch::append_only(read[0].clone())), text);
    }

    #[test]
    fn nested_values_are_read_as_they_were_written(values in values()) {
        let request = request(Path::new("."), &[("format", "json")], &nested_columns());
        let text = nested_json(&values);
        let read = decode_text(&request, &text);
        let written = encode(&request, &ChangeBatch::append_only(read[0].clone()));
        let theirs: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ours: Vec<serde_json::Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn no_text_is_a_panic(text in "[\\[\\]{}:,\"\\\\a0-9eE.+\\-tfnul\\n ]{0,60}", csv: bool, skip: bool) {
        let on_error = if skip { "skip" } else { "fail" };
        let options = [("format", if csv { "csv" } else { "json" }), ("on.error", on_error), ("csv.header", "false")];
        let columns = [column("a", DataType::Int64), column("n", DataType::Array(Box::new(DataType::Map(Box::new(DataType::String), Box::new(DataType::Int64)))))];
        let columns = if csv { &columns[..1] } else { &columns[..] };
        let request = request(Path::new("."), &options, columns);
        match decode_with(&request, text.as_bytes(), None) {
            Ok(decoded) => prop_assert!(skip || decoded.rejected.is_empty()),
            Err(Error::Record(_)) => prop_assert!(!skip),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
