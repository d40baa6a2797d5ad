//! `weir diff NEW --from OLD`: what an edit does to the state of a running job, before anything stops.

use std::io::Write;

use weir_engine::ConnectorCatalog;
use weir_planner::compare::{Choices, Past, advice, compare};

use crate::arguments::DiffOptions;
use crate::exit::{Code, Failure};
use crate::print::is_closed_pipe;
use crate::query_file::QueryFile;

/// Prints the report to standard output.
pub(crate) fn diff(options: &DiffOptions) -> Result<Code, Failure> {
    let new = QueryFile::read(&options.file)?;
    let old = QueryFile::read(&options.from)?;
    let (planned, before) = (new.plan()?, old.plan()?);
    new.warn(&planned.warnings);
    let choices = Choices {
        replay: crate::evolution::replay(&options.replay),
        renames: options.rename.iter().cloned().collect(),
    };
    let past = Past::default();
    let report = compare(
        &before.plan,
        &planned.plan,
        &past,
        &choices,
        &ConnectorCatalog,
    );
    let text = if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(Failure::failed)?;
        format!("{json}\n")
    } else {
        advice(&report)
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if !is_closed_pipe(&error) => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        _ => Ok(Code::Done),
    }
}
