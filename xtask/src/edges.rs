//! Which crate may use which: the drawing of ARCHITECTURE.md, checked.
//!
//! ```text
//!          cli            tests
//!            └─▶ engine ◀──┘
//!      ┌──────────┼──────────┐
//!   planner     state    connectors
//!      └──────────┼──────────┘
//!               types
//! ```
//!
//! # Invariants
//! 1. A crate of ours has exactly the edges that its row allows, or fewer.
//! 2. The planner is a library that others embed: nothing that needs a system package, no runtime, no store.
//! 3. One version each of the crates whose types cross our borders.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use cargo_metadata::Metadata;

struct Row {
    package: &'static str,
    /// Crates of ours that it may use.
    ours: &'static [&'static str],
    /// Outside crates that it must never use directly.
    never: &'static [&'static str],
}

const EVERY_LIBRARY: &[&str] = &[
    "weir-types",
    "weir-planner",
    "weir-state",
    "weir-connectors",
    "weir-engine",
];

const ROWS: &[Row] = &[
    Row {
        package: "weir-types",
        ours: &[],
        never: &[
            "tokio",
            "rocksdb",
            "object_store",
            "datafusion",
            "sqlparser",
        ],
    },
    Row {
        package: "weir-planner",
        ours: &["weir-types"],
        never: &["tokio", "rocksdb", "object_store", "parquet", "datafusion"],
    },
    Row {
        package: "weir-state",
        ours: &["weir-types"],
        never: &[
            "sqlparser",
            "datafusion",
            "datafusion-sql",
            "datafusion-expr",
        ],
    },
    Row {
        package: "weir-connectors",
        ours: &["weir-types"],
        never: &["sqlparser", "datafusion", "rocksdb"],
    },
    Row {
        package: "weir-engine",
        ours: &[
            "weir-types",
            "weir-planner",
            "weir-state",
            "weir-connectors",
        ],
        never: &["sqlparser", "datafusion", "rocksdb"],
    },
    Row {
        package: "weir-cli",
        ours: EVERY_LIBRARY,
        never: &["sqlparser", "datafusion", "rocksdb"],
    },
    Row {
        package: "weir-tests",
        ours: EVERY_LIBRARY,
        never: &["rocksdb"],
    },
    Row {
        package: "xtask",
        ours: &[],
        never: &["rocksdb", "arrow", "datafusion"],
    },
];

/// Crates of which the lock file holds one version: their types are in our signatures.
const SINGLE: &[&str] = &[
    "arrow",
    "arrow-array",
    "arrow-schema",
    "sqlparser",
    "object_store",
    "datafusion-common",
    "rocksdb",
];

/// Every workspace member against its row. Development dependencies count too.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let uses: BTreeSet<&str> = package
            .dependencies
            .iter()
            .map(|dependency| dependency.name.as_str())
            .collect();
        wrong.extend(forbidden(name, &uses));
    }
    if !wrong.is_empty() {
        bail!(
            "{}\n(a new edge is a decision: docs/decisions, then xtask/src/edges.rs)",
            wrong.join("\n")
        );
    }
    Ok(())
}

/// What is wrong with the edges of one package.
fn forbidden(package: &str, uses: &BTreeSet<&str>) -> Vec<String> {
    let Some(row) = ROWS.iter().find(|row| row.package == package) else {
        return vec![format!(
            "package `{package}` has no row in the table of crate edges"
        )];
    };
    uses.iter()
        .filter(|used| {
            let ours = used.starts_with("weir-") || **used == "xtask";
            (ours && !row.ours.contains(used)) || row.never.contains(used)
        })
        .map(|used| format!("`{package}` must not use `{used}`"))
        .collect()
}

/// Every shared crate is there once.
pub(crate) fn check_single_versions(metadata: &Metadata) -> Result<()> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &metadata.packages {
        if SINGLE.contains(&package.name.as_str()) {
            versions
                .entry(package.name.as_str())
                .or_default()
                .insert(package.version.to_string());
        }
    }
    for name in SINGLE {
        match versions.get(name) {
            None => bail!("`{name}` is in the list of shared crates, but not in the lock file"),
            Some(several) if several.len() > 1 => {
                bail!(
                    "several versions of `{name}`: {}",
                    several.iter().cloned().collect::<Vec<_>>().join(", ")
                )
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn an_arrow_that_points_up_is_found() {
        assert_eq!(
            forbidden("weir-state", &["weir-types", "weir-engine"].into()),
            ["`weir-state` must not use `weir-engine`"]
        );
        assert_eq!(
            forbidden("weir-planner", &["rocksdb", "weir-types"].into()),
            ["`weir-planner` must not use `rocksdb`"]
        );
        assert!(forbidden("weir-cli", &["weir-engine", "clap"].into()).is_empty());
        assert_eq!(forbidden("weir-new", &[].into()).len(), 1);
    }

    #[test]
    fn the_table_of_edges_has_no_cycle() {
        // Rows stand in an order in which every edge points to an earlier row.
        for (i, row) in ROWS.iter().enumerate() {
            for used in row.ours {
                assert!(
                    ROWS[..i].iter().any(|earlier| earlier.package == *used),
                    "{} → {used}",
                    row.package
                );
            }
        }
    }
}
