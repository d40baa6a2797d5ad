//! `weir savepoint`: create, list, inspect, verify, delete.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_engine::{
    ControlClient, Evolution, SAVEPOINTS, SavepointOrder, savepoint_of_checkpoint, savepoints_in,
};
use weir_state::{ColumnRole, Manifest, SavedTable, Savepoint};
use weir_types::{CheckpointId, EventTime};

use crate::arguments::Format;
use crate::exit::{Code, Failure};
use crate::inexact::inexact;
use crate::remote::ServerFlags;
use crate::state;
use crate::target::{State, is_url, job_folder, open, savepoint, scratch, settings};
use crate::text::{bytes, counted, grouped};

/// `weir savepoint`.
#[derive(Args)]
pub(crate) struct SavepointOptions {
    #[command(subcommand)]
    command: SavepointCommand,
}

#[derive(Subcommand)]
enum SavepointCommand {
    /// Makes a savepoint of a running job, or of a checkpoint of one that is not running.
    #[command(after_help = "Examples:
  weir savepoint create rides
  weir savepoint create rides --name monday --note 'before the price change'
  weir savepoint create rides /backup/rides --json
  weir savepoint create rides --from-checkpoint=12")]
    Create(CreateOptions),
    /// Lists the savepoints of a job, or those in a folder.
    #[command(after_help = "Examples:
  weir savepoint list rides
  weir savepoint list /backup --json | jq -r '.[].folder'")]
    List(ListOptions),
    /// Shows what is in a savepoint: operators, tables, columns, sizes, positions; or rows of a table.
    #[command(after_help = "Examples:
  weir savepoint inspect rides/monday
  weir savepoint inspect rides/monday --rows '\"totals/aggregate\".\"groups\"' --where \"city = 'Oslo'\"")]
    Inspect(InspectOptions),
    /// Reads every file of a savepoint and compares it with its checksum.
    #[command(after_help = "Examples:
  weir savepoint verify rides/monday
  weir savepoint verify /backup/rides --json")]
    Verify(NamedOptions),
    /// Deletes a savepoint.
    #[command(after_help = "Examples:
  weir savepoint delete rides/monday")]
    Delete(NamedOptions),
}

#[derive(Args)]
struct CreateOptions {
    /// The job.
    job: String,
    /// The folder to write, or the URL of one in an object store [default: .weir/JOB/savepoints/NAME].
    dir: Option<PathBuf>,
    /// Its name [default: savepoint-N of checkpoint N].
    #[arg(long)]
    name: Option<String>,
    /// A note to keep with it.
    #[arg(long)]
    note: Option<String>,
    /// Of a job that is not running: from this checkpoint, or from the newest whole one.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "newest", require_equals = true)]
    from_checkpoint: Option<String>,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER", conflicts_with = "server")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    server: ServerFlags,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ListOptions {
    /// The job, or a folder or URL with savepoints in it.
    job: String,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct InspectOptions {
    /// A savepoint's folder or URL, or JOB/NAME.
    savepoint: String,
    /// Reads the rows of this table: '"operator id"."table"'.
    #[arg(long, value_name = "TABLE")]
    rows: Option<String>,
    /// With --rows: only those for which this SQL condition holds.
    #[arg(long = "where", value_name = "CONDITION", requires = "rows")]
    condition: Option<String>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct NamedOptions {
    /// A savepoint's folder or URL, or JOB/NAME.
    savepoint: String,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(options: &SavepointOptions) -> Result<Code, Failure> {
    match &options.command {
        SavepointCommand::Create(options) => create(options),
        SavepointCommand::List(options) => list(options),
        SavepointCommand::Inspect(options) => inspect(options),
        SavepointCommand::Verify(options) => verify(options),
        SavepointCommand::Delete(options) => delete(options),
    }
}

/// A folder that another process is told has to be absolute.
pub(crate) fn order(
    dir: Option<&PathBuf>,
    name: Option<&String>,
    note: Option<&String>,
) -> Result<SavepointOrder, Failure> {
    let folder = dir.map(|dir| {
        if is_url(&dir.to_string_lossy()) {
            return Ok(dir.clone());
        }
        std::path::absolute(dir)
            .map_err(|error| Failure::usage(format!("{}: {error}", dir.display())))
    });
    Ok(SavepointOrder {
        folder: folder.transpose()?,
        name: name.cloned(),
        note: note.cloned(),
    })
}

fn create(options: &CreateOptions) -> Result<Code, Failure> {
    if options.state_dir.is_none()
        && options.from_checkpoint.is_none()
        && let Some(client) = options.server.named()?
    {
        let named = (
            options.dir.as_ref(),
            options.name.as_ref(),
            options.note.as_ref(),
        );
        return crate::remote::savepoint(&client, &options.job, named, options.json);
    }
    let folder = job_folder(&options.job, options.state_dir.as_deref());
    let order = order(
        options.dir.as_ref(),
        options.name.as_ref(),
        options.note.as_ref(),
    )?;
    let plain = |error| Failure::plain(&error);
    let made = if let Some(from) = &options.from_checkpoint {
        let number = match from.as_str() {
            "newest" => None,
            number => Some(CheckpointId(number.parse().map_err(|_| {
                Failure::usage("--from-checkpoint takes the number of a checkpoint, or nothing")
            })?)),
        };
        savepoint_of_checkpoint(&options.job, &folder, number, &order).map_err(plain)?
    } else {
        let client = ControlClient::connect(&folder).map_err(plain)?;
        let client = client.ok_or_else(|| not_running(&options.job, &folder))?;
        let written = client.savepoint(order).map_err(plain)?;
        open(&written, Some(&folder))?
    };
    tell_created(&made, options.json)
}

/// Why nobody can be asked.
pub(crate) fn not_running(job: &str, folder: &std::path::Path) -> Failure {
    if !folder.is_dir() {
        return Failure::refused(format!(
            "[S0027] job `{job}` is not running: there is no folder {}; `weir jobs` lists those that are here, and --state-dir says where \
             its state is",
            folder.display()
        ));
    }
    Failure::refused(format!(
        "[S0027] job `{job}` is not running: run it with `weir run`, or make a savepoint of its newest checkpoint with \
         `weir savepoint create {job} --from-checkpoint`"
    ))
}

/// Says where a savepoint is.
pub(crate) fn tell_created(made: &Savepoint, as_json: bool) -> Result<Code, Failure> {
    if as_json {
        println!("{}", summary(made));
    } else {
        let totals = made.manifest.totals;
        println!(
            "savepoint {}: {}, {} in {}",
            made.manifest.name,
            counted(totals.rows, "row", "rows"),
            bytes(totals.bytes),
            made.folder.display()
        );
    }
    Ok(Code::Done)
}

/// A savepoint in one JSON object.
pub(crate) fn summary(savepoint: &Savepoint) -> Value {
    let manifest = &savepoint.manifest;
    json!({
        "name": manifest.name,
        "folder": savepoint.folder,
        "note": manifest.note,
        "job": manifest.checkpoint.job,
        "checkpoint": manifest.checkpoint.checkpoint,
        "created_at": manifest.created_at,
        "created_by": manifest.created_by,
        "rows": manifest.totals.rows,
        "bytes": manifest.totals.bytes,
        "files": manifest.totals.files,
    })
}

fn seconds(micros: i64) -> String {
    // Whole seconds are what people compare.
    EventTime(micros.div_euclid(1_000_000) * 1_000_000).to_string()
}

fn list(options: &ListOptions) -> Result<Code, Failure> {
    let named = PathBuf::from(&options.job);
    let own = job_folder(&options.job, options.state_dir.as_deref());
    let folder = if is_url(&options.job) {
        named
    } else if own.join("owner.json").is_file() || !named.is_dir() {
        own.join(SAVEPOINTS)
    } else {
        named
    };
    let settings = settings(options.state_dir.as_deref())?;
    let (found, unreadable) =
        savepoints_in(&folder, &settings).map_err(|error| Failure::plain(&error))?;
    for problem in &unreadable {
        eprintln!("warning: {problem}");
    }
    if options.json {
        let all: Vec<Value> = found.iter().map(summary).collect();
        println!("{}", Value::Array(all));
        return Ok(Code::Done);
    }
    if found.is_empty() {
        println!("no savepoints in {}", folder.display());
    }
    for savepoint in &found {
        let manifest = &savepoint.manifest;
        println!(
            "{}  {} UTC  checkpoint {}  {}  {}{}",
            manifest.name,
            seconds(manifest.created_at),
            manifest.checkpoint.checkpoint,
            counted(manifest.totals.rows, "row", "rows"),
            bytes(manifest.totals.bytes),
            manifest
                .note
                .as_ref()
                .map_or_else(String::new, |note| format!("  {note}")),
        );
    }
    Ok(Code::Done)
}

fn inspect(options: &InspectOptions) -> Result<Code, Failure> {
    let savepoint = savepoint(&options.savepoint, options.state_dir.as_deref())?;
    if let Some(table) = &options.rows {
        let condition = options
            .condition
            .as_ref()
            .map_or_else(String::new, |condition| format!(" WHERE {condition}"));
        let sql = format!("SELECT * FROM {table}{condition}");
        let folder = savepoint.folder.to_string_lossy().into_owned();
        let state = State::open(&folder, options.state_dir.as_deref())?;
        let format = if options.json {
            Format::Json
        } else {
            options.format
        };
        return state::query(state, &sql, format);
    }
    if options.json {
        let mut all = serde_json::to_value(&savepoint.manifest)
            .map_err(|error| Failure::failed(format!("cannot print the manifest: {error}")))?;
        all["folder"] = json!(savepoint.folder);
        println!("{all}");
        return Ok(Code::Done);
    }
    print!("{}", describe(&savepoint));
    Ok(Code::Done)
}

fn describe(savepoint: &Savepoint) -> String {
    let manifest = &savepoint.manifest;
    let checkpoint = &manifest.checkpoint;
    let mut lines = vec![format!(
        "savepoint {} of job {}",
        manifest.name, checkpoint.job
    )];
    let mut add = |what: &str, text: String| lines.push(format!("  {what:<12} {text}"));
    if let Some(note) = &manifest.note {
        add("note", note.clone());
    }
    add(
        "created",
        format!(
            "{} UTC by {}",
            seconds(manifest.created_at),
            manifest.created_by
        ),
    );
    let clock = seconds(checkpoint.processing_time);
    add(
        "checkpoint",
        format!(
            "{} of start {}, at {clock} UTC{}",
            checkpoint.checkpoint,
            checkpoint.generation,
            if checkpoint.drained {
                ", at the end of all input"
            } else {
                ""
            }
        ),
    );
    let totals = manifest.totals;
    add(
        "size",
        format!(
            "{}, {}, {}",
            counted(totals.rows, "row", "rows"),
            bytes(totals.bytes),
            counted(totals.files, "file", "files")
        ),
    );
    add(
        "written with",
        format!(
            "{}, {}; it can be restored with any number, on either backend",
            counted(u64::from(checkpoint.parallelism), "worker", "workers"),
            counted(u64::from(checkpoint.key_groups), "key group", "key groups")
        ),
    );
    for (operator, splits) in objects(&checkpoint.sources) {
        for (split, place) in objects(splits) {
            lines.push(format!("source {operator}"));
            lines.push(format!("  {split}: {}", position(place)));
        }
    }
    describe_edits(checkpoint, &mut lines);
    for table in &manifest.tables {
        describe_table(table, &mut lines);
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What earlier edits left inexact, and what was accepted.
fn describe_edits(checkpoint: &Manifest, lines: &mut Vec<String>) {
    // What cannot be read is said when it is restored; the rest is worth showing.
    let Ok(edits) = Evolution::of(checkpoint) else {
        lines.push("edits that this release cannot read".to_owned());
        return;
    };
    for part in inexact(&edits) {
        lines.push(format!("edited {}: {}", part.id, part.what));
    }
    for accepted in &edits.accepted {
        lines.push(format!(
            "accepted at checkpoint {}: {} {}; {}",
            accepted.checkpoint, accepted.id, accepted.verdict, accepted.reason
        ));
    }
}

fn objects(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn position(place: &Value) -> String {
    let number = |name: &str| place.get(name).and_then(Value::as_i64);
    let records = number("records").unwrap_or(0) as u64;
    let mut text = counted(records, "record", "records");
    if let Some(watermark) = number("watermark").filter(|at| *at > i64::MIN) {
        text.push_str(&format!(", watermark {}", seconds(watermark)));
    }
    if place.get("ended").and_then(Value::as_bool) == Some(true) {
        text.push_str(", at its end");
    }
    text
}

fn describe_table(table: &SavedTable, lines: &mut Vec<String>) {
    let spec = &table.spec;
    lines.push(format!(
        "table \"{}\".\"{}\": {}, {}",
        spec.operator.as_str().replace('"', "\"\""),
        spec.table.replace('"', "\"\""),
        counted(table.rows, "row", "rows"),
        bytes(table.bytes)
    ));
    let width = table
        .columns
        .iter()
        .map(|column| column.name.chars().count());
    let width = width.max().unwrap_or(0).min(40);
    for column in &table.columns {
        let role = match column.role {
            ColumnRole::KeyGroup => "key group",
            ColumnRole::SliceEnd => "end of its slice of time",
            ColumnRole::Key => "key",
            ColumnRole::Value => "value",
            ColumnRole::Count => "how often the row is there",
        };
        let times = table
            .event_times
            .iter()
            .find(|range| range.column == column.name);
        let times = times.map_or_else(String::new, |range| {
            format!(", {} to {}", seconds(range.from), seconds(range.to))
        });
        lines.push(format!(
            "  {:<width$}  {}  {role}{times}",
            column.name, column.data_type
        ));
    }
}

fn verify(options: &NamedOptions) -> Result<Code, Failure> {
    let savepoint = savepoint(&options.savepoint, options.state_dir.as_deref())?;
    let brought = scratch("verify");
    let verified = savepoint.verify(&brought);
    // It was made for a savepoint that is elsewhere.
    drop(std::fs::remove_dir_all(&brought));
    verified.map_err(|error| Failure::plain(&error.into()))?;
    if options.json {
        println!("{}", summary(&savepoint));
    } else {
        let totals = savepoint.manifest.totals;
        println!(
            "savepoint {}: {} whole, {} rows",
            savepoint.manifest.name,
            counted(totals.files, "file is", "files are"),
            grouped(totals.rows)
        );
    }
    Ok(Code::Done)
}

fn delete(options: &NamedOptions) -> Result<Code, Failure> {
    let savepoint = savepoint(&options.savepoint, options.state_dir.as_deref())?;
    let (name, folder) = (savepoint.manifest.name.clone(), savepoint.folder.clone());
    savepoint
        .delete()
        .map_err(|error| Failure::plain(&error.into()))?;
    if options.json {
        println!("{}", json!({"deleted": folder}));
    } else {
        println!("deleted savepoint {name} in {}", folder.display());
    }
    Ok(Code::Done)
}
