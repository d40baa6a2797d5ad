//! Formats from end to end: text to rows, rows to text, and back.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use proptest::prelude::*;
use weir_types::{ChangeBatch, Column, DataType, TimeUnit};

use super::*;
use crate::source::{Chunk, Decoded, Decoder, Payload};
use crate::testing::{request, texts};
use crate::{Error, RecordError, Result};

fn column(name: &str, data_type: DataType) -> Column {
    Column::new(name, data_type)
}

fn not_null(name: &str, data_type: DataType) -> Column {
    Column {
        nullable: false,
        ..Column::new(name, data_type)
    }
}

fn chunk(text: &[u8], header: Option<&str>) -> Chunk {
    Chunk {
        payload: Payload::Text(bytes::Bytes::copy_from_slice(text)),
        records: text.iter().filter(|byte| **byte == b'\n').count() as u64 + 1,
        origin: "in/a.txt".into(),
        offset: 100,
        line: 7,
        header: header.map(|header| bytes::Bytes::copy_from_slice(header.as_bytes())),
    }
}

fn decode_with(request: &TableRequest, text: &[u8], header: Option<&str>) -> Result<Decoded> {
    TextDecoder::new(request).decode(&chunk(text, header))
}

fn json(columns: &[Column], text: &str) -> std::result::Result<Vec<String>, String> {
    let request = request(Path::new("."), &[("format", "json")], columns);
    decode_with(&request, text.as_bytes(), None)
        .map(|decoded| texts(&decoded.batches))
        .map_err(|error| error.to_string())
}

fn json_error(columns: &[Column], text: &str) -> String {
    let error = json(columns, text).unwrap_err();
    error
        .strip_prefix("malformed record of table t at in/a.txt:")
        .unwrap_or(&error)
        .to_owned()
}

fn csv(
    options: &[(&str, &str)],
    columns: &[Column],
    header: Option<&str>,
    text: &str,
) -> std::result::Result<Vec<String>, String> {
    let mut all = vec![("format", "csv")];
    all.extend_from_slice(options);
    let request = request(Path::new("."), &all, columns);
    let decoded = decode_with(&request, text.as_bytes(), header);
    decoded
        .map(|decoded| texts(&decoded.batches))
        .map_err(|error| {
            let error = error.to_string();
            error
                .strip_prefix("malformed record of table t at in/a.txt:")
                .unwrap_or(&error)
                .to_owned()
        })
}

#[test]
fn json_reads_the_requested_columns_and_skips_the_rest() {
    let columns = [column("b", DataType::String), column("a", DataType::Int32)];
    let text = "{\"a\":1,\"x\":{\"deep\":[1,{}]},\"b\":\"one\"}\r\n\n{\"b\":\"two\"}\n{\"a\":null,\"b\":\"t\\u00e9\"}\n{}";
    assert_eq!(
        json(&columns, text).unwrap(),
        ["+one|1", "+two|NULL", "+té|NULL", "+NULL|NULL"]
    );
}

#[test]
fn the_last_of_a_repeated_key_counts_at_every_level() {
    let row = DataType::Row(vec![
        column("x", DataType::Int64),
        column("y", DataType::String),
    ]);
    let columns = [
        column("a", DataType::Int64),
        column("r", row),
        column(
            "m",
            DataType::Map(Box::new(DataType::String), Box::new(DataType::Int64)),
        ),
    ];
    let text = "{\"a\":1,\"a\":2,\"r\":{\"x\":1,\"y\":\"p\",\"x\":7},\"m\":{\"k\":1,\"l\":2,\"k\":3}}\n{\"a\":5}\n";
    assert_eq!(
        json(&columns, text).unwrap(),
        ["+2|{x: 7, y: p}|{k: 3, l: 2}", "+5|NULL|NULL"]
    );
    // An earlier value of the wrong type does not matter; a last one does.
    assert_eq!(
        json(&columns[..1], "{\"a\":\"x\",\"a\":2}")
            .unwrap_err()
            .matches("`a`")
            .count(),
        1
    );
    assert_eq!(
        json_error(&columns[..1], "{\"a\":2,\"a\":\"x\"}"),
        "7:12: `a`: expected a whole number, found the string \"x\""
    );
}

#[test]
fn nested_values_are_read_and_named_in_errors() {
    let row = DataType::Row(vec![
        not_null("x", DataType::Int64),
        column("tags", DataType::Array(Box::new(DataType::String))),
    ]);
    let columns = [
        column("r", row.clone()),
        column("rs", DataType::Array(Box::new(row))),
    ];
    let text =
        "{\"r\":{\"x\":1,\"tags\":[\"a\",null]},\"rs\":[{\"x\":2},null,{\"x\":3,\"tags\":[]}]}";
    assert_eq!(
        json(&columns, text).unwrap(),
        ["+{x: 1, tags: [a, NULL]}|[{x: 2, tags: NULL}, NULL, {x: 3, tags: []}]"]
    );
    assert_eq!(
        json_error(&columns, "{\"r\":{\"x\":\"no\"}}"),
        "7:11: `r`: `x`: expected a whole number, found the string \"no\""
    );
    assert_eq!(
        json_error(&columns, "{\"rs\":[{}]}"),
        "7:8: `rs`: `x` is missing, and its column is NOT NULL"
    );
}

#[test]
fn json_errors_name_line_column_and_what_was_expected() {
    let columns = [
        column("a", DataType::Int8),
        column("s", DataType::String),
        column("f", DataType::Float64),
        column("t", DataType::Timestamp(TimeUnit::Milli)),
        column("d", DataType::Decimal(4, 1)),
    ];
    for (text, expected) in [
        ("{\"a\":1}\n{\"a\":300}", "8:6: `a`: 300 is out of range"),
        (
            "{\"a\":1.5}",
            "7:6: `a`: expected a whole number, found `1.5`",
        ),
        (
            "{\"a\":{}}",
            "7:6: `a`: expected a whole number, found an object",
        ),
        (
            "{\"s\":17}",
            "7:6: `s`: expected a string, found the number 17",
        ),
        ("{\"f\":1e999}", "7:6: `f`: 1e999 is out of range"),
        (
            "{\"f\":true}",
            "7:6: `f`: expected a number, found a boolean",
        ),
        (
            "{\"t\":\"soon\"}",
            "7:6: `t`: expected a timestamp such as 2013-01-31 23:59:00, found `soon`",
        ),
        (
            "{\"t\":5}",
            "7:6: `t`: expected a timestamp such as \"2013-01-31 23:59:00\", found the number 5",
        ),
        (
            "{\"t\":\"2013-01-01T10:00:00+01:00\"}",
            "7:6: `t`: `2013-01-01T10:00:00+01:00` has a zone: declare the column TIMESTAMP_LTZ",
        ),
        (
            "{\"d\":12345}",
            "7:6: `d`: 12345 does not fit DECIMAL(4, 1)",
        ),
        ("{\"a\":1", "7:7: the record ends in the middle of a value"),
        (
            "{\"a\":1,}",
            "7:8: expected a key in double quotes, found `}`",
        ),
        ("{\"a\" 1}", "7:6: expected `:`, found `1`"),
        ("{\"x\":nul}", "7:6: expected a value, found `n`"),
        (
            "{\"a\":1} {",
            "7:9: expected the end of the record, found `{`",
        ),
        ("[1]", "7:1: expected an object in braces, found an array"),
        (
            "{\"s\":\"a",
            "7:8: `s`: the record ends in the middle of a string",
        ),
        ("{\"a\":01}", "7:7: `a`: a number does not begin with 0"),
    ] {
        assert_eq!(json_error(&columns, text), expected, "{text}");
    }
    assert_eq!(
        json_error(&[not_null("a", DataType::Int8)], "{\"a\":null}"),
        "7:6: `a`: NULL in a NOT NULL column"
    );
    assert_eq!(
        json_error(&[not_null("a", DataType::Int8)], "{}"),
        "7:1: `a` is missing, and its column is NOT NULL"
    );
}

#[test]
fn bytes_that_are_no_text_are_an_error_of_their_record_alone() {
    let columns = [column("s", DataType::String)];
    let request = request(
        Path::new("."),
        &[("format", "json"), ("on.error", "skip")],
        &columns,
    );
    let decoded = decode_with(
        &request,
        b"{\"s\":\"a\"}\n{\"s\":\"\xFF\"}\n{\"s\":\"\xC3\xA9\"}\n",
        None,
    )
    .unwrap();
    assert_eq!(texts(&decoded.batches), ["+a", "+é"]);
    let RecordError {
        line,
        column,
        offset,
        reason,
        record,
        ..
    } = &decoded.rejected[0];
    assert_eq!(
        (*line, *column, *offset, reason.as_str()),
        (8, Some(7), 110, "not UTF-8")
    );
    assert_eq!(record, b"{\"s\":\"\xFF\"}");
    assert_eq!(decoded.batches[0].offsets, [100, 120]);
}

#[test]
fn a_rejected_record_leaves_nothing_behind() {
    let list = DataType::Array(Box::new(DataType::Row(vec![
        column("x", DataType::Int64),
        column("y", DataType::Int64),
    ])));
    let map = DataType::Map(Box::new(DataType::Int64), Box::new(list.clone()));
    let columns = [
        column("l", list),
        column("m", map),
        column("n", DataType::Int64),
    ];
    let request = request(
        Path::new("."),
        &[("format", "json"), ("on.error", "skip")],
        &columns,
    );
    let good = "{\"l\":[{\"x\":1,\"y\":2}],\"m\":{\"5\":[{\"x\":3}]},\"n\":1}\n";
    let mut expected = None;
    for bad in [
        "{\"l\":[{\"x\":1,\"y\":2},{\"x\":7,\"y\":\"no\"}]}",
        "{\"m\":{\"5\":[{\"x\":3}],\"6\":[{\"y\":1},5]}}",
        "{\"m\":{\"five\":null}}",
        "{\"n\":1,\"l\":[{\"y\":2}],\"m\":{\"5\":[]}",
        "{\"l\":[[]]}",
    ] {
        let text = format!("{good}{bad}\n{good}{bad}\n{good}");
        let decoded = decode_with(&request, text.as_bytes(), None).unwrap();
        let rows = texts(&decoded.batches);
        assert_eq!((rows.len(), decoded.rejected.len()), (3, 2), "{bad}");
        assert!(rows.iter().all(|row| row == &rows[0]), "{bad}: {rows:?}");
        assert_eq!(*expected.get_or_insert_with(|| rows.clone()), rows, "{bad}");
    }
}

#[test]
fn csv_finds_columns_by_header_or_position() {
    let columns = [column("b", DataType::String), column("a", DataType::Int64)];
    assert_eq!(
        csv(&[], &columns, Some("x,a,b"), ",1,one\n2,,\"\"\n").unwrap(),
        ["+one|1", "+|NULL"]
    );
    let mut request = request(
        Path::new("."),
        &[("format", "csv"), ("csv.header", "false")],
        &columns,
    );
    request.declared = vec![
        column("a", DataType::Int64),
        column("x", DataType::Int64),
        column("b", DataType::String),
    ];
    let decoded = decode_with(&request, b"1,,one\n2,9,two", None).unwrap();
    assert_eq!(texts(&decoded.batches), ["+one|1", "+two|2"]);
}

#[test]
fn csv_unquotes_and_tells_null_from_text() {
    let columns = [column("a", DataType::String), column("b", DataType::String)];
    let text = "\"x, \"\"y\"\"\nz\",NULL\n\"NULL\",\nq\"r,s\n";
    let rows = csv(&[("csv.null", "NULL")], &columns, Some("a,b"), text).unwrap();
    assert_eq!(rows, ["+x, \"y\"\nz|NULL", "+NULL|", "+q\"r|s"]);
    let rows = csv(
        &[("csv.delimiter", "\\t"), ("csv.quote", "'")],
        &columns,
        Some("a\tb"),
        "'a\tb'\t\"c\n",
    )
    .unwrap();
    assert_eq!(rows, ["+a\tb|\"c"]);
}

#[test]
fn csv_errors_name_line_and_column() {
    let columns = [column("a", DataType::Int64), column("b", DataType::Date)];
    let header = Some("a,b");
    for (text, expected) in [
        ("1,2013-01-01\n2", "8:1: too few fields: 1 instead of 2"),
        ("1,2013-01-01,3", "7:1: too many fields: 3 instead of 2"),
        (
            "x,2013-01-01",
            "7:1: `a`: expected a whole number, found `x`",
        ),
        (
            "12,2013-02-30",
            "7:4: `b`: expected a date such as 2013-01-31, found `2013-02-30`",
        ),
        (
            "12,\"2013-01-01\"x",
            "7:16: a closing quote is followed by more text",
        ),
        ("12,\"2013", "7:4: a quote is opened here and never closed"),
        (
            "\"1\n\",x",
            "7:1: `a`: expected a whole number, found `1\n`",
        ),
    ] {
        assert_eq!(
            csv(&[], &columns, header, text).unwrap_err(),
            expected,
            "{text}"
        );
    }
    let error = csv(&[], &columns, Some("A,b"), "1,2013-01-01").unwrap_err();
    assert_eq!(
        error,
        "1:1: the header has no `a` (column 1 of 2); did you mean `A`?"
    );
    let error = csv(&[], &columns, Some("a,b,a"), "1,2013-01-01,1").unwrap_err();
    assert_eq!(error, "1:1: the header has `a` twice");
}

#[test]
fn timestamps_follow_the_option() {
    let columns = [
        column("t", DataType::Timestamp(TimeUnit::Milli)),
        column("z", DataType::TimestampLtz(TimeUnit::Second)),
    ];
    for (format, t, z) in [
        (
            "sql",
            "\"2013-01-01 10:00:00.5\"",
            "\"2013-01-01 12:00:00+02:00\"",
        ),
        (
            "iso-8601",
            "\"2013-01-01T10:00:00.5Z\"",
            "\"2013-01-01T10:00:00Z\"",
        ),
        ("epoch-millis", "1357034400500", "\"1357034400999\""),
        ("epoch-micros", "1357034400500000", "1357034400000000"),
    ] {
        let request = request(
            Path::new("."),
            &[("format", "json"), ("timestamp.format", format)],
            &columns,
        );
        let decoded = decode_with(
            &request,
            format!("{{\"t\":{t},\"z\":{z}}}").as_bytes(),
            None,
        )
        .unwrap();
        assert_eq!(
            texts(&decoded.batches),
            ["+2013-01-01T10:00:00.500|2013-01-01T10:00:00Z"],
            "{format}"
        );
    }
}

#[test]
fn a_changelog_tells_insertions_from_retractions() {
    let columns = [column("n", DataType::Int64)];
    let request = request(Path::new("."), &[("format", "changelog-json")], &columns);
    let text = "{\"op\":\"+I\",\"n\":1}\n{\"n\":1,\"op\":\"-U\"}\n{\"op\":\"+U\",\"n\":2}\n{\"op\":\"-D\",\"n\":2}\n";
    let decoded = decode_with(&request, text.as_bytes(), None).unwrap();
    assert_eq!(texts(&decoded.batches), ["+1", "-1", "+2", "-2"]);
    let error = decode_with(&request, b"{\"op\":\"*\",\"n\":2}", None)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("7:7: `op`: expected +I, -U, +U or -D, found `*`"),
        "{error}"
    );
    let error = decode_with(&request, b"{\"n\":2}", None)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("7:1: `op` is missing, and its column is NOT NULL"),
        "{error}"
    );
}

#[test]
fn metadata_columns_say_where_a_record_stood() {
    let mut request = request(
        Path::new("."),
        &[("format", "csv"), ("on.error", "skip")],
        &[column("a", DataType::Int64)],
    );
    for key in ["line", "file", "offset"] {
        let data_type = crate::metadata_type(
            &[("connector".to_owned(), "filesystem".to_owned())].into(),
            key,
        )
        .unwrap();
        request
            .metadata
            .push((key.to_owned(), column(key, data_type)));
    }
    let decoded = decode_with(&request, b"1\n\nx\n\"2\"\n\"\n\"\n4", Some("a")).unwrap();
    assert_eq!(
        texts(&decoded.batches),
        [
            "+1|7|in/a.txt|100",
            "+2|10|in/a.txt|105",
            "+4|13|in/a.txt|113"
        ]
    );
    assert_eq!(
        decoded
            .rejected
            .iter()
            .map(|error| error.line)
            .collect::<Vec<_>>(),
        [9, 11]
    );
}

#[test]
fn a_large_chunk_is_cut_into_batches_and_no_column_is_needed() {
    let text = "{\"a\":1}\n{\"a\":1,\"a\":2}\nnope\n".repeat(10_000);
    let request = request(
        Path::new("."),
        &[("format", "json"), ("on.error", "skip")],
        &[],
    );
    let decoded = decode_with(&request, text.as_bytes(), None).unwrap();
    let rows: Vec<_> = decoded
        .batches
        .iter()
        .map(|batch| batch.rows.num_rows())
        .collect();
    assert_eq!(
        (rows.as_slice(), decoded.rejected.len()),
        (&[8192, 8192, 3616][..], 10_000)
    );
    let text = "just a line\n";
    let request = crate::testing::request(
        Path::new("."),
        &[("format", "text")],
        &[column("line", DataType::String)],
    );
    assert_eq!(
        texts(
            &decode_with(&request, text.as_bytes(), None)
                .unwrap()
                .batches
        ),
        ["+just a line"]
    );
}

fn encode(request: &TableRequest, changes: &ChangeBatch) -> String {
    let settings = Settings::of(request);
    let mut encoder = settings.encoder(&request.columns);
    let mut out = encoder.header().map(<[u8]>::to_vec).unwrap_or_default();
    let ops = if settings.shows_ops() {
        ops_of(changes, None)
    } else {
        Vec::new()
    };
    encoder.encode(changes, &ops, &mut |_, line| out.extend_from_slice(line));
    String::from_utf8(out).unwrap()
}

#[test]
fn json_and_csv_are_written_in_one_canonical_way() {
    let columns = [
        column("i", DataType::Int64),
        column("f", DataType::Float64),
        Column {
            external_name: Some("S".to_owned()),
            ..column("s", DataType::String)
        },
        column("t", DataType::TimestampLtz(TimeUnit::Milli)),
        column("d", DataType::Decimal(6, 2)),
        column("l", DataType::Array(Box::new(DataType::Int32))),
    ];
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(-1), None])),
        Arc::new(Float64Array::from(vec![
            Some(1e21),
            Some(f64::NEG_INFINITY),
        ])),
        Arc::new(StringViewArray::from(vec![Some("a,\"b\"\n"), Some("")])),
        Arc::new(
            TimestampMillisecondArray::from(vec![Some(1_357_034_400_500), None])
                .with_timezone("+00:00"),
        ),
        Arc::new(
            Decimal128Array::from(vec![Some(-5), Some(12345)])
                .with_precision_and_scale(6, 2)
                .unwrap(),
        ),
        Arc::new(ListArray::from_iter_primitive::<
            arrow::datatypes::Int32Type,
            _,
            _,
        >(vec![Some(vec![Some(1), None]), None])),
    ];
    let rows = RecordBatch::try_new(DataType::arrow_schema(&columns), arrays).unwrap();
    let changes = ChangeBatch::append_only(rows);
    let json = request(
        Path::new("."),
        &[("format", "json"), ("timestamp.format", "iso-8601")],
        &columns,
    );
    assert_eq!(
        encode(&json, &changes),
        "{\"i\":-1,\"f\":1e21,\"S\":\"a,\\\"b\\\"\\n\",\"t\":\"2013-01-01T10:00:00.500Z\",\"d\":-0.05,\"l\":[1,null]}\n\
         {\"i\":null,\"f\":\"-Infinity\",\"S\":\"\",\"t\":null,\"d\":123.45,\"l\":null}\n"
    );
    let csv = request(Path::new("."), &[("format", "csv")], &columns);
    assert_eq!(
        encode(&csv, &changes),
        "i,f,S,t,d,l\n-1,1e21,\"a,\"\"b\"\"\n\",2013-01-01 10:00:00.500Z,-0.05,\"[1,null]\"\n,-Infinity,\"\",,123.45,\n"
    );
}

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
