//! Two channels of a program, joined: orders and payments go in, paid orders come out.
//!
//! Run it with `cargo run --release --example join_two_channels`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use weir_engine::{Result, Session, TableSpec};
use weir_types::{Column, DataType};

fn main() -> Result<()> {
    let mut session = Session::ephemeral();
    let orders = session.channel(
        "orders",
        TableSpec::new(vec![
            Column::new("id", DataType::Int64),
            Column::new("item", DataType::String),
        ]),
    )?;
    let payments = session.channel(
        "payments",
        TableSpec::new(vec![
            Column::new("order_id", DataType::Int64),
            Column::new("amount", DataType::Int64),
        ]),
    )?;
    let paid = session.channel_out(
        "paid",
        TableSpec::new(vec![
            Column::new("item", DataType::String),
            Column::new("amount", DataType::Int64),
        ]),
    )?;
    // A regular join remembers both inputs; the setting says for how long.
    session.execute("SET 'state.ttl' = '1 h'")?;
    session.execute(
        "INSERT INTO paid SELECT o.item, p.amount FROM orders AS o JOIN payments AS p ON o.id = p.order_id",
    )?;

    let batch = |columns: Vec<(&str, ArrayRef)>| {
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    };
    orders.send(batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        (
            "item",
            Arc::new(StringViewArray::from(vec!["tea", "cake", "milk"])),
        ),
    ]))?;
    payments.send(batch(vec![
        ("order_id", Arc::new(Int64Array::from(vec![3, 1]))),
        ("amount", Arc::new(Int64Array::from(vec![2, 5]))),
    ]))?;
    // Without their senders the tables are at their ends, and the job with them.
    drop((orders, payments));

    let mut found = Vec::new();
    for epoch in paid {
        let items = epoch.rows.column(0).as_string_view();
        let amounts = epoch.rows.column(1).as_primitive::<Int64Type>();
        for row in 0..epoch.num_rows() {
            found.push(format!(
                "{} was paid: {}",
                items.value(row),
                amounts.value(row)
            ));
        }
    }
    found.sort();
    found.iter().for_each(|line| println!("{line}"));
    assert_eq!(found, ["milk was paid: 2", "tea was paid: 5"]);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().expect("it runs");
    }
}
