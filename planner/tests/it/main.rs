//! The planner from outside: what it accepts, and the exact words of what it refuses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accepted;
mod embedding;
mod errors;
mod evolution;
mod hostile;
mod pages;
mod plans;
mod properties;
mod rules;
mod tables;

use std::collections::BTreeMap;

use weir_planner::{Catalog, SourceTraits};
use weir_types::{DataType, Diagnostics};

/// A catalog with three rules of real connectors: a file of plain CSV or JSON rows cannot take rows back, one of
/// changelog records can, and a folder that is followed has no end.
struct Files;

impl Catalog for Files {
    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits {
        SourceTraits {
            retractions: options
                .get("format")
                .is_some_and(|format| format == "changelog-json"),
            ..weir_planner::AnyCatalog.source_traits(options)
        }
    }

    fn sink_accepts_retractions(&self, options: &BTreeMap<String, String>) -> bool {
        !matches!(
            options.get("format").map(String::as_str),
            Some("csv" | "json")
        ) || options.get("mode").is_some_and(|mode| mode == "snapshot")
    }

    fn metadata_type(&self, _options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
        match key {
            "file" => Some(DataType::String),
            "offset" | "line" => Some(DataType::Int64),
            _ => None,
        }
    }
}

/// Everything that the planner has to say about a text: errors, or else warnings.
fn diagnose(sql: &str) -> Diagnostics {
    match weir_planner::plan(sql, &Files) {
        Ok(planned) => Diagnostics(planned.warnings),
        Err(problems) => problems,
    }
}

/// Compares `actual` with the file; with UPDATE=1 in the environment writes it instead.
fn check_snapshot(path: &std::path::Path, actual: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, actual).expect("a snapshot can be written");
        return Ok(());
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    Err(format!(
        "{} differs (UPDATE=1 rewrites it)\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    ))
}
