//! A catalog in memory: connectors and functions that a program describes, for planning without an engine.

use std::collections::{BTreeMap, BTreeSet};

use weir_types::{DataType, Diagnostic};

use crate::plan::{ColumnOrigin, TableDefinition};
use crate::registered::ScalarSignature;
use crate::registered_aggregate::AggregateSignature;
use crate::{Catalog, SourceTraits, TableRole};

/// What a connector is to the planner.
///
/// ```
/// use weir_planner::{AnyCatalog, ConnectorSchema, MemoryCatalog, plan};
///
/// let mut catalog = MemoryCatalog::default();
/// catalog.connector("queue", ConnectorSchema::new().required("topic").optional("group").unbounded());
/// let table = "CREATE TABLE t (a BIGINT) WITH ('connector' = 'queue', 'topic' = 'x'); SELECT a FROM t;";
/// assert!(plan(table, &catalog).is_ok());
/// let mistakes = plan(&table.replace("topic", "group"), &catalog).expect_err("an option is missing");
/// assert_eq!(mistakes.0[0].code, "C0004");
/// ```
#[derive(Clone, Debug)]
pub struct ConnectorSchema {
    required: BTreeSet<String>,
    optional: BTreeSet<String>,
    metadata: BTreeMap<String, DataType>,
    bounded: bool,
    retractions: bool,
    read: bool,
    written: bool,
    takes_retractions: bool,
    again: bool,
}

impl Default for ConnectorSchema {
    fn default() -> Self {
        Self {
            required: BTreeSet::new(),
            optional: BTreeSet::new(),
            metadata: BTreeMap::new(),
            bounded: true,
            retractions: false,
            read: true,
            written: true,
            takes_retractions: true,
            again: true,
        }
    }
}

impl ConnectorSchema {
    /// One that ends, can be read again, is written too, and has no option.
    pub fn new() -> Self {
        Self::default()
    }

    /// An option that each table has to have.
    #[must_use]
    pub fn required(mut self, key: &str) -> Self {
        self.required.insert(key.to_owned());
        self
    }

    /// An option that a table may have.
    #[must_use]
    pub fn optional(mut self, key: &str) -> Self {
        self.optional.insert(key.to_owned());
        self
    }

    /// A METADATA column that it gives.
    #[must_use]
    pub fn metadata(mut self, key: &str, data_type: DataType) -> Self {
        self.metadata.insert(key.to_owned(), data_type);
        self
    }

    /// It goes on for ever.
    #[must_use]
    pub fn unbounded(mut self) -> Self {
        self.bounded = false;
        self
    }

    /// Its rows may be taken back.
    #[must_use]
    pub fn with_retractions(mut self) -> Self {
        self.retractions = true;
        self
    }

    /// Its rows come once.
    #[must_use]
    pub fn read_once(mut self) -> Self {
        self.again = false;
        self
    }

    /// It cannot be written.
    #[must_use]
    pub fn source_only(mut self) -> Self {
        self.written = false;
        self
    }

    /// It cannot be read.
    #[must_use]
    pub fn sink_only(mut self) -> Self {
        self.read = false;
        self
    }

    /// As a sink it takes rows that are added alone.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.takes_retractions = false;
        self
    }
}

/// Connectors by name, and functions. What it does not know is a mistake of the text.
#[derive(Clone, Debug, Default)]
pub struct MemoryCatalog {
    connectors: BTreeMap<String, ConnectorSchema>,
    functions: Vec<ScalarSignature>,
    aggregates: Vec<AggregateSignature>,
}

impl MemoryCatalog {
    /// Describes a connector; one of that name is replaced.
    pub fn connector(&mut self, name: &str, schema: ConnectorSchema) -> &mut Self {
        self.connectors.insert(name.to_owned(), schema);
        self
    }

    /// Declares a scalar function.
    ///
    /// # Errors
    /// A name that is taken, or cannot be called.
    pub fn scalar(&mut self, function: ScalarSignature) -> Result<&mut Self, Diagnostic> {
        function.check()?;
        self.functions
            .retain(|known| known.name() != function.name());
        self.functions.push(function);
        Ok(self)
    }

    /// Declares an aggregate function.
    ///
    /// # Errors
    /// A name that is taken, or cannot be called; types or state that it cannot have.
    pub fn aggregate(&mut self, function: AggregateSignature) -> Result<&mut Self, Diagnostic> {
        function.check()?;
        self.aggregates
            .retain(|known| known.name() != function.name());
        self.aggregates.push(function);
        Ok(self)
    }

    fn of(&self, options: &BTreeMap<String, String>) -> Option<&ConnectorSchema> {
        self.connectors.get(options.get("connector")?)
    }
}

impl Catalog for MemoryCatalog {
    fn check_table(&self, table: &TableDefinition, role: TableRole) -> Vec<Diagnostic> {
        let known = || {
            self.connectors
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(", ")
        };
        let place = |key: &str| table.option_spans.get(key).copied().unwrap_or(table.span);
        let Some(name) = table.options.get("connector") else {
            let message = format!(
                "table `{}` does not say which connector it uses",
                table.name
            );
            return vec![
                Diagnostic::error("C0004", message)
                    .at(table.span, "no 'connector' among the options")
                    .help(format!("there are {}", known())),
            ];
        };
        let Some(schema) = self.connectors.get(name) else {
            return vec![
                Diagnostic::error("C0001", format!("no connector '{name}'"))
                    .at(place("connector"), "not a connector of this program")
                    .help(format!("there are {}", known())),
            ];
        };
        let mut found = Vec::new();
        let (possible, word) = match role {
            TableRole::Source => (schema.read, "read"),
            TableRole::Sink => (schema.written, "written"),
        };
        if !possible {
            found.push(
                Diagnostic::error("C0006", format!("'{name}' cannot be {word}"))
                    .at(place("connector"), format!("`{}` is {word}", table.name))
                    .help("use a table of another connector"),
            );
        }
        for key in schema.required.iter() {
            if !table.options.contains_key(key) {
                found.push(
                    Diagnostic::error("C0004", format!("'{name}' needs the option '{key}'"))
                        .at(table.span, "the option is missing")
                        .help(format!("add '{key}' = '…'")),
                );
            }
        }
        let options: BTreeSet<&String> = schema.required.union(&schema.optional).collect();
        for key in table.options.keys() {
            if key != "connector" && !options.contains(key) {
                let names: Vec<&str> = options.iter().map(|key| key.as_str()).collect();
                found.push(
                    Diagnostic::error("C0002", format!("'{name}' has no option '{key}'"))
                        .at(place(key), "not an option of it")
                        .help(format!("it has {}", names.join(", "))),
                );
            }
        }
        for column in &table.columns {
            if let ColumnOrigin::Metadata(key) = &column.origin
                && !schema.metadata.contains_key(key)
            {
                found.push(
                    Diagnostic::error("C0009", format!("'{name}' has no metadata '{key}'"))
                        .at(table.span, "a column of this table asks for it")
                        .help("leave the column out"),
                );
            }
        }
        found
    }

    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits {
        let schema = self.of(options);
        SourceTraits {
            bounded: schema.is_none_or(|schema| schema.bounded),
            retractions: schema.is_some_and(|schema| schema.retractions),
        }
    }

    fn sink_accepts_retractions(&self, options: &BTreeMap<String, String>) -> bool {
        self.of(options)
            .is_none_or(|schema| schema.takes_retractions)
    }

    fn source_can_be_read_again(&self, options: &BTreeMap<String, String>) -> bool {
        self.of(options).is_none_or(|schema| schema.again)
    }

    fn metadata_type(&self, options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
        self.of(options)?.metadata.get(key).cloned()
    }

    fn scalar_functions(&self) -> Vec<ScalarSignature> {
        self.functions.clone()
    }

    fn aggregate_functions(&self) -> Vec<AggregateSignature> {
        self.aggregates.clone()
    }
}
