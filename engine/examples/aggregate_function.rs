//! An aggregate function of a program: the average of prices, weighted by how many were sold, per item.
//!
//! Run it with `cargo run --release --example aggregate_function`.

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use futures::executor::block_on_stream;
use weir_engine::{AggregateFunction, GroupState, Result, Row, Session, Value};
use weir_planner::AggregateSignature;
use weir_types::{Column, DataType};

/// Keeps two columns of each group: what was paid, and how many were sold.
struct WeightedAverage;

impl WeightedAverage {
    fn add(
        state: &mut GroupState<'_, '_>,
        paid: f64,
        sold: i64,
    ) -> std::result::Result<(), String> {
        state.set_float(0, state.float(0)?.unwrap_or(0.0) + paid)?;
        state.set_int(1, state.int(1)?.unwrap_or(0) + sold)
    }

    /// The arguments of a call; rows with a NULL among them do not come here.
    fn sale(row: Row<'_>) -> std::result::Result<(f64, i64), String> {
        let price = row.float(0)?.ok_or("a price is NULL")?;
        let sold = row.int(1)?.ok_or("a number is NULL")?;
        if sold < 0 {
            return Err(format!("{sold} pieces cannot be sold"));
        }
        Ok((price * sold as f64, sold))
    }
}

impl AggregateFunction for WeightedAverage {
    fn accumulate(
        &self,
        state: &mut GroupState<'_, '_>,
        row: Row<'_>,
    ) -> std::result::Result<(), String> {
        let (paid, sold) = Self::sale(row)?;
        Self::add(state, paid, sold)
    }

    fn retract(
        &self,
        state: &mut GroupState<'_, '_>,
        row: Row<'_>,
    ) -> std::result::Result<(), String> {
        let (paid, sold) = Self::sale(row)?;
        Self::add(state, -paid, -sold)
    }

    fn merge(
        &self,
        state: &mut GroupState<'_, '_>,
        other: Row<'_>,
    ) -> std::result::Result<(), String> {
        Self::add(
            state,
            other.float(0)?.unwrap_or(0.0),
            other.int(1)?.unwrap_or(0),
        )
    }

    fn result(&self, state: Row<'_>) -> std::result::Result<Value, String> {
        Ok(match (state.float(0)?, state.int(1)?) {
            (Some(paid), Some(sold)) if sold > 0 => Value::Float(paid / sold as f64),
            _ => Value::Null,
        })
    }
}

fn main() -> Result<()> {
    let mut session = Session::ephemeral();
    let state = vec![
        Column::new("paid", DataType::Float64),
        Column::new("sold", DataType::Int64),
    ];
    let signature = AggregateSignature::new(
        "weighted_average",
        vec![DataType::Float64, DataType::Int64],
        DataType::Float64,
        state,
    );
    session.register_aggregate(signature.retracts(), WeightedAverage)?;
    let rows = session.query(
        "SELECT item, weighted_average(price, sold) AS average
         FROM (VALUES ('lamp', 10, 3), ('vase', 7, 1), ('lamp', 20, 1)) AS sales(item, price, sold)
         GROUP BY item",
    )?;
    let mut found = Vec::new();
    for epoch in block_on_stream(rows) {
        let epoch = epoch?;
        let items = epoch.rows.column(0).as_string_view();
        let averages = epoch.rows.column(1).as_primitive::<Float64Type>();
        for row in (0..epoch.num_rows()).filter(|&row| epoch.weight(row) > 0) {
            found.push(format!("{} {}", items.value(row), averages.value(row)));
        }
    }
    found.sort();
    println!("{}", found.join("\n"));
    assert_eq!(found, ["lamp 12.5", "vase 7"]);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().expect("the averages");
    }
}
