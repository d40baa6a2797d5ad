//! What the functions give, row by row.

use arrow::array::{Int64Array, TimestampMillisecondArray};

use super::*;

fn run(name: &str, arguments: Vec<ArrayRef>) -> Result<Vec<Option<String>>, String> {
    let groups = [
        text::functions(),
        time::functions(),
        json::functions(),
        zone::functions(),
    ];
    let function = groups
        .into_iter()
        .flatten()
        .find(|f| f.name == name)
        .unwrap();
    let types: Vec<ArrowType> = arguments.iter().map(|a| a.data_type().clone()).collect();
    let wanted = function.coerce_types(&types).map_err(|e| e.to_string())?;
    let arguments: Vec<ArrayRef> = arguments
        .iter()
        .zip(&wanted)
        .map(|(argument, to)| arrow::compute::cast(argument, to).unwrap())
        .collect();
    let result = (function.kernel)(&arguments)?;
    assert_eq!(
        *result.data_type(),
        function.return_type(&wanted).unwrap(),
        "{name}"
    );
    let text = arrow::compute::cast(&result, &ArrowType::Utf8).unwrap();
    let text = arrow::array::AsArray::as_string::<i32>(&text);
    Ok(text.iter().map(|t| t.map(str::to_owned)).collect())
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(
        values
            .iter()
            .copied()
            .collect::<arrow::array::StringViewArray>(),
    )
}

fn one(name: &str, arguments: &[&str]) -> Option<String> {
    let arguments = arguments.iter().map(|a| texts(&[Some(a)])).collect();
    run(name, arguments).unwrap().remove(0)
}

fn at(text: &str) -> ArrayRef {
    let at = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap();
    Arc::new(TimestampMillisecondArray::from(vec![
        at.and_utc().timestamp_millis(),
    ]))
}

fn formatted(time: &str, pattern: &str) -> String {
    let result = run("date_format", vec![at(time), texts(&[Some(pattern)])]);
    result.unwrap().remove(0).unwrap()
}

#[test]
fn three_spellings_of_a_pattern_give_the_same() {
    let time = "2024-02-09 03:04:05.678";
    for pattern in [
        "yyyy-MM-dd HH:mm:ss",
        "YYYY-MM-DD HH24:MI:SS",
        "%Y-%m-%d %H:%M:%S",
        "%F %T",
    ] {
        assert_eq!(formatted(time, pattern), "2024-02-09 03:04:05", "{pattern}");
    }
    assert_eq!(
        formatted(time, "dd.MM.yy 'at' h:mm a, SSS"),
        "09.02.24 at 3:04 AM, 678"
    );
    assert_eq!(
        formatted(time, "FMDay, DD Mon YYYY, \"week\" IW, HH12:MI pm"),
        "Friday, 09 Feb 2024, week 06, 03:04 am"
    );
    assert_eq!(
        formatted(time, "DAY|Day|day"),
        "FRIDAY   |Friday   |friday   "
    );
    assert_eq!(
        formatted(time, "yyyy-mm-dd"),
        "2024-02-09",
        "all small letters are PostgreSQL's"
    );
}

#[test]
fn a_letter_that_means_nothing_is_an_error() {
    let result = run(
        "date_format",
        vec![at("2024-01-01 00:00:00"), texts(&[Some("yyyy-bb")])],
    );
    assert!(result.unwrap_err().contains("`b` means nothing"));
}

#[test]
fn what_a_pattern_writes_it_reads() {
    for (text, pattern) in [
        ("2024-02-09 13:04:05", "yyyy-MM-dd HH:mm:ss"),
        ("09/Feb/2024 01:04:05 PM", "dd/MMM/yyyy hh:mm:ss a"),
        ("20240209130405", "yyyyMMddHHmmss"),
        ("2024-040 13.04.05", "YYYY-DDD HH24.MI.SS"),
    ] {
        assert_eq!(
            one("parse_timestamp", &[text, pattern]).unwrap(),
            "2024-02-09T13:04:05",
            "{pattern}"
        );
    }
    assert_eq!(
        one("parse_date", &["29.02.2024", "DD.MM.YYYY"]).unwrap(),
        "2024-02-29"
    );
    let wrong = vec![texts(&[Some("30.02.2024")]), texts(&[Some("DD.MM.YYYY")])];
    assert!(
        run("parse_date", wrong.clone())
            .unwrap_err()
            .contains("does not fit")
    );
    assert_eq!(run("try_parse_timestamp", wrong).unwrap(), [None]);
}

#[test]
fn whole_units_are_counted_between_two_times() {
    let between = |unit: &str, from: &str, to: &str| {
        let result = run(
            "timestamp_diff",
            vec![texts(&[Some(unit)]), at(from), at(to)],
        );
        result.unwrap().remove(0).unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(
        between("month", "2024-01-31 00:00:00", "2024-02-29 00:00:00"),
        0
    );
    assert_eq!(
        between("month", "2024-01-31 00:00:00", "2024-03-31 00:00:00"),
        2
    );
    assert_eq!(
        between("year", "2024-02-29 12:00:00", "2025-02-28 12:00:00"),
        0
    );
    assert_eq!(
        between("DAY", "2024-01-02 00:00:00", "2024-01-01 12:00:00"),
        0
    );
    assert_eq!(
        between("sql_tsi_hour", "2024-01-02 00:00:00", "2024-01-01 12:00:00"),
        -12
    );
    assert_eq!(
        between(
            "millisecond",
            "1969-12-31 23:59:59.5",
            "1970-01-01 00:00:00"
        ),
        500
    );
}

#[test]
fn times_are_cut_and_moved_by_units() {
    let cut = |name: &str, unit: &str, time: &str| {
        run(name, vec![texts(&[Some(unit)]), at(time)])
            .unwrap()
            .remove(0)
            .unwrap()
    };
    assert_eq!(
        cut("timestamp_floor", "week", "2024-02-11 10:00:00"),
        "2024-02-05T00:00:00"
    );
    assert_eq!(
        cut("timestamp_ceil", "month", "2024-01-31 10:00:00"),
        "2024-02-01T00:00:00"
    );
    assert_eq!(
        cut("timestamp_ceil", "hour", "2024-01-31 10:00:00"),
        "2024-01-31T10:00:00"
    );
    assert_eq!(
        cut("timestamp_floor", "decade", "2019-05-06 10:00:00"),
        "2010-01-01T00:00:00"
    );
    assert_eq!(
        cut("timestamp_floor", "century", "2019-05-06 10:00:00"),
        "2000-01-01T00:00:00"
    );
    assert_eq!(
        cut("timestamp_floor", "quarter", "2019-05-06 10:00:00"),
        "2019-04-01T00:00:00"
    );
    assert_eq!(
        cut("timestamp_floor", "second", "1969-12-31 23:59:59.5"),
        "1969-12-31T23:59:59"
    );
    let count: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let sum = run(
        "timestamp_add",
        vec![texts(&[Some("month")]), count, at("2024-01-31 00:00:00")],
    );
    assert_eq!(sum.unwrap().remove(0).unwrap(), "2024-02-29T00:00:00");
}

#[test]
fn a_zone_knows_when_its_clocks_change() {
    let zone = parse_zone("Europe/Berlin").unwrap();
    let time =
        |text: &str| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
    assert_eq!(
        zone.local(time("2024-07-01 12:00:00")),
        time("2024-07-01 14:00:00")
    );
    assert_eq!(
        zone.instant(time("2024-01-01 12:00:00")),
        time("2024-01-01 11:00:00")
    );
    // Twice: the first. Never: as much later as the clock was put forward.
    assert_eq!(
        zone.instant(time("2024-10-27 02:30:00")),
        time("2024-10-27 00:30:00")
    );
    assert_eq!(
        zone.instant(time("2024-03-31 02:30:00")),
        time("2024-03-31 01:30:00")
    );
    assert_eq!(
        parse_zone("+02:00")
            .unwrap()
            .local(time("2024-01-01 00:00:00")),
        time("2024-01-01 02:00:00")
    );
    assert!(parse_zone("Mars/Olympus").is_err());
}

#[test]
fn texts_are_cut_and_searched() {
    let number = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n])) };
    let split = |index: i64| {
        run(
            "split_index",
            vec![texts(&[Some("a,b,,c")]), texts(&[Some(",")]), number(index)],
        )
        .unwrap()
        .remove(0)
    };
    assert_eq!(
        (split(1), split(2), split(4), split(-1)),
        (Some("b".into()), Some(String::new()), None, None)
    );
    let extract = |group: i64| {
        run(
            "regexp_extract",
            vec![
                texts(&[Some("channel_id=12&x")]),
                texts(&[Some("channel_id=([^&]*)")]),
                number(group),
            ],
        )
        .unwrap()
        .remove(0)
    };
    assert_eq!((extract(1), extract(2)), (Some("12".into()), None));
    let locate = |start: i64| {
        run(
            "locate",
            vec![texts(&[Some("ä")]), texts(&[Some("xäyä")]), number(start)],
        )
        .unwrap()
        .remove(0)
        .unwrap()
    };
    assert_eq!(
        (locate(1), locate(3), locate(5)),
        ("2".to_owned(), "4".to_owned(), "0".to_owned())
    );
    assert_eq!(one("hex", &["Weir"]).unwrap(), "57656972");
    assert_eq!(
        one("format", &["%s is %L%%", "a", "b'c"]).unwrap(),
        "a is 'b''c'%"
    );
    assert_eq!(one("is_decimal", &["-12.5"]).unwrap(), "true");
    assert_eq!(one("is_decimal", &["."]).unwrap(), "false");
}

#[test]
fn json_values_keep_their_spelling() {
    let text = r#" {"a": {"b": [1, 2.50, "x\ny", null]}, "n": 12345678901234567890123, "a b": true, "n": 1e2} "#;
    let value = |path: &str| one("json_value", &[text, path]);
    assert_eq!(value("$.a.b[1]").unwrap(), "2.50");
    assert_eq!(value("$.a.b[2]").unwrap(), "x\ny");
    assert_eq!(value("lax $['a b']").unwrap(), "true");
    assert_eq!(value("$.n").unwrap(), "1e2", "the last of two equal keys");
    assert_eq!(
        (value("$.a.b[3]"), value("$.a.b"), value("$.zz")),
        (None, None, None)
    );
    assert_eq!(
        one("json_query", &[text, "$.a.b"]).unwrap(),
        r#"[1, 2.50, "x\ny", null]"#
    );
    assert_eq!(one("json_exists", &[text, "$.a.b[3]"]).unwrap(), "true");
    assert_eq!(one("json_get_path_text", &[text, "{a,b,0}"]).unwrap(), "1");
    assert_eq!(
        one("json_get", &[text, "a"]).unwrap(),
        r#"{"b": [1, 2.50, "x\ny", null]}"#
    );
    assert_eq!(one("json_typeof", &["[1]"]).unwrap(), "array");
    assert_eq!(one("json_array_length", &["[1, [2, 3]]"]).unwrap(), "2");
    let last: ArrayRef = Arc::new(Int64Array::from(vec![-1]));
    assert_eq!(
        run("json_get_text", vec![texts(&[Some("[1, \"z\"]")]), last]).unwrap(),
        [Some("z".to_owned())]
    );
}

#[test]
fn text_that_is_no_json_gives_null_and_a_wrong_path_an_error() {
    for broken in ["", "{", "{\"a\": 1} x", "nul", "[1,]"] {
        assert_eq!(one("json_value", &[broken, "$.a"]), None, "{broken}");
        assert_eq!(one("is_json", &[broken]).unwrap(), "false", "{broken}");
    }
    let wrong = run(
        "json_value",
        vec![texts(&[Some("{}")]), texts(&[Some("a.b")])],
    );
    assert!(wrong.unwrap_err().contains("begins with `$`"));
}
