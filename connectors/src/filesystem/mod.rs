//! Files: a listing that is read once, a folder that is followed, parts that appear when a checkpoint is complete.
//!
//! ```text
//!   source  path ─▶ listing ─▶ decompress ─▶ RecordCutter ─▶ chunks        listing.rs dealer.rs decompress.rs
//!           'mode' = 'continuous': the same, listed again and again        follow.rs
//!   sink    rows ─▶ _staging/part-… ─▶ part-… ─▶ _commits/JOB.SINK.N.json  sink.rs commit.rs names.rs
//!           'mode' = 'snapshot': sorted runs ─▶ one file, replaced         snapshot.rs runs.rs
//! ```
//!
//! Names that begin with `_` or `.` are never read: staging, commit lists and editors' backups.

mod commit;
mod dealer;
mod decompress;
mod follow;
mod listing;
mod names;
mod runs;
mod sink;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use dealer::{chunk as dealer_chunk, too_long as record_too_long};
pub(crate) use decompress::{Compression, open as open_text};
pub(crate) use listing::{ListedFile, PathPattern};

use std::collections::BTreeMap;
use std::path::Path;

use weir_types::Diagnostic;

use crate::error::{IoContext, Result};
use crate::format;
use crate::options::{Form, OptionInfo, Options};
use crate::registry::{ConnectorInfo, TEXT_METADATA};
use crate::sink::{Sink, SinkEnvironment};
use crate::source::Source;
use crate::table::{Role, TableRequest};

pub(crate) const PATH: OptionInfo = OptionInfo {
    key: "path",
    default: None,
    form: Form::Required,
    help: "to read: a file, a folder (all files below it) or a pattern (`data/*.csv`, `data/**/x-{1,2}.json`); to write: a \
           folder, or with `'mode' = 'snapshot'` a file; relative to the folder where the job is started",
};
pub(crate) const MODE: OptionInfo = OptionInfo {
    key: "mode",
    default: None,
    form: Form::OneOf(&["bounded", "continuous", "append", "snapshot"]),
    help: "to read: `bounded` (the files that are there, once; the default) or `continuous` (new files and appended lines \
           too); to write: `append` (parts; the default) or `snapshot` (the current result as one file)",
};
pub(crate) const SPLIT: OptionInfo = OptionInfo {
    key: "split",
    default: Some("listing"),
    form: Form::OneOf(&["listing", "file"]),
    help: "`listing`: all files are one split, read in the order of their names; `file`: each is a split with its own watermark",
};
pub(crate) const COMPRESSION: OptionInfo = OptionInfo {
    key: "compression",
    default: Some("auto"),
    form: Form::OneOf(&["auto", "none", "gzip", "zstd"]),
    help: "how files that are read are compressed; `auto` goes by the ending `.gz` or `.zst`",
};
pub(crate) const SCAN_INTERVAL: OptionInfo = OptionInfo {
    key: "source.scan.interval",
    default: Some("100ms"),
    form: Form::Duration,
    help: "how long `continuous` waits, when all is read, before it looks for new files and lines",
};
pub(crate) const PUBLISH_INTERVAL: OptionInfo = OptionInfo {
    key: "sink.publish.interval",
    default: Some("1s"),
    form: Form::Duration,
    help: "an at-least-once job publishes at the end of an epoch, but not more often than this; longer gives fewer, larger parts",
};
pub(crate) const SNAPSHOT_KEEP: OptionInfo = OptionInfo {
    key: "sink.snapshot.keep",
    default: Some("4"),
    form: Form::Count(1),
    help: "for how many commits `snapshot` keeps the staged result, so that a restore of an older checkpoint can show it again; \
           not less than the checkpoints that are retained",
};

/// The connector's description.
pub(crate) const INFO: ConnectorInfo = ConnectorInfo {
    name: "filesystem",
    help: "files on a local or mounted disk",
    source: true,
    sink: true,
    formatted: true,
    options: &[
        PATH,
        MODE,
        SPLIT,
        COMPRESSION,
        SCAN_INTERVAL,
        PUBLISH_INTERVAL,
        SNAPSHOT_KEEP,
    ],
    metadata: TEXT_METADATA,
    guarantee: "As a source it can be read again from any record. As a sink it is exactly-once: rows become visible when their \
                checkpoint is complete, whole parts at a time. In an at-least-once job they become visible at the end of an \
                epoch, and a crash may repeat some.",
};

/// Whether the table, when read, is followed for ever.
pub(crate) fn is_continuous(options: &BTreeMap<String, String>) -> bool {
    Options(options).text(&MODE) == Some("continuous")
}

/// Whether the table, when written, is one file with the current result.
pub(crate) fn is_snapshot(options: &BTreeMap<String, String>) -> bool {
    Options(options).text(&MODE) == Some("snapshot")
}

/// What does not go together, without looking at the disk.
pub(crate) fn check(request: &TableRequest, role: Role, found: &mut Vec<Diagnostic>) {
    let options = Options(&request.options);
    let mut conflict = |key: &str, message: &str, why: &str, help: &str| {
        let diagnostic = Diagnostic::error("C0008", message).at(request.option_span(key), why);
        found.push(if help.is_empty() {
            diagnostic
        } else {
            diagnostic.help(help)
        });
    };
    match role {
        Role::Source => {
            if is_continuous(&request.options) && options.word(&SPLIT) == "file" {
                conflict(
                    SPLIT.key,
                    "'split' = 'file' does not go with 'mode' = 'continuous'",
                    "the files that will come are not known yet, so they cannot be splits",
                    "leave 'split' out: new files are read in the order in which they are found",
                );
            }
        }
        Role::Sink => {
            if matches!(options.word(&COMPRESSION), "gzip" | "zstd") {
                conflict(
                    COMPRESSION.key,
                    "files are not compressed when they are written",
                    "only for reading",
                    "leave 'compression' out",
                );
            }
            if is_snapshot(&request.options) {
                if !request.partitioned_by.is_empty() {
                    conflict(
                        MODE.key,
                        "'mode' = 'snapshot' writes one file and cannot be PARTITIONED BY",
                        "one file for the whole result",
                        "leave PARTITIONED BY out, or use 'mode' = 'append'",
                    );
                }
                if options.word(&crate::registry::FORMAT) == format::CHANGELOG_JSON.name {
                    conflict(
                        MODE.key,
                        "a snapshot holds rows, not changes",
                        "'format' = 'changelog-json' writes changes",
                        "use 'format' = 'json' with 'mode' = 'snapshot'",
                    );
                }
            } else if request.partitioned_by.len() == request.columns.len()
                && !request.columns.is_empty()
            {
                conflict(
                    PATH.key,
                    "all columns are in PARTITIONED BY",
                    "no column is left to write",
                    "",
                );
            }
        }
    }
}

/// Opens the files for reading.
pub(crate) fn open_source(request: TableRequest) -> Result<Box<dyn Source>> {
    Ok(if format::is_parquet(&request.options) {
        Box::new(crate::parquet::ParquetSource::open(request)?)
    } else if is_continuous(&request.options) {
        Box::new(follow::ContinuousSource::open(request)?)
    } else {
        Box::new(source::ListingSource::open(request)?)
    })
}

/// Opens the folder for writing.
pub(crate) fn open_sink(request: TableRequest, env: &SinkEnvironment) -> Result<Box<dyn Sink>> {
    Ok(if is_snapshot(&request.options) {
        Box::new(snapshot::SnapshotSink::open(request, env)?)
    } else {
        Box::new(sink::AppendSink::open(request, env)?)
    })
}

/// Makes the entries of a folder durable: a rename or a new file is on disk only after this.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .context(|| format!("cannot sync {}", folder.display()))
}

/// Makes a folder and its parents, durably.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_folder(parent)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        outcome => outcome.context(|| format!("cannot make folder {}", folder.display()))?,
    }
    match folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => sync_folder(parent),
        None => sync_folder(Path::new(".")),
    }
}
