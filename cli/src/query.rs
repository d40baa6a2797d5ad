//! `weir query 'SELECT …'`: one statement, and standard input as a table.
//!
//! ```text
//!   seq 1 1000000 | weir query "SELECT sum(column1) FROM stdin"
//!        │                              └ its columns come from the first lines, unless --columns says them
//!        └ read as it comes: each row of an append-only result is printed at once
//! ```
//!
//! It keeps nothing: no folder, no checkpoint, no lock. Standard input ends, and with it the query; a closed pipe behind it is a
//! stop like any other.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use weir_connectors::{Asked, FileKind, infer_text, sample_stdin};
use weir_engine::{QueryStream, Session, SessionOptions, declaration};
use weir_planner::lexemes::{LexemeKind, lexemes};

use crate::arguments::{Format, key_and_value};
use crate::exit::{Code, Failure};
use crate::print::{Cut, ends, is_closed_pipe, print_rows_to};
use crate::query_file::QueryFile;
use crate::signals::StopRequest;

/// So many bytes of standard input are looked at.
const SAMPLE_BYTES: usize = 1 << 18;
/// And for so long, once a first line is there: what a file or a generator gives at once is all in it.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(60);

/// `weir query`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir query \"SELECT 1 + 1 AS two\"
  weir query \"SELECT city, count(*) AS n FROM 'rides/*.csv' GROUP BY city\"
  weir query \"SELECT * FROM 'rides/*.csv' WHERE km > 100\" --output far.parquet
  seq 1 1000000 | weir query \"SELECT sum(column1) FROM stdin\"
  tail -f access.log | weir query \"SELECT * FROM stdin WHERE line LIKE '% 500 %'\"
  tail -f orders.json | weir query --changelog \"SELECT status, count(*) AS n FROM stdin GROUP BY status\"")]
pub(crate) struct QueryOptions {
    /// A SELECT over files ('data/*.csv', read_json('…')) and standard input (stdin); `-` reads it from a file: -f.
    pub(crate) sql: Option<String>,
    /// Declarations, and a SELECT at the end, from a file.
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "sql")]
    pub(crate) file: Option<PathBuf>,

    /// How the rows are written [default: as the name of --output ends, else table].
    #[arg(long, value_enum)]
    pub(crate) format: Option<QueryFormat>,
    /// As --format json.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Writes the rows to a file instead of standard output; it is there when the query has ended well.
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Prints every change (+I -U +U -D) as it comes instead of the final rows.
    #[arg(long)]
    pub(crate) changelog: bool,

    /// What standard input holds, if its first lines do not show it.
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Standard input")]
    pub(crate) input: Option<Input>,
    /// Its columns, as CREATE TABLE writes them: "at TIMESTAMP(3), city STRING, WATERMARK FOR at AS at".
    #[arg(long, value_name = "COLUMNS", help_heading = "Standard input")]
    pub(crate) columns: Option<String>,
    // Not a doc comment: rustdoc takes the group's name for a tag.
    #[arg(
        long,
        value_name = "KEY=VALUE",
        value_parser = key_and_value,
        help_heading = "Standard input",
        help = r"An option of its format, for example csv.delimiter=; or text.pattern='(?<ip>\S+) .*'"
    )]
    pub(crate) with: Vec<(String, String)>,

    /// Number of workers [default: one for each core].
    #[arg(long, short = 'p', value_name = "N", help_heading = "Job")]
    pub(crate) parallelism: Option<u32>,
    /// Any setting, as `SET 'key' = 'value'` would.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, help_heading = "Job")]
    pub(crate) set: Vec<(String, String)>,
}

impl QueryOptions {
    fn format(&self) -> Format {
        let ending = self.output.as_ref().and_then(|path| path.extension());
        let ending = ending.and_then(|ending| ending.to_str());
        match (self.json, self.format, ending) {
            (true, _, _) => Format::Json,
            (false, Some(QueryFormat::Table), _) => Format::Table,
            (false, Some(QueryFormat::Json), _) => Format::Json,
            (false, Some(QueryFormat::Csv), _) => Format::Csv,
            (false, Some(QueryFormat::Parquet), _) => Format::Parquet,
            (false, None, Some("parquet")) => Format::Parquet,
            (false, None, Some("json" | "jsonl" | "ndjson")) => Format::Json,
            (false, None, Some("csv")) => Format::Csv,
            (false, None, _) => Format::Table,
        }
    }
}

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// Aligned columns.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// One Parquet file.
    Parquet,
}

/// The file of `--output` while it is written: under a name of its own beside it, which goes if the query fails.
struct OutputFile {
    part: PathBuf,
    path: PathBuf,
    whole: bool,
}

impl OutputFile {
    fn create(path: &Path) -> Result<(Self, File), Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        };
        let name = path.file_name().ok_or_else(|| {
            Failure::usage(format!(
                "--output {}: that is no file's name",
                path.display()
            ))
        })?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(hidden);
        let file = File::create(&part).map_err(failed)?;
        let output = Self {
            part,
            path: path.to_owned(),
            whole: false,
        };
        Ok((output, file))
    }

    /// All rows are in it.
    fn publish(mut self) -> Result<(), Failure> {
        std::fs::rename(&self.part, &self.path).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", self.path.display()))
        })?;
        self.whole = true;
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.whole {
            // Half a result is none.
            drop(std::fs::remove_file(&self.part));
        }
    }
}

/// What standard input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Input {
    /// Fields between delimiters.
    Csv,
    /// One JSON object a line.
    Json,
    /// Lines as they are, in the column `line`.
    Lines,
}

/// Runs the command.
pub(crate) fn query(options: &QueryOptions) -> Result<Code, Failure> {
    let file = match (&options.sql, &options.file) {
        (Some(sql), _) => QueryFile::of_text("query", sql),
        (None, Some(path)) => QueryFile::read(path)?,
        (None, None) => {
            return Err(Failure::usage(
                "weir query 'SELECT …'; weir query --help shows examples",
            ));
        }
    };
    let defaults = crate::defaults::Defaults::read()?;
    let mut settings = defaults.environment;
    settings.extend(options.set.iter().cloned());
    settings.extend(
        options
            .parallelism
            .map(|count| ("parallelism".to_owned(), count.to_string())),
    );
    let mut session = Session::with_options(SessionOptions {
        state_root: None,
        settings,
        ..SessionOptions::default()
    });
    declare_settings(&mut session, &defaults.file)?;
    if mentions_stdin(&file.sql) {
        declare_stdin(&mut session, options)?;
    }
    let statements = Session::statements(&file.sql);
    let Some((last, before)) = statements.split_last() else {
        return Err(Failure::usage("there is no statement to run"));
    };
    let failed = |error: weir_engine::Error| Failure::engine(&file, &error);
    for range in before {
        let done = session
            .execute_one(&file.sql, range.clone())
            .map_err(failed)?;
        file.warn(&done.warnings);
        if matches!(done.answer, weir_engine::Answer::Started(_)) {
            return Err(Failure::usage(
                "`weir query` keeps no jobs: run an INSERT with `weir run`",
            ));
        }
    }
    let done = session
        .execute_one(&file.sql, last.clone())
        .map_err(failed)?;
    file.warn(&done.warnings);
    match done.answer {
        weir_engine::Answer::Rows(rows) => show(&file, *rows, options),
        weir_engine::Answer::Text(text) => {
            println!("{text}");
            Ok(Code::Done)
        }
        weir_engine::Answer::Started(_) => Err(Failure::usage(
            "`weir query` runs a SELECT; run an INSERT with `weir run`",
        )),
        _ => Ok(Code::Done),
    }
}

/// Prints until the end, a signal, or nobody reads any more.
fn show(file: &QueryFile, rows: QueryStream, options: &QueryOptions) -> Result<Code, Failure> {
    let stop = StopRequest::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    if options.format() == Format::Parquet
        && options.output.is_none()
        && std::io::stdout().is_terminal()
    {
        return Err(Failure::mistake(
            "[R0102] a Parquet file is nothing for a terminal: name a file, --output rides.parquet, or send it on, > rides.parquet",
        ));
    }
    let output = options.output.as_deref().map(OutputFile::create);
    let (output, out) = match output.transpose()? {
        Some((output, file)) => {
            let out: Box<dyn std::io::Write + Send> =
                Box::new(std::io::BufWriter::with_capacity(1 << 16, file));
            (Some(output), Some(out))
        }
        None => (None, None),
    };
    let on_terminal = out.is_none() && std::io::stdout().is_terminal() && crate::repl::is_capable();
    if on_terminal
        && rows.is_updating()
        && !ends(&rows)
        && !options.changelog
        && options.format() == Format::Table
    {
        return crate::repl::live_view(rows)
            .map(|()| Code::Done)
            .map_err(|error| Failure::engine(file, &error));
    }
    let (format, changelog) = (options.format(), options.changelog);
    match print_rows_to(out, rows, format, changelog, || stop.asked()) {
        Err(Cut::Query(error)) => Err(Failure::engine(file, &error)),
        Err(Cut::Form(why)) => Err(Failure::mistake(why)),
        Err(Cut::Output(error)) if !is_closed_pipe(&error) => Err(Failure::failed(format!(
            "cannot print the results: {error}"
        ))),
        _ => output
            .map_or(Ok(()), OutputFile::publish)
            .map(|()| Code::Done),
    }
}

/// Settings of `weir.toml`: as if SET stood in front of all.
pub(crate) fn declare_settings(
    session: &mut Session,
    settings: &[(String, String)],
) -> Result<(), Failure> {
    for (key, value) in settings {
        let sql = format!("SET '{key}' = '{}'", value.replace('\'', "''"));
        session
            .execute(&sql)
            .map_err(|error| Failure::plain(&error))?;
    }
    Ok(())
}

/// Whether the text speaks of `stdin`.
fn mentions_stdin(sql: &str) -> bool {
    lexemes(sql)
        .iter()
        .any(|piece| piece.kind == LexemeKind::Word && piece.is(sql, "stdin"))
}

/// Declares the table `stdin`.
fn declare_stdin(session: &mut Session, options: &QueryOptions) -> Result<(), Failure> {
    let kind = options.input.map(|input| match input {
        Input::Csv => FileKind::Csv,
        Input::Json => FileKind::Json,
        Input::Lines => FileKind::Lines,
    });
    let mut asked = Asked {
        kind,
        options: options.with.iter().cloned().collect(),
    };
    let ddl = match &options.columns {
        Some(columns) => {
            let format = match options.input {
                Some(Input::Json) => "json",
                Some(Input::Lines) => "text",
                Some(Input::Csv) | None => "csv",
            };
            asked
                .options
                .entry("format".to_owned())
                .or_insert_with(|| format.to_owned());
            if format == "csv" {
                asked
                    .options
                    .entry("csv.header".to_owned())
                    .or_insert_with(|| "false".to_owned());
            }
            let text = declaration("stdin", &[], &with_options(asked.options));
            text.replacen("(\n\n)", &format!("({columns})"), 1)
        }
        None => {
            if std::io::stdin().is_terminal() {
                return Err(Failure::usage(
                    "standard input is the terminal: pipe something into it, for example `seq 10 | weir query \"SELECT * FROM stdin\"`",
                ));
            }
            let (sample, whole) = sample_stdin(SAMPLE_BYTES, SAMPLE_PATIENCE)
                .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
            let found = infer_text(&[&sample], whole, &asked).map_err(|why| {
                Failure::usage(format!(
                    "the columns of standard input cannot be told: {why}\n  help: say them: --columns \"a BIGINT, b STRING\", and what it \
                     holds: --input csv, json or lines"
                ))
            })?;
            declaration("stdin", &found.columns, &with_options(found.options))
        }
    };
    let file = QueryFile::of_text("stdin", &ddl);
    session
        .execute(&ddl)
        .map(drop)
        .map_err(|error| Failure::engine(&file, &error))
}

fn with_options(options: std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
    std::iter::once(("connector".to_owned(), "stdin".to_owned()))
        .chain(options)
        .collect()
}
