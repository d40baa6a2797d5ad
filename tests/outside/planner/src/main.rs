//! A program outside of Weir's workspace that uses the planner and nothing else of Weir.

use weir_planner::compare::{Choices, Past, compare};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_planner::types::{Column, DataType};
use weir_planner::{AggregateSignature, ConnectorSchema, MemoryCatalog, ScalarSignature, explain, plan};

const TABLE: &str = "CREATE TABLE orders (item STRING, price BIGINT, shard INT METADATA) WITH ('connector' = 'queue', 'topic' = 'orders');\n";

fn main() {
    let mut catalog = MemoryCatalog::default();
    let queue = ConnectorSchema::new()
        .required("topic")
        .metadata("shard", DataType::Int32)
        .unbounded();
    catalog.connector("queue", queue);
    let fee = ScalarSignature::new("fee", vec![DataType::Int64], DataType::Int64).version("2");
    catalog.scalar(fee).expect("the name is free");
    let state = vec![Column::new("most", DataType::Int64)];
    let peak = AggregateSignature::new("peak", vec![DataType::Int64], DataType::Int64, state);
    catalog.aggregate(peak).expect("the name is free");

    let text = |by: &str| {
        format!("{TABLE}CREATE MATERIALIZED VIEW fees AS SELECT {by}, sum(fee(price)) AS fees, peak(price) AS peak FROM orders GROUP BY {by};")
    };
    let planned = match plan(&text("item"), &catalog) {
        Ok(planned) => planned.plan,
        Err(mistakes) => panic!("{}", mistakes.render("fees.sql", &text("item"))),
    };
    let shown = explain(&planned);
    assert!(shown.contains("peak@1(price)") && shown.contains("fee@2(price)") && shown.contains("fees/view"), "{shown}");
    assert!(planned.operators.iter().any(|operator| matches!(operator.kind, OperatorKind::Sink { .. })));

    let stored = planned.to_json().expect("a plan can be written");
    assert_eq!(StreamPlan::from_json(&stored).expect("and read"), planned);

    let edited = plan(&text("shard"), &catalog).expect("it has no mistake").plan;
    let same = compare(&planned, &planned, &Past::default(), &Choices::default(), &catalog);
    let other = compare(&planned, &edited, &Past::default(), &Choices::default(), &catalog);
    assert!(same.is_unchanged() && !other.is_unchanged());
    println!("{shown}");
}
