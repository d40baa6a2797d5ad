//! `weir explain FILE`: the plan as a tree, a drawing or JSON; with --analyze after it ran.

use std::io::Write;

use crate::arguments::{ExplainOptions, PlanFormat};
use crate::exit::{Code, Failure};
use crate::print::is_closed_pipe;
use crate::query_file::{QueryFile, is_statement};

/// Prints the plan of the whole file to standard output, warnings to standard error.
pub(crate) fn explain(options: &ExplainOptions) -> Result<Code, Failure> {
    let text = options.file.to_string_lossy();
    let file = if is_statement(&text) && !options.file.exists() {
        QueryFile::of_text("query", &text)
    } else {
        QueryFile::read_with(&options.file, &options.set)?
    };
    let planned = file.plan()?;
    file.warn(&planned.warnings);
    let format = if options.json {
        PlanFormat::Json
    } else {
        options.format
    };
    let mut text = match format {
        PlanFormat::Text | PlanFormat::Json if options.analyze => {
            let as_json = format == PlanFormat::Json;
            crate::analyze::analyze(&file, planned.plan, options, as_json)?
        }
        PlanFormat::Dot | PlanFormat::Mermaid if options.analyze => {
            return Err(Failure::usage(
                "--analyze prints text or JSON: --format text, --json",
            ));
        }
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
