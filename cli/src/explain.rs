//! `weir explain FILE`: the plan as a tree or as JSON.

use std::io::Write;

use crate::arguments::{ExplainOptions, PlanFormat};
use crate::exit::{Code, Failure};
use crate::print::is_closed_pipe;
use crate::query_file::QueryFile;

/// Prints the plan of the whole file to standard output, warnings to standard error.
pub(crate) fn explain(options: &ExplainOptions) -> Result<Code, Failure> {
    let file = QueryFile::read(&options.file)?;
    let planned = file.plan()?;
    file.warn(&planned.warnings);
    let format = if options.json {
        PlanFormat::Json
    } else {
        options.format
    };
    let mut text = match format {
        PlanFormat::Json => serde_json::to_string_pretty(&planned.plan).map_err(Failure::failed)?,
        PlanFormat::Text => weir_planner::explain(&planned.plan),
        PlanFormat::Dot => crate::graph::dot(&planned.plan),
        PlanFormat::Mermaid => crate::graph::mermaid(&planned.plan),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if !is_closed_pipe(&error) => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        _ => Ok(Code::Done),
    }
}
