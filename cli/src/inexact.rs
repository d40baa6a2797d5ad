//! What earlier edits of a job's query left inexact, for whoever lists jobs or looks into a checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};
use weir_engine::{Before, Evolution};
use weir_planner::compare::Exactness;

/// An operator or a sink that an earlier edit left inexact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InexactPart {
    pub(crate) id: String,
    /// How far it is exact.
    pub(crate) what: String,
}

/// What the newest checkpoint of a job says, if it is on this machine: nobody waits for a store to be told of jobs.
pub(crate) fn inexact_of_job(job: &str, folder: &Path) -> Vec<InexactPart> {
    if !folder.join("checkpoints").is_dir() {
        return Vec::new();
    }
    let before = Before::of_job(job, folder, None).ok();
    let edits = before.and_then(|before| Evolution::of(&before.manifest).ok());
    edits.map_or_else(Vec::new, |edits| inexact(&edits))
}

/// Says it behind a list of jobs.
pub(crate) fn print_inexact(job: &str, parts: &[InexactPart]) {
    if parts.is_empty() {
        return;
    }
    println!("\n{job}: since an edit of its query");
    for part in parts {
        println!("  {}: {}", part.id, part.what);
    }
}

/// What earlier edits left inexact, each with how far it is.
pub(crate) fn inexact(edits: &Evolution) -> Vec<InexactPart> {
    let marks = edits.marks.iter().filter_map(|(id, exact)| {
        let what = match exact {
            Exactness::Yes => return None,
            Exactness::No => "not exact".to_owned(),
            Exactness::From(time) => format!("exact for windows that start at {time} or later"),
            Exactness::Open(time) if time.0 == i64::MIN => {
                "exact for what had not been given yet".to_owned()
            }
            Exactness::Open(time) => format!("exact for windows that end after {time}"),
            Exactness::Columns(columns) => {
                let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                format!("exact in {}", columns.join(", "))
            }
        };
        Some(InexactPart {
            id: id.to_string(),
            what,
        })
    });
    let sinks = edits.sinks_with_old_rows.iter();
    let sinks = sinks.map(|id| InexactPart {
        id: id.to_string(),
        what: "holds rows of an earlier query".to_owned(),
    });
    marks.chain(sinks).collect()
}
