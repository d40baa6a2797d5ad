//! What a sample of text gives: columns, options, refusals.

use super::*;

fn infer_one(text: &str) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
    infer_with(text, &Asked::default())
}

fn infer_with(
    text: &str,
    asked: &Asked,
) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
    let found = infer_text(&[text.as_bytes()], true, asked)?;
    let columns = found
        .columns
        .iter()
        .map(|column| format!("{} {}", column.name, column.data_type))
        .collect();
    Ok((columns, found.options))
}

#[test]
fn a_header_names_the_columns_and_values_their_types() {
    let (columns, options) = infer_one(
        "City,km,at,day,ok,price,code,none\nOslo,3,2013-01-31 23:59:00.25,2013-01-31,true,1.5,007,\nBern,40,2013-02-01 00:00:00,2013-02-01,false,2,12,\n",
    )
    .unwrap();
    assert_eq!(
        columns,
        [
            "City STRING",
            "km BIGINT",
            "at TIMESTAMP(3)",
            "day DATE",
            "ok BOOLEAN",
            "price DOUBLE",
            "code STRING",
            "none STRING"
        ]
    );
    assert_eq!(options.get("format").map(String::as_str), Some("csv"));
    assert_eq!(options.get("csv.header"), None);
}

#[test]
fn without_a_header_columns_are_numbered() {
    let (columns, options) = infer_one("1\n2\n3\n").unwrap();
    assert_eq!(columns, ["column1 BIGINT"]);
    assert_eq!(options["csv.header"], "false");
    let (columns, options) = infer_one("a\t1\nb\t2.5\n").unwrap();
    assert_eq!(columns, ["column1 STRING", "column2 DOUBLE"]);
    assert_eq!(options["csv.delimiter"], "\\t");
}

#[test]
fn quotes_may_hold_delimiters_and_newlines() {
    let (columns, _) = infer_one("name;n\n\"a;\nb\"\"c\";1\nd;2\n").unwrap();
    assert_eq!(columns, ["name STRING", "n BIGINT"]);
}

#[test]
fn objects_are_rows_and_what_is_absent_is_null() {
    let (columns, options) = infer_one(
        "{\"id\":1,\"who\":{\"name\":\"a\"},\"tags\":[\"x\"]}\n\n{\"id\":2.5,\"at\":\"2013-01-31T23:59:00Z\",\"who\":{\"age\":3},\"tags\":[]}\n",
    )
    .unwrap();
    assert_eq!(
        columns,
        [
            "id DOUBLE",
            "who ROW<name STRING, age BIGINT>",
            "tags ARRAY<STRING>",
            "at TIMESTAMP_LTZ(3)"
        ]
    );
    assert_eq!(options["format"], "json");
}

#[test]
fn what_cannot_be_one_type_is_refused_and_not_bent() {
    for (text, part) in [
        ("{\"a\":1}\n{\"a\":\"x\"}\n", "not the same kind"),
        ("{\"a\":1}\n{\"a\":{}}\n", "not the same kind"),
        ("[1,2]\n", "JSON array"),
        ("{\"a\":1\n", "no JSON object"),
        ("", "no record"),
    ] {
        let asked = Asked {
            kind: Some(FileKind::Json),
            ..Asked::default()
        };
        let said = infer_with(text, &asked).unwrap_err();
        assert!(said.contains(part), "{text}: {said}");
    }
    assert!(infer_one("a,a\n1,2\n").unwrap_err().contains("twice"));
}

#[test]
fn lines_are_one_column_or_the_groups_of_a_pattern() {
    let (columns, options) = infer_one("GET /a\nPOST /b and more\n").unwrap();
    assert_eq!(columns, ["line STRING"]);
    assert_eq!(options["format"], "text");
    let asked = Asked {
        kind: Some(FileKind::Lines),
        options: BTreeMap::from([("text.pattern".to_owned(), r"(?<verb>\w+) (\S+)".to_owned())]),
    };
    let (columns, _) = infer_with("GET /a\n", &asked).unwrap();
    assert_eq!(columns, ["verb STRING", "column2 STRING"]);
}

#[test]
fn a_record_that_the_sample_cuts_in_two_says_nothing() {
    let found = infer_text(&[b"a,b\n1,2\n3,4\n5"], false, &Asked::default()).unwrap();
    assert_eq!(found.columns[0].data_type, DataType::Int64);
    let found = infer_text(&[b"a,b\n1,2\n3,4.5"], false, &Asked::default()).unwrap();
    assert_eq!(found.columns[1].data_type, DataType::Int64);
}
