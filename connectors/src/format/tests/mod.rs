//! Formats from end to end: text to rows, rows to text, and back.

mod reading_json;
mod round_trip;

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
