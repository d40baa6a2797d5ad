//! The short way beside the library's.

use std::sync::Arc;

use arrow::array::{
    StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use proptest::prelude::*;
use weir_types::{DataType as SqlType, Span};

use super::super::lower::Lowering;
use super::*;

fn expr(kind: ExprKind, data_type: SqlType) -> Expr {
    Expr {
        kind,
        data_type,
        span: Span::default(),
    }
}

fn text(value: &str) -> Expr {
    expr(
        ExprKind::Literal(Scalar::String(value.to_owned())),
        SqlType::String,
    )
}

fn call(name: &str, arguments: Vec<Expr>, data_type: SqlType) -> Expr {
    let name = name.to_owned();
    expr(ExprKind::Function { name, arguments }, data_type)
}

fn lowered(call: &Expr, schema: &SchemaRef) -> Arc<dyn PhysicalExpr> {
    let lowering = Lowering {
        schema,
        clock: &Arc::default(),
    };
    match lowering.lower(call) {
        Ok(lowered) => lowered.physical,
        Err(error) => panic!("{}", error.message),
    }
}

/// What a call over the column gives: by the short way, and by the library's.
fn both(call: &Expr, column: ArrayRef) -> [ArrayRef; 2] {
    let field = arrow::datatypes::Field::new("x", column.data_type().clone(), true);
    let schema = Arc::new(ArrowSchema::new(vec![field]));
    let rows = column.len();
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let short = lowered(call, &schema);
    let direct = short.downcast_ref::<Direct>();
    let direct = direct.expect("the call has a short way");
    [short.evaluate(&batch), direct.general.evaluate(&batch)]
        .map(|value| value.unwrap().into_array(rows).unwrap())
}

fn column(data_type: SqlType) -> Expr {
    expr(ExprKind::Column(0), data_type)
}

fn clock_part(part: &str, data_type: SqlType) -> Expr {
    let arguments = vec![text(part), column(data_type)];
    call("date_part", arguments, SqlType::Int32)
}

fn length_after(taken: &str, put: &str) -> Expr {
    let arguments = vec![column(SqlType::String), text(taken), text(put)];
    let replaced = call("replace", arguments, SqlType::String);
    call("character_length", vec![replaced], SqlType::Int32)
}

fn group_of(pattern: &str, number: i64) -> Expr {
    let list = SqlType::Array(Box::new(SqlType::String));
    let groups = call(
        "regexp_match",
        vec![column(SqlType::String), text(pattern)],
        list,
    );
    let number = expr(ExprKind::Literal(Scalar::Int(number)), SqlType::Int64);
    call("array_element", vec![groups, number], SqlType::String)
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().collect::<StringViewArray>())
}

#[test]
fn the_time_of_day_is_the_librarys_before_1970_too() {
    use weir_types::TimeUnit::{Micro, Milli, Nano, Second};
    let times = [0, -1, 1, 86_399_999, -86_400_001, 1_700_000_123_456];
    let many = |scale: i64| times.map(|time| Some(time * scale)).into_iter();
    let columns: [(SqlType, ArrayRef); 5] = [
        (
            SqlType::Timestamp(Second),
            Arc::new(TimestampSecondArray::from_iter(
                times.map(|time| Some(time / 1000)),
            )),
        ),
        (
            SqlType::Timestamp(Milli),
            Arc::new(TimestampMillisecondArray::from_iter(many(1).chain([None]))),
        ),
        (
            SqlType::TimestampLtz(Milli),
            Arc::new(TimestampMillisecondArray::from_iter(many(1)).with_timezone("+00:00")),
        ),
        (
            SqlType::Timestamp(Micro),
            Arc::new(TimestampMicrosecondArray::from_iter(many(1000))),
        ),
        (
            SqlType::Timestamp(Nano),
            Arc::new(TimestampNanosecondArray::from_iter(many(1_000_000))),
        ),
    ];
    for (data_type, values) in columns {
        for part in ["hour", "minute", "second", "HOUR"] {
            let [short, general] = both(&clock_part(part, data_type.clone()), values.clone());
            assert_eq!(&short, &general, "{part} of {values:?}");
        }
    }
}

#[test]
fn times_beyond_the_calendar_are_left_to_the_library() {
    let values: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![i64::MAX, 7_200_000]));
    let call = clock_part("hour", SqlType::Timestamp(weir_types::TimeUnit::Milli));
    let part = ClockPart::of("hour", values.data_type()).unwrap();
    assert!(part.apply(&values).is_none());
    let [short, general] = both(&call, values);
    assert_eq!(&short, &general);
}

#[test]
fn groups_that_take_no_part_do_not_count() {
    let values = texts(&[
        Some("b-2"),
        Some("a1"),
        None,
        Some(""),
        Some("a1 and b-2"),
        Some("nothing"),
        Some("a much longer text than a view holds: b-1234567890123456"),
    ]);
    for pattern in [
        "(a)?(b-)?([0-9]+)",
        "[0-9]+",
        "",
        "(x)|(b)",
        "(&|^)a([^&]*)",
    ] {
        for number in 1..5 {
            let [short, general] = both(&group_of(pattern, number), values.clone());
            assert_eq!(&short, &general, "'{pattern}'[{number}]");
        }
    }
}

#[test]
fn a_group_from_the_end_and_a_pattern_that_is_none_have_no_short_way() {
    let schema = Arc::new(ArrowSchema::new(vec![arrow::datatypes::Field::new(
        "x",
        DataType::Utf8View,
        true,
    )]));
    for call in [group_of("(a)", -1), group_of("(a)", 0), group_of("(a", 1)] {
        assert!(!lowered(&call, &schema).is::<Direct>(), "{call:?}");
    }
    assert!(!lowered(&length_after("", "x"), &schema).is::<Direct>());
}

proptest! {
    #[test]
    fn lengths_without_a_text_are_the_librarys(
        values in proptest::collection::vec(proptest::option::of("[aäb€ ]{0,40}"), 1..20),
        taken in "[aäb]{1,2}",
        put in "[a€]{0,2}",
    ) {
        let values: StringViewArray = values.iter().map(Option::as_deref).collect();
        let [short, general] = both(&length_after(&taken, &put), Arc::new(values));
        prop_assert_eq!(&short, &general);
    }
}

#[test]
fn many_occurrences_of_a_byte_are_all_counted() {
    let values = texts(&[Some(&"c".repeat(1000)), Some(&"xc".repeat(300))]);
    let [short, general] = both(&length_after("c", ""), values);
    assert_eq!(&short, &general);
}
