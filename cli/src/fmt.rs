//! `weir fmt`: SQL files as they are written here.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use weir_planner::Catalog;

use crate::exit::{Code, Failure};
use crate::query_file::QueryFile;

/// `weir fmt`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir fmt queries/*.sql
  weir fmt --check queries/*.sql     (exit code 1 if something would change)
  weir fmt - < draft.sql")]
pub(crate) struct FmtOptions {
    /// The files; `-` is standard input, written to standard output.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Changes nothing, and says what would be changed.
    #[arg(long)]
    pub(crate) check: bool,
    /// Prints the files that were, or would be, changed as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn fmt(options: &FmtOptions) -> Result<Code, Failure> {
    let mut changed = Vec::new();
    for path in &options.files {
        if path.as_os_str() == "-" {
            let mut sql = String::new();
            std::io::stdin()
                .read_to_string(&mut sql)
                .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
            print!("{}", formatted("standard input", &sql)?);
            continue;
        }
        let file = QueryFile::read_source(path)?;
        let text = formatted(&file.shown, &file.sql)?;
        if text == file.sql {
            continue;
        }
        if !options.check {
            replace(path, &text)?;
        }
        if !options.json {
            let what = if options.check {
                " would be changed"
            } else {
                ""
            };
            println!("{}{what}", file.shown);
        }
        changed.push(file.shown);
    }
    if options.json {
        println!("{}", serde_json::json!({"changed": changed}));
    }
    Ok(if options.check && !changed.is_empty() {
        Code::Failed
    } else {
        Code::Done
    })
}

/// The formatted text, which plans as the text does: if it did not, that would be a mistake of ours, and nothing is written.
fn formatted(shown: &str, sql: &str) -> Result<String, Failure> {
    let text = weir_planner::format::format(sql);
    if text != sql && !plans_alike(sql, &text) {
        return Err(Failure::failed(format!(
            "{shown}: formatting would change its meaning, so it is left alone; this is a mistake in Weir, please report the file"
        )));
    }
    Ok(text)
}

/// Whether both give the same plan but for places, or neither gives one.
fn plans_alike(one: &str, other: &str) -> bool {
    let catalog: &dyn Catalog = &weir_engine::ConnectorCatalog;
    match (
        weir_planner::plan(one, catalog),
        weir_planner::plan(other, catalog),
    ) {
        (Ok(one), Ok(other)) => without_places(&one.plan) == without_places(&other.plan),
        (Err(one), Err(other)) => one.0.len() == other.0.len(),
        _ => false,
    }
}

/// A plan as JSON, without where its parts stand in the text.
fn without_places(plan: &weir_planner::plan::StreamPlan) -> Option<serde_json::Value> {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(object) => {
                object.retain(|key, _| !key.contains("span"));
                object.values_mut().for_each(strip);
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(plan).ok()?;
    strip(&mut value);
    Some(value)
}

/// Writes beside the file and renames, so that a crash leaves one or the other.
fn replace(path: &PathBuf, text: &str) -> Result<(), Failure> {
    let beside = path.with_extension("sql.new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}
