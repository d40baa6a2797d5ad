//! `weir state TARGET 'SELECT …'`: SQL over state; `weir state diff A B`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use clap::{Args, Subcommand};
use serde_json::json;
use weir_engine::{JobHandle, JobOptions};

use crate::arguments::Format;
use crate::exit::{Code, Failure};
use crate::print::{PrintOptions, Printer, is_closed_pipe};
use crate::progress::StatusLine;
use crate::query_file::QueryFile;
use crate::target::State;
use crate::text::{counted, grouped};

/// `weir state`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct StateOptions {
    #[command(subcommand)]
    command: Option<StateCommand>,
    /// A job (running or not), JOB@CHECKPOINT, JOB/SAVEPOINT, or a savepoint's folder.
    #[arg(required = true)]
    target: Option<String>,
    /// A SELECT over tables called "operator id"."table".
    #[arg(required = true)]
    sql: Option<String>,
    /// How the rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// As --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum StateCommand {
    /// What differs between two states.
    #[command(after_help = "Examples:
  weir state diff rides/monday rides
  weir state diff rides@12 rides@13 --rows | head")]
    Diff(DiffOptions),
}

#[derive(Args)]
struct DiffOptions {
    /// The earlier state: a savepoint, JOB@CHECKPOINT or a job.
    before: String,
    /// The later state.
    after: String,
    /// Prints the rows that differ, one JSON object a line, with `op` -1 for what was and 1 for what is.
    #[arg(long)]
    rows: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(options: &StateOptions) -> Result<Code, Failure> {
    match (&options.command, &options.target, &options.sql) {
        (Some(StateCommand::Diff(options)), _, _) => diff(options),
        (None, Some(target), Some(sql)) => {
            let state = State::open(target, options.state_dir.as_deref())?;
            let format = if options.json {
                Format::Json
            } else {
                options.format
            };
            query(state, sql, format)
        }
        _ => Err(Failure::usage("weir state TARGET 'SELECT …'")),
    }
}

/// Runs a query over state and prints its rows.
pub(crate) fn query(state: State, sql: &str, format: Format) -> Result<Code, Failure> {
    let (query, _temporary) = state.into_query();
    let file = QueryFile::of_text("query", sql);
    let planned = query
        .plan(sql)
        .map_err(|errors| Failure::sql(&file, &errors))?;
    let mut options = JobOptions::resolve(&planned.plan, "state")
        .map_err(|error| Failure::engine(&file, &error))?;
    options.state_tables = Some(query.tables.clone());
    let print = PrintOptions {
        format,
        changelog: false,
        bounded: true,
        live: false,
    };
    let status = Arc::new(StatusLine::new(false));
    let printer = Printer::new(&planned.plan, print, status).map_err(Failure::failed)?;
    let printer = Arc::new(Mutex::new(printer));
    let handle = JobHandle::start(
        "state",
        sql,
        planned.plan,
        options,
        Printer::handler(&printer),
    )
    .map_err(|error| Failure::engine(&file, &error))?;
    let ended = handle.wait();
    let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = ended {
        printer.abandon();
        return Err(Failure::engine(&file, &error));
    }
    match printer.finish() {
        Err(error) if !is_closed_pipe(&error) => Err(Failure::failed(format!(
            "cannot print the results: {error}"
        ))),
        _ => Ok(Code::Done),
    }
}

/// What became of one table.
struct TableDiff {
    name: String,
    only_before: u64,
    only_after: u64,
    changed: u64,
}

fn diff(options: &DiffOptions) -> Result<Code, Failure> {
    let state_dir = options.state_dir.as_deref();
    let before = State::open(&options.before, state_dir)?;
    let after = State::open(&options.after, state_dir)?;
    let (old, new) = (before.reader.tables(), after.reader.tables());
    let mut tables = Vec::new();
    let mut notes = Vec::new();
    for (at, info) in old.iter().enumerate() {
        let name = format!("\"{}\".\"{}\"", info.operator, info.table);
        let same = |other: &&weir_state::StateTableInfo| {
            (&other.operator, &other.table) == (&info.operator, &info.table)
        };
        let Some(other) = new.iter().position(|other| same(&other)) else {
            notes.push(format!("{name}: is not in {}", options.after));
            continue;
        };
        let mut table = TableDiff {
            name,
            only_before: 0,
            only_after: 0,
            changed: 0,
        };
        before
            .reader
            .differences(at, &after.reader, other, &mut |found| {
                table.changed += found.changed;
                table.only_before += found.before.num_rows() as u64 - found.changed;
                table.only_after += found.after.num_rows() as u64 - found.changed;
                if options.rows {
                    print_rows(&table.name, -1, &found.before);
                    print_rows(&table.name, 1, &found.after);
                }
                Ok(())
            })
            .map_err(|error| Failure::plain(&error.into()))?;
        tables.push(table);
    }
    for info in &new {
        let known = old
            .iter()
            .any(|other| (&other.operator, &other.table) == (&info.operator, &info.table));
        if !known {
            notes.push(format!(
                "\"{}\".\"{}\": is not in {}",
                info.operator, info.table, options.before
            ));
        }
    }
    tell(&tables, &notes, options.json);
    Ok(Code::Done)
}

fn tell(tables: &[TableDiff], notes: &[String], as_json: bool) {
    if as_json {
        let tables: Vec<_> = tables
            .iter()
            .map(|table| {
                json!({
                    "table": table.name,
                    "only_before": table.only_before,
                    "only_after": table.only_after,
                    "changed": table.changed,
                })
            })
            .collect();
        println!("{}", json!({"tables": tables, "missing": notes}));
        return;
    }
    for table in tables {
        if table.only_before + table.only_after + table.changed == 0 {
            println!("{}: the same", table.name);
        } else {
            println!(
                "{}: {} gone, {} new, {} changed",
                table.name,
                counted(table.only_before, "row", "rows"),
                grouped(table.only_after),
                grouped(table.changed)
            );
        }
    }
    for note in notes {
        println!("{note}");
    }
}

/// Rows as JSON lines, values as text.
fn print_rows(table: &str, op: i64, rows: &RecordBatch) {
    for row in 0..rows.num_rows() {
        let mut object = serde_json::Map::new();
        object.insert("op".to_owned(), json!(op));
        object.insert("table".to_owned(), json!(table));
        let schema = rows.schema();
        for (field, column) in schema.fields().iter().zip(rows.columns()) {
            let value = if column.is_null(row) {
                serde_json::Value::Null
            } else {
                let text = arrow::util::display::array_value_to_string(column, row);
                json!(text.unwrap_or_default())
            };
            object.insert(field.name().clone(), value);
        }
        println!("{}", serde_json::Value::Object(object));
    }
}
