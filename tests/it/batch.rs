//! The batch engine that knows the right answer: the full DataFusion, over the same rows.
//!
//! It is here and not in the library, so that nothing but this test binary waits for DataFusion to compile.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use weir_tests::data::Table;
use weir_tests::value::{Row, rows_of};

/// A batch engine with some tables.
pub(crate) struct Oracle {
    context: SessionContext,
    runtime: tokio::runtime::Runtime,
}

impl Default for Oracle {
    fn default() -> Self {
        let config = SessionConfig::new().with_target_partitions(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let context = SessionContext::new_with_config(config);
        // It pushes a condition that is always false below an aggregate without groups, which then gives its one row all the same.
        assert!(context.remove_optimizer_rule("push_down_filter"));
        Self { context, runtime }
    }
}

impl Oracle {
    /// One that knows these tables.
    pub(crate) fn new(tables: &[Table]) -> Self {
        let oracle = Self::default();
        for table in tables {
            oracle.register(&table.name, table.batch());
        }
        oracle
    }

    /// Adds a table.
    pub(crate) fn register(&self, name: &str, batch: RecordBatch) {
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        self.context.register_table(name, Arc::new(table)).unwrap();
    }

    /// The answer.
    ///
    /// # Errors
    /// What the batch engine said: a query that it refuses, or an error in a row.
    pub(crate) fn query(&self, sql: &str) -> Result<Vec<Row>, String> {
        let batches = self.runtime.block_on(async {
            let frame = self
                .context
                .sql(sql)
                .await
                .map_err(|error| error.to_string())?;
            frame.collect().await.map_err(|error| error.to_string())
        })?;
        Ok(batches.iter().flat_map(rows_of).collect())
    }
}

#[test]
fn a_condition_that_is_never_true_leaves_no_row_of_an_ungrouped_aggregate() {
    let sql = "SELECT * FROM (SELECT count(*) AS n, 1 AS one FROM (VALUES (1)) AS t (k)) AS x WHERE one = 2";
    assert_eq!(Oracle::default().query(sql), Ok(Vec::new()));
}
