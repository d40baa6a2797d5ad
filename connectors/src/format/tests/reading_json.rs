//! JSON: what is read of a record, and what is said of one that cannot be.

use super::*;

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
fn a_field_that_nobody_reads_is_null_and_its_record_must_still_be_json() {
    let row = DataType::Row(vec![
        column("x", DataType::Int64),
        column("text", DataType::String),
        not_null("y", DataType::Int64),
    ]);
    let request = TableRequest {
        unread_fields: vec![(0, 1), (0, 2)],
        ..request(Path::new("."), &[("format", "json")], &[column("r", row)])
    };
    let read = |text: &str| {
        let decoded = decode_with(&request, text.as_bytes(), None);
        decoded.map(|decoded| texts(&decoded.batches))
    };
    // A wrong type in it does not matter; a field that is NOT NULL is read whoever asks for it.
    let text = "{\"r\":{\"x\":1,\"text\":[1,{}],\"y\":3}}\n{\"r\":null}\n{\"r\":{\"y\":4}}";
    assert_eq!(
        read(text).unwrap(),
        [
            "+{x: 1, text: NULL, y: 3}",
            "+NULL",
            "+{x: NULL, text: NULL, y: 4}"
        ]
    );
    assert!(read("{\"r\":{\"x\":1,\"text\":\"open,\"y\":3}}").is_err());
}
