//! An axum service over a materialized view: rows come in through a channel, a job keeps the totals, and HTTP reads them at the
//! newest epoch.
//!
//! ```text
//!   POST /sales/{item}/{price} ─▶ channel ─▶ job: CREATE MATERIALIZED VIEW totals … ─▶ GET /totals, GET /totals/{item}
//! ```
//!
//! Run it with `cargo run --release --example serve_a_view`, then `curl -X POST localhost:8080/sales/pear/3` and
//! `curl localhost:8080/totals`.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use weir_engine::{ChannelSender, Session, TableSpec};
use weir_types::{Column, DataType};

struct App {
    session: Mutex<Session>,
    sales: ChannelSender,
}

type Answer = Result<Json<Value>, (StatusCode, String)>;

fn failed(error: impl ToString) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The job, and the routes over it.
fn app() -> weir_engine::Result<Router> {
    let mut session = Session::ephemeral();
    let spec = TableSpec::new(vec![
        Column::new("item", DataType::String),
        Column::new("price", DataType::Int64),
    ]);
    let sales = session.channel("sales", spec)?;
    session.execute(
        "CREATE MATERIALIZED VIEW totals AS SELECT item, count(*) AS sold, sum(price) AS total FROM sales GROUP BY item",
    )?;
    let app = App {
        session: Mutex::new(session),
        sales,
    };
    Ok(Router::new()
        .route("/sales/{item}/{price}", post(sell))
        .route("/totals", get(totals))
        .route("/totals/{item}", get(total))
        .with_state(Arc::new(app)))
}

async fn sell(
    State(app): State<Arc<App>>,
    Path((item, price)): Path<(String, i64)>,
) -> Result<StatusCode, (StatusCode, String)> {
    let columns: [(&str, ArrayRef); 2] = [
        ("item", Arc::new(StringArray::from(vec![item]))),
        ("price", Arc::new(Int64Array::from(vec![price]))),
    ];
    let row = RecordBatch::try_from_iter(columns).map_err(failed)?;
    // A full channel waits, which no thread of the server should.
    tokio::task::spawn_blocking(move || app.sales.send(row))
        .await
        .map_err(failed)?
        .map_err(failed)?;
    Ok(StatusCode::ACCEPTED)
}

/// All rows of the view, as they are at the end of one epoch.
async fn totals(State(app): State<Arc<App>>) -> Answer {
    let found = tokio::task::spawn_blocking(move || {
        let session = app.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.view("totals")
    });
    let found = found.await.map_err(failed)?.map_err(failed)?;
    Ok(Json(rows_of(&found.rows)))
}

/// SQL over the view.
async fn total(State(app): State<Arc<App>>, Path(item): Path<String>) -> Answer {
    let sql = format!(
        "SELECT item, sold, total FROM totals WHERE item = '{}'",
        item.replace('\'', "''")
    );
    let found = tokio::task::spawn_blocking(move || {
        let mut session = app.session.lock().unwrap_or_else(PoisonError::into_inner);
        let epochs = futures::executor::block_on_stream(session.query(&sql)?);
        // Rows of a filter are only added.
        epochs
            .map(|epoch| epoch.map(|epoch| epoch.rows))
            .collect::<weir_engine::Result<Vec<_>>>()
    });
    let found = found.await.map_err(failed)?.map_err(failed)?;
    Ok(Json(rows_of(&found)))
}

/// Rows as JSON; of these columns all but the first are numbers.
fn rows_of(batches: &[RecordBatch]) -> Value {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let text = |column: usize| {
                arrow::util::display::array_value_to_string(batch.column(column), row)
                    .unwrap_or_default()
            };
            let number = |column: usize| text(column).parse::<i64>().unwrap_or_default();
            rows.push(json!({"item": text(0), "sold": number(1), "total": number(2)}));
        }
    }
    rows.sort_by_key(|row| row["item"].to_string());
    Value::Array(rows)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = app()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
        axum::serve(listener, app).await
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sold_is_read_over_http() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = app().unwrap();
        // It serves until the test's process ends.
        std::thread::Builder::new()
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    axum::serve(listener, app).await
                })
            })
            .unwrap();
        let client = reqwest::blocking::Client::new();
        let ask = |path: &str| -> Value {
            let answer = client.get(format!("{base}{path}")).send().unwrap();
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            answer.json().unwrap()
        };
        assert_eq!(ask("/totals"), json!([]));
        for (item, price) in [("pear", 3), ("fig", 5), ("pear", 4)] {
            let sold = client.post(format!("{base}/sales/{item}/{price}")).send();
            assert_eq!(sold.unwrap().status(), 202);
        }
        let expected = json!([
            {"item": "fig", "sold": 1, "total": 5},
            {"item": "pear", "sold": 2, "total": 7},
        ]);
        // What was sent is there when its epoch is complete.
        let seen = (0..500).any(|_| ask("/totals") == expected);
        assert!(seen, "{}", ask("/totals"));
        assert_eq!(ask("/totals/pear"), json!([expected[1]]));
        assert_eq!(ask("/totals/o'clock"), json!([]));
    }
}
