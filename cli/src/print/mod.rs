//! The rows of bare SELECTs on standard output.
//!
//! ```text
//!   OutputEvent (one epoch of one SELECT) ─▶ form ─▶ writer
//!                                            │        table │ json │ csv
//!                                            ├ as they come   append-only
//!                                            ├ final rows     bounded and updating: changes are folded
//!                                            └ changes        --changelog, or updating without an end
//! ```
//!
//! # Invariants
//! 1. What has been printed is never taken back: a row that may still be retracted is printed with an `op` or not yet.
//! 2. Of several SELECTs in a bounded job each is printed as a whole, in the order of the file.
//! 3. A closed pipe is an answer, not an error: the job is asked to stop.

mod changes;
mod fold;
mod lines;
mod parquet;
mod rows;
mod table;

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use weir_connectors::{Op, PrintFormat};
use weir_engine::{OutputEvent, OutputHandler};
use weir_planner::plan::{Changelog, Operator, OperatorKind, StreamPlan};
use weir_types::{ChangeBatch, Column, DataType};

use crate::arguments::Format;
use crate::print::changes::pair_up;
use crate::print::fold::Fold;
use crate::print::lines::Lines;
use crate::print::parquet::Parquet;
pub(crate) use crate::print::rows::{Cut, ends, print_rows, print_rows_to};
use crate::print::table::Table;
use crate::progress::StatusLine;

/// Prints every SELECT of a job.
pub(crate) struct Printer {
    outputs: Vec<Output>,
    target: Target,
    status: Arc<StatusLine>,
}

/// One bare SELECT.
struct Output {
    /// Index of the operator in the plan.
    operator: usize,
    /// What is printed above it when there are several.
    title: String,
    form: Form,
    writer: Box<dyn RowWriter>,
    /// Columns that identify a row, for pairs of `-U` and `+U`.
    unique_key: Option<Vec<usize>>,
    /// Whether rows are shown at once even if the widths of their columns are then a guess: a bounded query ends
    /// soon enough.
    settle: bool,
}

/// What becomes of the changes.
enum Form {
    /// Append-only: printed as they come.
    AsTheyCome,
    /// Append-only, but another SELECT's turn may be first.
    AtTheEnd(Vec<RecordBatch>),
    /// Updating: what is left at the end.
    Folded(Fold),
    /// Each change, with its `op`.
    Changes,
}

/// Where the text goes, and how that went.
struct Target {
    out: Box<dyn Write + Send>,
    /// Once writing failed, nothing more is written.
    failed: Option<io::Error>,
    /// The output that printed last, for titles between several.
    last: Option<usize>,
    several: bool,
}

/// One way to write rows. Gets all rows of one SELECT, then `finish`.
pub(crate) trait RowWriter: Send {
    /// Writes rows; with `ops`, one for each row, also how each changes the result.
    fn write(
        &mut self,
        rows: &RecordBatch,
        ops: Option<&[Op]>,
        out: &mut dyn Write,
    ) -> io::Result<()>;
    /// Nothing more will come for a while: shows what was held to find the widths of columns.
    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let _ = out;
        Ok(())
    }
    /// Ends the output.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// How a job's results are to be printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrintOptions {
    pub(crate) format: Format,
    /// Every change instead of the final rows.
    pub(crate) changelog: bool,
    /// Whether every source of the job ends by itself.
    pub(crate) bounded: bool,
    /// Rows come one by one, from somebody who types or a log that grows: none is held back.
    pub(crate) live: bool,
}

/// Whether a write failed because nobody reads any more.
pub(crate) fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

impl Printer {
    /// A printer for the outputs of `plan`.
    pub(crate) fn new(
        plan: &StreamPlan,
        options: PrintOptions,
        status: Arc<StatusLine>,
    ) -> anyhow::Result<Self> {
        Self::to(
            plan,
            options,
            status,
            Box::new(io::BufWriter::with_capacity(1 << 16, io::stdout())),
            terminal_columns(),
        )
    }

    fn to(
        plan: &StreamPlan,
        options: PrintOptions,
        status: Arc<StatusLine>,
        out: Box<dyn Write + Send>,
        terminal: Option<usize>,
    ) -> anyhow::Result<Self> {
        let mut outputs = Vec::new();
        let count = plan
            .operators
            .iter()
            .filter(|operator| matches!(operator.kind, OperatorKind::Output { .. }))
            .count();
        for (index, operator) in plan.operators.iter().enumerate() {
            let OperatorKind::Output { names } = &operator.kind else {
                continue;
            };
            // The changelog of what it is given: an Output changes nothing itself.
            let updating = operator.changelog == Changelog::Retractions;
            let form = match (
                options.changelog || (updating && !options.bounded),
                updating,
            ) {
                (true, _) => Form::Changes,
                (false, true) => Form::Folded(Fold::new(DataType::arrow_schema(&operator.schema))?),
                (false, false) if options.bounded && count > 1 => Form::AtTheEnd(Vec::new()),
                (false, false) => Form::AsTheyCome,
            };
            let with_op = matches!(form, Form::Changes);
            let printed = |(column, name): (&Column, &String)| Column {
                external_name: Some(name.clone()),
                ..column.clone()
            };
            let columns = operator.schema.iter().zip(names).map(printed).collect();
            outputs.push(Output {
                operator: index,
                title: title(operator),
                form,
                writer: writer(options, columns, with_op, terminal)?,
                unique_key: operator.unique_key.clone(),
                settle: !options.bounded || options.live,
            });
        }
        let target = Target {
            out,
            failed: None,
            last: None,
            several: outputs.len() > 1,
        };
        Ok(Self {
            outputs,
            target,
            status,
        })
    }

    /// Whether anything will be printed.
    pub(crate) fn is_idle(&self) -> bool {
        self.outputs.is_empty()
    }

    /// What the engine calls with the changes of every epoch.
    pub(crate) fn handler(printer: &Arc<Mutex<Self>>) -> OutputHandler {
        let printer = Arc::clone(printer);
        Arc::new(move |event: OutputEvent| {
            // A panic while printing has ended the job already; what is left to do is not to panic again.
            printer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(event)
        })
    }

    /// Prints, or keeps, the changes of an epoch. `Break`: nobody reads any more.
    pub(crate) fn take(&mut self, event: OutputEvent) -> ControlFlow<()> {
        let Self {
            outputs,
            target,
            status,
        } = self;
        let Some(output) = outputs
            .iter_mut()
            .find(|output| output.operator == event.operator)
        else {
            return ControlFlow::Continue(());
        };
        if let Err(error) = output.take(&event.changes, target, status) {
            target.failed.get_or_insert(error);
        }
        if target.failed.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The end: prints what was held back. The error is what went wrong at any time.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let Self {
            outputs,
            target,
            status,
        } = self;
        status.clear();
        for output in outputs.iter_mut() {
            if let Some(error) = target.failed.take() {
                return Err(error);
            }
            output.finish(target, status)?;
        }
        match target.failed.take() {
            Some(error) => Err(error),
            None => target.out.flush(),
        }
    }
}

impl Printer {
    /// The job failed: shows the rows that were on their way, which are the answer up to there, and no final ones.
    pub(crate) fn abandon(&mut self) {
        self.status.clear();
        for output in &mut self.outputs {
            if matches!(output.form, Form::AsTheyCome | Form::Changes)
                && self.target.last == Some(output.operator)
            {
                // The job's own failure is the one to report.
                let _ = output.writer.settle(&mut self.target.out);
            }
        }
        let _ = self.target.out.flush();
    }
}

impl Output {
    fn take(
        &mut self,
        changes: &[ChangeBatch],
        target: &mut Target,
        status: &StatusLine,
    ) -> io::Result<()> {
        match &mut self.form {
            Form::AtTheEnd(held) => held.extend(changes.iter().map(|batch| batch.rows.clone())),
            Form::Folded(fold) => changes
                .iter()
                .try_for_each(|batch| fold.apply(batch))
                .map_err(io::Error::other)?,
            Form::AsTheyCome if changes.iter().all(|batch| batch.num_rows() == 0) => {}
            Form::AsTheyCome => {
                status.clear();
                target.title(self.operator, &self.title)?;
                for batch in changes {
                    self.writer.write(&batch.rows, None, &mut target.out)?;
                }
                if self.settle {
                    self.writer.settle(&mut target.out)?;
                }
                target.out.flush()?;
            }
            Form::Changes => {
                let Some((rows, ops)) =
                    pair_up(changes, self.unique_key.as_deref()).map_err(io::Error::other)?
                else {
                    return Ok(());
                };
                status.clear();
                target.title(self.operator, &self.title)?;
                self.writer.write(&rows, Some(&ops), &mut target.out)?;
                if self.settle {
                    self.writer.settle(&mut target.out)?;
                }
                target.out.flush()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, target: &mut Target, status: &StatusLine) -> io::Result<()> {
        match &mut self.form {
            Form::AtTheEnd(held) => {
                target.title(self.operator, &self.title)?;
                for rows in held.drain(..) {
                    self.writer.write(&rows, None, &mut target.out)?;
                }
            }
            Form::Folded(fold) => {
                target.title(self.operator, &self.title)?;
                let unmatched = fold.unmatched();
                if unmatched > 0 {
                    status.note(&format!(
                        "{}: {} took back rows that were never printed: a source began with a -D, or the job was resumed",
                        self.title,
                        crate::text::counted(unmatched, "retraction", "retractions")
                    ));
                }
                for rows in fold.final_rows() {
                    self.writer
                        .write(&rows.map_err(io::Error::other)?, None, &mut target.out)?;
                }
            }
            Form::AsTheyCome | Form::Changes => target.title(self.operator, &self.title)?,
        }
        self.writer.finish(&mut target.out)
    }
}

impl Target {
    /// Says whose rows follow, where there are several SELECTs and it is another one's turn.
    fn title(&mut self, operator: usize, title: &str) -> io::Result<()> {
        if self.several && self.last != Some(operator) {
            let gap = if self.last.is_some() { "\n" } else { "" };
            writeln!(self.out, "{gap}-- {title}")?;
        }
        self.last = Some(operator);
        Ok(())
    }
}

/// `select_2 (line 58)`: the node's name and its place.
fn title(operator: &Operator) -> String {
    let id = operator.id.as_str();
    let name = id.rsplit_once('/').map_or(id, |(path, _)| path);
    match operator.span.start.line {
        0 => name.to_owned(),
        line => format!("{name} (line {line})"),
    }
}

/// How wide the terminal is that is printed to; `None`: it is none, or does not know.
fn terminal_columns() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let columns = crossterm::terminal::size().map_or(0, |(columns, _)| usize::from(columns));
    (columns > 0).then_some(columns)
}

fn writer(
    options: PrintOptions,
    columns: Vec<Column>,
    with_op: bool,
    terminal: Option<usize>,
) -> anyhow::Result<Box<dyn RowWriter>> {
    Ok(match options.format {
        Format::Table => Box::new(Table::new(columns, with_op).within(terminal)),
        Format::Json => Box::new(Lines::new(PrintFormat::Json, &columns, with_op)),
        Format::Csv => Box::new(Lines::new(PrintFormat::Csv, &columns, with_op)),
        Format::Parquet => Box::new(Parquet::new(&columns, with_op)?),
    })
}

#[cfg(test)]
mod tests;
