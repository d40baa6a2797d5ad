//! The planner alone: SQL in, a plan out that can be looked at, stored and compared. Nothing is opened or started.
//!
//! Run it with `cargo run --release --example embed_the_planner`.

use weir_planner::plan::StreamPlan;
use weir_planner::{AnyCatalog, explain, plan};

const SQL: &str = "
CREATE TABLE bids (item STRING, price BIGINT) WITH ('connector' = 'datagen');
SELECT item, max(price) AS highest FROM bids GROUP BY item;";

fn main() {
    let planned = match plan(SQL, &AnyCatalog) {
        Ok(planned) => planned,
        Err(mistakes) => {
            eprintln!("{}", mistakes.render("bids.sql", SQL));
            std::process::exit(2);
        }
    };
    println!("{}", explain(&planned.plan));
    // A plan is data: it survives a round trip through JSON.
    let text = serde_json::to_string(&planned.plan).expect("a plan can be written");
    let again: StreamPlan = serde_json::from_str(&text).expect("and read");
    assert_eq!(explain(&again), explain(&planned.plan));
    // A mistake has its place and a way out.
    let wrong = SQL.replace("max(price)", "max(pric)");
    let mistakes = plan(&wrong, &AnyCatalog).expect_err("there is no such column");
    assert!(mistakes.render("bids.sql", &wrong).contains("price"));
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main();
    }
}
