//! A query's rows on standard output: until it ends, somebody stops it, or nobody reads any more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::{Error, Next, OutputEvent, QueryStream};
use weir_planner::plan::OperatorKind;

use super::{PrintOptions, Printer};
use crate::arguments::Format;
use crate::progress::StatusLine;

/// Between two looks whether somebody wants it to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Why rows are not printed to their end.
pub(crate) enum Cut {
    /// The query failed.
    Query(Error),
    /// Its rows cannot be written in the form that is asked for.
    Form(String),
    /// Standard output takes no more, be it that nobody reads it.
    Output(io::Error),
}

/// Prints the rows of a query, and the warnings of its end on standard error. `asked_to_stop` is looked at some times a
/// second: a query that is stopped gives what it has.
pub(crate) fn print_rows(
    rows: QueryStream,
    format: Format,
    changelog: bool,
    asked_to_stop: impl FnMut() -> bool,
) -> Result<(), Cut> {
    print_rows_to(None, rows, format, changelog, asked_to_stop)
}

/// The same with another place than standard output.
pub(crate) fn print_rows_to(
    out: Option<Box<dyn io::Write + Send>>,
    mut rows: QueryStream,
    format: Format,
    changelog: bool,
    mut asked_to_stop: impl FnMut() -> bool,
) -> Result<(), Cut> {
    let options = PrintOptions {
        format,
        changelog,
        // Standard input ends, sooner or later: then there are final rows.
        bounded: ends(&rows),
        live: !rows.is_bounded(),
    };
    let status = Arc::new(StatusLine::new(false));
    let printer = match out {
        None => Printer::new(rows.plan(), options, status),
        Some(out) => Printer::to(rows.plan(), options, status, out, None),
    };
    let mut printer = printer.map_err(|error| Cut::Form(error.to_string()))?;
    let operator = output_of(&rows);
    let mut stopping = false;
    loop {
        if !stopping && asked_to_stop() {
            stopping = true;
            rows.stop();
        }
        match rows.next_within(LOOK_INTERVAL) {
            Ok(Next::Nothing) => {}
            Ok(Next::Epoch(epoch)) => {
                let event = OutputEvent {
                    operator,
                    changes: vec![epoch],
                };
                if printer.take(event).is_break() {
                    break;
                }
            }
            Ok(Next::End(summary)) => {
                for warning in &summary.progress.warnings {
                    eprintln!("warning: {warning}");
                }
                break;
            }
            Err(error) => {
                printer.abandon();
                return Err(Cut::Query(error));
            }
        }
    }
    drop(rows);
    printer.finish().map_err(Cut::Output)
}

/// Index of the SELECT in the plan.
fn output_of(rows: &QueryStream) -> usize {
    let mut operators = rows.plan().operators.iter();
    operators
        .position(|operator| matches!(operator.kind, OperatorKind::Output { .. }))
        .unwrap_or_default()
}

/// Whether the query ends by itself: every source does, or is standard input.
pub(crate) fn ends(rows: &QueryStream) -> bool {
    let is_stdin = |table: &String| {
        let definition = rows.plan().tables.get(table);
        definition
            .and_then(|definition| definition.options.get("connector"))
            .map(String::as_str)
            == Some("stdin")
    };
    let mut operators = rows.plan().operators.iter();
    rows.is_bounded()
        || operators.all(|operator| match &operator.kind {
            OperatorKind::Source { table, .. } => is_stdin(table),
            _ => true,
        })
}
