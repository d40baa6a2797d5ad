//! Rows in aligned columns.
//!
//! ```text
//!  origin │ flights
//! ────────┼─────────
//!  EWR    │     120
//! (1 row)
//! ```
//!
//! The first rows are held until there are enough of them, or until nothing more comes for now, to find the widths.
//! Then rows are written through; one that is wider than its column pushes its neighbours aside.
//!
//! Rows that are wider than the terminal would be torn into lines that nobody can read: there each row is a list.
//!
//! ```text
//! ─ row 1 ──────────
//!  origin  │ EWR
//!  flights │ 120
//! ```

use std::io::{self, Write};

use arrow::array::RecordBatch;
use unicode_width::UnicodeWidthStr;
use weir_connectors::{Op, plain_texts};
use weir_types::Column;

use crate::print::RowWriter;
use crate::text::counted;

/// So many rows decide the widths of the columns.
const HELD_ROWS_MAX: usize = 1000;
/// The line above a list is no longer than this.
const RULE_COLUMNS_MAX: usize = 60;

pub(crate) struct Table {
    /// Without the `op`.
    columns: Vec<Column>,
    header: Vec<String>,
    /// Width of each column, once it is decided.
    widths: Option<Vec<usize>>,
    /// Whether each column is aligned to the right.
    right: Vec<bool>,
    held: Vec<Vec<String>>,
    rows: u64,
    /// Columns of the terminal, if it is one.
    terminal: Option<usize>,
    /// Each row is a list; so many were written.
    lists: Option<u64>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>, with_op: bool) -> Self {
        let op = with_op.then(|| "op".to_owned());
        let names = columns.iter().map(|column| column.external().to_owned());
        let header: Vec<String> = op.into_iter().chain(names).collect();
        let right = vec![false; header.len()];
        Self {
            columns,
            header,
            widths: None,
            right,
            held: Vec::new(),
            rows: 0,
            terminal: None,
            lists: None,
        }
    }

    /// For a terminal of so many columns.
    pub(crate) fn within(self, terminal: Option<usize>) -> Self {
        Self { terminal, ..self }
    }

    /// Decides the widths if they are not yet, and writes what was held.
    fn release(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_none() {
            let mut widths: Vec<usize> = self.header.iter().map(|name| name.width()).collect();
            for row in &self.held {
                for (width, cell) in widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.width());
                }
            }
            let whole = widths.iter().map(|width| width + 3).sum::<usize>();
            if !self.held.is_empty() && self.terminal.is_some_and(|columns| whole > columns + 1) {
                self.lists = Some(0);
            }
            self.widths = Some(widths);
            if self.lists.is_none() {
                self.write_head(out)?;
            }
        }
        if let Some(written) = &mut self.lists {
            let rule = self.terminal.unwrap_or_default().min(RULE_COLUMNS_MAX);
            for row in self.held.drain(..) {
                *written += 1;
                write_list(&self.header, &row, *written, rule, out)?;
            }
            return Ok(());
        }
        let widths = self.widths.as_deref().unwrap_or_default();
        for row in self.held.drain(..) {
            write_row(&row, widths, &self.right, out)?;
        }
        Ok(())
    }

    /// Names and the line below them.
    fn write_head(&self, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths.as_deref().unwrap_or_default();
        // Names of numbers stand above the numbers.
        write_row(&self.header, widths, &self.right, out)?;
        let rules: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        writeln!(out, "{}", rules.join("┼"))
    }
}

impl RowWriter for Table {
    fn write(
        &mut self,
        rows: &RecordBatch,
        ops: Option<&[Op]>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let first = usize::from(ops.is_some());
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (i, column) in rows.columns().iter().enumerate() {
            self.right[first + i] = column.data_type().is_numeric();
            columns.push(plain_texts(column, &self.columns[i]));
        }
        for row in 0..rows.num_rows() {
            let op = ops.map(|ops| ops[row].text().to_owned());
            let cells = columns.iter_mut().map(|column| {
                column[row]
                    .take()
                    .map_or_else(|| "NULL".to_owned(), one_line)
            });
            self.held.push(op.into_iter().chain(cells).collect());
            self.rows += 1;
            if self.held.len() >= HELD_ROWS_MAX {
                self.release(out)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.release(out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.release(out)?;
        writeln!(out, "({})", counted(self.rows, "row", "rows"))
    }
}

/// A row as a list of names and values.
fn write_list(
    names: &[String],
    cells: &[String],
    number: u64,
    rule: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let title = format!("─ row {number} ");
    let rest = rule.saturating_sub(title.width());
    writeln!(out, "{title}{}", "─".repeat(rest))?;
    let widest = names.iter().map(|name| name.width()).max().unwrap_or(0);
    for (name, cell) in names.iter().zip(cells) {
        let pad = " ".repeat(widest - name.width());
        writeln!(out, " {name}{pad} │ {cell}")?;
    }
    Ok(())
}

fn write_row(
    cells: &[String],
    widths: &[usize],
    right: &[bool],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut line = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let pad = " ".repeat(widths[i].saturating_sub(cell.width()));
        let (before, after) = if right[i] {
            (pad.as_str(), "")
        } else {
            ("", pad.as_str())
        };
        line.push_str(if i == 0 { " " } else { "│ " });
        line.push_str(before);
        line.push_str(cell);
        line.push_str(after);
        line.push(' ');
    }
    writeln!(out, "{}", line.trim_end())
}

/// A line break in a value would tear the table apart; other control characters could command the terminal.
fn one_line(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text
    }
}
