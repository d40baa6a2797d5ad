//! The append sink: rows go to parts, one or more for each checkpoint (or epoch), worker and partition.
//!
//! ```text
//!   exactly-once   write* ─▶ _staging/part-… ─ prepare ─▶ synced, listed in the manifest ─ commit ─▶ published
//!   at-least-once  write* ─▶ _staging/part-… ─ end_epoch, at most once per interval ─▶ synced, published
//! ```
//!
//! # Invariants
//! 1. What `prepare` lists is on disk: files synced, then their folder.
//! 2. A part is written by one worker in one start of the job; its name is never used again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use tokio::time::Instant;
use weir_types::{ChangeBatch, CheckpointId, Diagnostic, WorkerId, failpoint};

use super::commit::{AppendCommitter, Prepared, PreparedPart, publish};
use super::names::{ExactlyOnce, Names, encode};
use super::{PATH, PUBLISH_INTERVAL, create_folder, sync_folder};
use crate::error::{IoContext, Result};
use crate::format::value::TimestampFormat;
use crate::format::values::{ColumnValues, Style};
use crate::format::{Op, RowEncoder, Settings, ops_of};
use crate::options::Options;
use crate::parquet::{ParquetForm, ParquetPart};
use crate::sink::{Sink, SinkCommitter, SinkEnvironment, SinkWriter, Visibility};
use crate::table::TableRequest;

/// A part's bytes are handed to the system when there are so many.
const BUFFER_BYTES: usize = 1 << 18;
/// So many parts are open at once at most: a partition for every row must not use up all file handles.
const OPEN_PARTS_MAX: usize = 64;

/// Writes parts into a folder.
pub(crate) struct AppendSink {
    request: TableRequest,
    names: Names,
    exactly_once: ExactlyOnce,
}

impl AppendSink {
    pub(crate) fn open(request: TableRequest, env: &SinkEnvironment) -> Result<Self> {
        let path = request.options.get(PATH.key).cloned().unwrap_or_default();
        let target = env.base.join(&path);
        if target.is_file() {
            return Err(Diagnostic::error(
                "C0012",
                format!("`{path}` is a file, and parts go into a folder"),
            )
            .at(request.option_span(PATH.key), "not a folder")
            .help(
                "name a folder, or use 'mode' = 'snapshot' to keep the current result as one file",
            )
            .into());
        }
        let exactly_once = if env.exactly_once {
            ExactlyOnce::Yes
        } else {
            ExactlyOnce::No
        };
        Ok(Self {
            names: Names::new(target, env),
            request,
            exactly_once,
        })
    }
}

impl Sink for AppendSink {
    fn visibility(&self) -> Visibility {
        if self.exactly_once == ExactlyOnce::Yes {
            Visibility::Checkpoint
        } else {
            Visibility::Epoch
        }
    }

    fn accepts_retractions(&self) -> bool {
        Settings::of(&self.request).shows_ops()
    }

    fn writer(&self, worker: WorkerId) -> Result<Box<dyn SinkWriter>> {
        create_folder(&self.names.staging())?;
        let settings = Settings::of(&self.request);
        let partition: Vec<usize> = self.request.partitioned_by.clone();
        let kept: Vec<usize> = (0..self.request.columns.len())
            .filter(|column| !partition.contains(column))
            .collect();
        let columns: Vec<_> = kept
            .iter()
            .map(|column| self.request.columns[*column].clone())
            .collect();
        let partitions = partition.iter().map(|column| PartitionColumn {
            column: *column,
            label: format!("{}=", encode(self.request.columns[*column].external(), b"")),
            style: Style::of(&self.request.columns[*column], TimestampFormat::Iso),
        });
        Ok(Box::new(AppendWriter {
            form: if settings.is_parquet() {
                Form::Columns(ParquetForm::new(&columns))
            } else {
                Form::Lines(settings.encoder(&columns))
            },
            shows_ops: settings.shows_ops(),
            unique_key: self.request.unique_key.clone(),
            extension: settings.info.extension,
            partitions: partitions.collect(),
            kept: if partition.is_empty() {
                None
            } else {
                Some(kept)
            },
            names: self.names.clone(),
            worker: worker.0,
            exactly_once: self.exactly_once,
            sequence: 0,
            open: BTreeMap::new(),
            closed: Vec::new(),
            publish_interval: Options(&self.request.options).duration(&PUBLISH_INTERVAL),
            published_at: None,
        }))
    }

    fn committer(&self) -> Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(AppendCommitter::new(self.names.clone())))
    }
}

struct PartitionColumn {
    column: usize,
    /// `name=`
    label: String,
    style: Style,
}

/// How rows are written.
enum Form {
    Lines(Box<dyn RowEncoder>),
    Columns(ParquetForm),
}

/// A part that is being written.
struct OpenPart {
    path: String,
    staged: PathBuf,
    rows: u64,
    body: Body,
}

/// What a part's rows go to.
enum Body {
    Lines {
        file: File,
        buffer: Vec<u8>,
        /// Bytes handed to the system.
        written: u64,
    },
    Columns(Box<ParquetPart>),
}

impl OpenPart {
    fn append(&mut self, lines: &[u8]) -> Result<()> {
        if let Body::Lines { buffer, .. } = &mut self.body {
            buffer.extend_from_slice(lines);
            if buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Body::Lines {
            file,
            buffer,
            written,
        } = &mut self.body
        {
            file.write_all(buffer)
                .context(|| format!("cannot write {}", self.staged.display()))?;
            *written += buffer.len() as u64;
            buffer.clear();
        }
        Ok(())
    }

    fn close(mut self) -> Result<PreparedPart> {
        self.flush()?;
        let (file, bytes) = match self.body {
            Body::Lines { file, written, .. } => (file, written),
            Body::Columns(part) => part.close(&self.staged)?,
        };
        file.sync_all()
            .context(|| format!("cannot sync {}", self.staged.display()))?;
        Ok(PreparedPart {
            path: self.path,
            rows: self.rows,
            bytes,
        })
    }
}

struct AppendWriter {
    form: Form,
    shows_ops: bool,
    unique_key: Option<Vec<usize>>,
    extension: &'static str,
    partitions: Vec<PartitionColumn>,
    /// The columns that are written, if not all.
    kept: Option<Vec<usize>>,
    names: Names,
    worker: u32,
    exactly_once: ExactlyOnce,
    /// Of the next part.
    sequence: u64,
    /// By the partition's folder.
    open: BTreeMap<String, OpenPart>,
    closed: Vec<PreparedPart>,
    publish_interval: Duration,
    published_at: Option<Instant>,
}

impl AppendWriter {
    /// The folder of every row's partition; empty if there are none.
    fn folders(&self, changes: &ChangeBatch) -> Vec<String> {
        if self.partitions.is_empty() {
            return Vec::new();
        }
        let columns: Vec<_> = self
            .partitions
            .iter()
            .map(|part| ColumnValues::of(changes.rows.column(part.column)))
            .collect();
        let mut text = Vec::new();
        let folder = |row: usize| {
            let mut folder = String::new();
            for (part, values) in self.partitions.iter().zip(&columns) {
                if !folder.is_empty() {
                    folder.push('/');
                }
                folder.push_str(&part.label);
                if values.is_null(row) {
                    folder.push_str("__null__");
                    continue;
                }
                text.clear();
                values.write_plain(row, &part.style, &mut text);
                match encode(&String::from_utf8_lossy(&text), b"-.:") {
                    // A text that would read as the mark of NULL is encoded to differ from it.
                    name if name == "__null__" => folder.push_str("%5F_null__"),
                    name => folder.push_str(&name),
                }
            }
            folder
        };
        (0..changes.num_rows()).map(folder).collect()
    }

    /// The open part of a folder.
    fn part(&mut self, folder: &str) -> Result<&mut OpenPart> {
        if !self.open.contains_key(folder) {
            if self.open.len() >= OPEN_PARTS_MAX {
                self.close_all()?;
            }
            let part = self.create(folder)?;
            self.open.insert(folder.to_owned(), part);
        }
        self.open.get_mut(folder).ok_or_else(|| {
            crate::Error::Inconsistent(format!("the part of folder `{folder}` is not open"))
        })
    }

    fn append(&mut self, folder: &str, lines: &[u8], rows: u64) -> Result<()> {
        let part = self.part(folder)?;
        part.rows += rows;
        part.append(lines)
    }

    /// Rows of lines, each to the part of its folder.
    fn write_lines(&mut self, rows: &ChangeBatch, ops: &[Op], folders: &[String]) -> Result<()> {
        let Form::Lines(encoder) = &mut self.form else {
            return Ok(());
        };
        if folders.is_empty() {
            let mut lines = Vec::with_capacity(rows.num_rows() * 64);
            encoder.encode(rows, ops, &mut |_, line| lines.extend_from_slice(line));
            return self.append("", &lines, rows.num_rows() as u64);
        }
        let mut by_folder: BTreeMap<&str, (Vec<u8>, u64)> = BTreeMap::new();
        encoder.encode(rows, ops, &mut |row, line| {
            let (lines, count) = by_folder.entry(&folders[row]).or_default();
            lines.extend_from_slice(line);
            *count += 1;
        });
        by_folder
            .into_iter()
            .try_for_each(|(folder, (lines, count))| self.append(folder, &lines, count))
    }

    /// Rows in columns, likewise.
    fn write_columns(&mut self, rows: &RecordBatch, folders: &[String]) -> Result<()> {
        let Form::Columns(form) = &self.form else {
            return Ok(());
        };
        let rows = form.rows(rows)?;
        if folders.is_empty() {
            return self.append_rows("", &rows);
        }
        let mut by_folder: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (row, folder) in folders.iter().enumerate() {
            by_folder.entry(folder).or_default().push(row as u32);
        }
        for (folder, numbers) in by_folder {
            let own = arrow::compute::take_record_batch(&rows, &UInt32Array::from(numbers));
            let own = own.map_err(|error| crate::Error::Inconsistent(error.to_string()))?;
            self.append_rows(folder, &own)?;
        }
        Ok(())
    }

    fn append_rows(&mut self, folder: &str, rows: &RecordBatch) -> Result<()> {
        self.part(folder)?;
        let open = self.open.len();
        let part = self.part(folder)?;
        part.rows += rows.num_rows() as u64;
        match &mut part.body {
            Body::Columns(columns) => columns.write(rows, open, &part.staged),
            Body::Lines { .. } => Ok(()),
        }
    }

    fn create(&mut self, folder: &str) -> Result<OpenPart> {
        let name = self.names.part(
            self.worker,
            self.sequence,
            self.exactly_once,
            self.extension,
        );
        self.sequence += 1;
        let staged = self.names.staging().join(&name);
        let file = File::options().write(true).create_new(true).open(&staged);
        let file = file.context(|| format!("cannot make {}", staged.display()))?;
        let path = if folder.is_empty() {
            name
        } else {
            format!("{folder}/{name}")
        };
        let body = match &self.form {
            Form::Lines(encoder) => Body::Lines {
                file,
                buffer: encoder.header().map(<[u8]>::to_vec).unwrap_or_default(),
                written: 0,
            },
            Form::Columns(form) => Body::Columns(Box::new(form.begin(file, &staged)?)),
        };
        Ok(OpenPart {
            path,
            staged,
            rows: 0,
            body,
        })
    }

    fn close_all(&mut self) -> Result<()> {
        for part in std::mem::take(&mut self.open).into_values() {
            self.closed.push(part.close()?);
        }
        Ok(())
    }

    /// Everything that is staged, synced: files, then the folder.
    fn take_staged(&mut self) -> Result<Option<Prepared>> {
        self.close_all()?;
        if self.closed.is_empty() {
            return Ok(None);
        }
        sync_folder(&self.names.staging())?;
        Ok(Some(Prepared {
            parts: std::mem::take(&mut self.closed),
        }))
    }

    fn publish_staged(&mut self) -> Result<()> {
        match self.take_staged()? {
            Some(prepared) => publish(&self.names, &prepared),
            None => Ok(()),
        }
    }
}

impl SinkWriter for AppendWriter {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        if changes.num_rows() == 0 {
            return Ok(());
        }
        let ops = if self.shows_ops {
            ops_of(changes, self.unique_key.as_deref())
        } else {
            Vec::new()
        };
        let folders = self.folders(changes);
        let projected = match &self.kept {
            None => None,
            Some(kept) => {
                let rows = changes.rows.project(kept).map_err(|error| {
                    crate::Error::Inconsistent(format!(
                        "the sink's columns are not those of its plan: {error}"
                    ))
                })?;
                Some(changes.with_rows(rows))
            }
        };
        let rows = projected.as_ref().unwrap_or(changes);
        match self.form {
            Form::Lines(_) => self.write_lines(rows, &ops, &folders),
            Form::Columns(_) => self.write_columns(&rows.rows, &folders),
        }
    }

    fn end_epoch(&mut self) -> Result<()> {
        if self.exactly_once == ExactlyOnce::Yes || (self.open.is_empty() && self.closed.is_empty())
        {
            return Ok(());
        }
        let now = Instant::now();
        if self
            .published_at
            .is_none_or(|before| now.duration_since(before) >= self.publish_interval)
        {
            self.published_at = Some(now);
            self.publish_staged()?;
        }
        Ok(())
    }

    fn prepare(&mut self, _checkpoint: CheckpointId) -> Result<Option<serde_json::Value>> {
        if self.exactly_once == ExactlyOnce::No {
            // What the checkpoint's state says was read must not be lost with this process.
            self.publish_staged()?;
            return Ok(None);
        }
        failpoint::pass("sink.file.prepare.before").context(|| "at a failure point")?;
        let prepared = self.take_staged()?;
        failpoint::pass("sink.file.prepare.after").context(|| "at a failure point")?;
        Ok(prepared.and_then(|prepared| serde_json::to_value(prepared).ok()))
    }
}
