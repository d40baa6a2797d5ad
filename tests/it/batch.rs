//! The batch engine that knows the right answer: the full DataFusion, over the same rows.
//!
//! It is here and not in the library, so that nothing but this test binary waits for DataFusion to compile.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
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
        // The first rows of several sorted partitions, each with a constant of its own in the order, share one bound on
        // the rest of the order, and rows of the later ones are lost.
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_repartition_sorts(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // It merges two filters by the names of columns, and takes `a.d <= b.d` above a join for `a.d <= a.d`.
        let rules = PhysicalOptimizer::new()
            .rules
            .into_iter()
            .filter(|rule| !rule.name().starts_with("FilterPushdown"))
            .collect();
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_physical_optimizer_rules(rules)
            .build();
        let context = SessionContext::new_with_state(state);
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

    /// Adds a table of rows that are written as SQL; without rows it is there all the same. A column is a name, and a type where
    /// nothing but NULL may stand in it.
    pub(crate) fn values(&self, name: &str, columns: &str, rows: &[String]) {
        let columns: Vec<(&str, Option<&str>)> = columns
            .split(", ")
            .map(|column| match column.split_once(' ') {
                Some((name, data_type)) => (name, Some(data_type)),
                None => (column, None),
            })
            .collect();
        let selected: Vec<String> = columns
            .iter()
            .map(|(name, data_type)| match data_type {
                Some(data_type) => format!("CAST({name} AS {data_type}) AS {name}"),
                None => (*name).to_owned(),
            })
            .collect();
        let selected = selected.join(", ");
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let nothing = vec!["NULL"; names.len()].join(", ");
        let names = names.join(", ");
        let query = match rows {
            [] => format!("SELECT {selected} FROM (VALUES ({nothing})) AS v ({names}) WHERE false"),
            rows => format!(
                "SELECT {selected} FROM (VALUES {}) AS v ({names})",
                rows.join(", ")
            ),
        };
        self.query(&format!("CREATE TABLE {name} AS {query}"))
            .unwrap();
    }

    /// The answer.
    ///
    /// # Errors
    /// What the batch engine said: a query that it refuses, or an error in a row.
    pub(crate) fn query(&self, sql: &str) -> Result<Vec<Row>, String> {
        Ok(self.batches(sql)?.iter().flat_map(rows_of).collect())
    }

    /// The same as it comes.
    pub(crate) fn batches(&self, sql: &str) -> Result<Vec<RecordBatch>, String> {
        self.runtime.block_on(async {
            let frame = self
                .context
                .sql(sql)
                .await
                .map_err(|error| error.to_string())?;
            frame.collect().await.map_err(|error| error.to_string())
        })
    }
}

#[test]
fn a_column_of_nulls_has_the_type_that_it_is_given() {
    let oracle = Oracle::default();
    oracle.values("t", "k BIGINT, x", &["(NULL, 1)".to_owned()]);
    assert_eq!(oracle.query("SELECT sum(k) FROM t").unwrap().len(), 1);
}

#[test]
fn a_condition_that_is_never_true_leaves_no_row_of_an_ungrouped_aggregate() {
    let sql = "SELECT * FROM (SELECT count(*) AS n, 1 AS one FROM (VALUES (1)) AS t (k)) AS x WHERE one = 2";
    assert_eq!(Oracle::default().query(sql), Ok(Vec::new()));
}

#[test]
fn two_filters_above_a_join_keep_their_columns_apart() {
    let oracle = Oracle::default();
    let schema = arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("k", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new("d", arrow::datatypes::DataType::Int64, true),
    ]);
    let column = |values: [Option<i64>; 2]| {
        Arc::new(arrow::array::Int64Array::from_iter(values)) as arrow::array::ArrayRef
    };
    let columns = vec![column([Some(0), Some(0)]), column([Some(9), None])];
    oracle.register(
        "t",
        RecordBatch::try_new(Arc::new(schema), columns).unwrap(),
    );
    let sql = "SELECT a.d, b.d FROM t AS a JOIN t AS b ON a.k = b.k AND (NOT (a.k IS NULL)) WHERE NOT (NOT (a.d >= b.d))";
    assert_eq!(oracle.query(sql).unwrap().len(), 1);
}

#[test]
fn the_first_rows_of_a_union_are_found_by_all_columns_of_the_order() {
    let sql = "SELECT s, n FROM (SELECT n, '*' AS s FROM (VALUES (1), (2)) AS t (n) UNION ALL SELECT n, 'h' AS s FROM (VALUES (1), (2)) AS t (n)) AS q ORDER BY s DESC, n DESC LIMIT 2";
    let texts = Oracle::default().query(sql).unwrap();
    assert!(
        texts.iter().all(|row| row[0].to_string() == "h"),
        "{texts:?}"
    );
}
