//! Functions of a program, called from SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;
use weir_planner::ScalarSignature;
use weir_types::DataType;

use super::Session;

fn halved(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let numbers = arguments[0].as_primitive::<Int64Type>();
    let halves: Result<Int64Array, String> = numbers
        .iter()
        .map(|number| match number {
            Some(number) if number % 2 != 0 => Err(format!("{number} is odd")),
            even => Ok(even.map(|even| even / 2)),
        })
        .collect();
    halves.map(|halves| Arc::new(halves) as ArrayRef)
}

fn half(name: &str) -> ScalarSignature {
    ScalarSignature::new(name, vec![DataType::Int64], DataType::Int64)
}

fn numbers(session: &mut Session, sql: &str) -> crate::Result<Vec<Option<i64>>> {
    let mut found = Vec::new();
    for epoch in futures::executor::block_on_stream(session.query(sql)?) {
        let epoch = epoch?;
        let column = epoch.rows.column(0).as_primitive::<Int64Type>();
        found.extend(
            (0..epoch.num_rows())
                .filter(|&row| epoch.weight(row) > 0)
                .map(|row| {
                    use arrow::array::Array;
                    column.is_valid(row).then(|| column.value(row))
                }),
        );
    }
    Ok(found)
}

#[test]
fn a_registered_function_is_called_like_a_built_in_one() {
    let mut session = Session::ephemeral();
    session.register_scalar(half("half_a"), halved).unwrap();
    let rows = "FROM (VALUES (2), (NULL), (8)) t(n)";
    // Arguments become what it takes: INT becomes BIGINT.
    let found = numbers(&mut session, &format!("SELECT HALF_A(n) {rows}")).unwrap();
    assert_eq!(found, [Some(1), None, Some(4)]);
    let found = numbers(
        &mut session,
        &format!("SELECT sum(half_a(n + n)) AS s {rows} WHERE half_a(n) > 1"),
    )
    .unwrap();
    assert_eq!(found.last(), Some(&Some(8)));
    // Nested, and beside texts.
    session
        .register_scalar(
            ScalarSignature::new("shout", vec![DataType::String], DataType::String),
            |arguments| {
                let texts = arguments[0].as_string_view();
                let louder: StringViewArray = texts
                    .iter()
                    .map(|text| text.map(|text| format!("{text}!")))
                    .collect();
                Ok(Arc::new(louder))
            },
        )
        .unwrap();
    let found = numbers(
        &mut session,
        "SELECT length(shout(shout('ab'))) + half_a(half_a(8)) AS n",
    )
    .unwrap();
    assert_eq!(found, [Some(6)]);
}

#[test]
fn the_row_on_which_it_fails_is_told_and_the_others_are_not() {
    let mut session = Session::ephemeral();
    session.register_scalar(half("half_b"), halved).unwrap();
    let sql = "SELECT half_b(n) AS h FROM (VALUES (2), (7), (8)) t(n)";
    let told = numbers(&mut session, sql).err().unwrap().to_string();
    assert!(told.contains("7 is odd"), "{told}");
    session.execute("SET 'row.error' = 'skip'").unwrap();
    assert_eq!(numbers(&mut session, sql).unwrap(), [Some(1), Some(4)]);
    session.execute("SET 'row.error' = 'null'").unwrap();
    assert_eq!(
        numbers(&mut session, sql).unwrap(),
        [Some(1), None, Some(4)]
    );
}

#[test]
fn what_it_cannot_be_or_give_is_an_error() {
    let mut session = Session::ephemeral();
    for taken in [
        "upper", "sum", "lag", "if", "year", "now", "Half", "a b", "",
    ] {
        let told = session
            .register_scalar(half(taken), halved)
            .err()
            .map(|error| error.to_string());
        assert!(told.is_some_and(|told| told.contains("R0057")), "{taken}");
    }
    session.register_scalar(half("half_c"), halved).unwrap();
    let other = ScalarSignature::new("half_c", vec![DataType::String], DataType::Int64);
    let told = session
        .register_scalar(other, halved)
        .err()
        .unwrap()
        .to_string();
    assert!(told.contains("R0058"), "{told}");
    let told = session
        .plan("SELECT half_c('x', 1)")
        .err()
        .unwrap()
        .to_string();
    assert!(told.contains("half_c"), "{told}");
    // Of the wrong type, or of the wrong length.
    let short = |_: &[ArrayRef]| Ok(Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef);
    session.register_scalar(half("short_c"), short).unwrap();
    assert!(
        numbers(
            &mut session,
            "SELECT short_c(n) FROM (VALUES (1), (2)) t(n)"
        )
        .is_err()
    );
    let text = |_: &[ArrayRef]| Ok(Arc::new(StringViewArray::from(vec!["x"])) as ArrayRef);
    session.register_scalar(half("text_c"), text).unwrap();
    assert!(numbers(&mut session, "SELECT text_c(n) FROM (VALUES (1)) t(n)").is_err());
}

#[test]
fn a_version_is_part_of_the_plan_and_another_one_changes_fingerprints() {
    let mut session = Session::ephemeral();
    let sql = "SELECT sum(half_d(n)) AS s FROM (VALUES (1), (2)) t(n)";
    session.register_scalar(half("half_d"), halved).unwrap();
    let first = session.plan(sql).unwrap().plan;
    assert!(weir_planner::explain(&first).contains("half_d@1("));
    let again = session.plan(sql).unwrap().plan;
    assert_eq!(first, again);
    session
        .register_scalar(half("half_d").version("2"), halved)
        .unwrap();
    let second = session.plan(sql).unwrap().plan;
    let prints = |plan: &weir_planner::plan::StreamPlan| {
        let aggregate = plan
            .operators
            .iter()
            .find(|operator| operator.id.as_str() == "select/aggregate");
        aggregate.map(|found| {
            (
                found.fingerprint.clone(),
                found.upstream_fingerprint.clone(),
            )
        })
    };
    assert!(prints(&first).is_some());
    assert_ne!(prints(&first), prints(&second));
    // What another session has registered means nothing here.
    let mut other = Session::ephemeral();
    let told = other.query(sql).err().unwrap().to_string();
    assert!(told.contains("P1003"), "{told}");
}

#[test]
fn a_plan_whose_function_nobody_has_is_refused_at_its_place() {
    let mut catalog = weir_planner::MemoryCatalog::default();
    catalog.scalar(half("nobody_has")).unwrap();
    let sql = "SELECT nobody_has(n) AS h\nFROM (VALUES (1)) t(n)";
    let plan = weir_planner::plan(sql, &catalog).unwrap().plan;
    let options = crate::JobOptions::resolve(&plan, "job").unwrap();
    let handler = Arc::new(|_| std::ops::ControlFlow::Continue(()));
    let ended = crate::JobHandle::start("job", sql, plan, options, handler)
        .and_then(crate::JobHandle::wait);
    let told = match ended {
        Err(crate::Error::Plan(problems)) => problems.render("q.sql", sql),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it ran"),
    };
    assert!(
        told.contains("nobody_has") && told.contains("q.sql:1:8"),
        "{told}"
    );
}

#[test]
fn a_volatile_function_is_refused_over_rows_that_may_be_taken_back() {
    let mut session = Session::ephemeral();
    session
        .register_scalar(half("dice_e").volatile(), halved)
        .unwrap();
    let told = session
        .plan("SELECT dice_e(s) AS d FROM (SELECT k, sum(n) AS s FROM (VALUES (1, 2)) t(k, n) GROUP BY k) AS sums")
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(told.contains("P1021"), "{told}");
}
