//! Which files a path means, and how a listing is recognised later.
//!
//! # Invariants
//! 1. Files are ordered by name, byte by byte; the name is what the user would type to open the file.
//! 2. A listing in a position holds for every file its name, size and a hash of its first bytes: a file that is not
//!    the same any more is found out before anything is read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_types::Diagnostic;
use xxhash_rust::xxh3::xxh3_64;

use super::PATH;
use crate::error::{Error, IoContext, Result};
use crate::table::TableRequest;

/// So many bytes of a file are part of its identity.
const HEAD_BYTES: usize = 4096;
/// Folders deeper than this below the path are not entered: a link may lead in a circle.
const DEPTH_MAX: usize = 32;

/// A file of a listing, as it is recorded in a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedFile {
    /// The path as the user would type it.
    pub(crate) name: String,
    /// In bytes, on disk.
    pub(crate) size: u64,
    /// XXH3-64 of the first bytes, in hexadecimal.
    pub(crate) head: String,
}

/// What `'path'` means.
#[derive(Clone, Debug)]
pub(crate) struct PathPattern {
    /// As it is written.
    text: String,
    base: PathBuf,
    glob: Option<Glob>,
}

#[derive(Clone, Debug)]
struct Glob {
    matcher: globset::GlobMatcher,
    /// The folder above the first special character, as text.
    root: String,
    /// How many folders below the root the pattern can reach.
    depth: usize,
}

impl PathPattern {
    /// # Errors
    /// A diagnostic if the text is a broken pattern.
    pub(crate) fn of(request: &TableRequest) -> Result<Self> {
        let text = request.options.get(PATH.key).cloned().unwrap_or_default();
        let base = request.base.clone();
        // A file may be called so literally; then it is no pattern.
        let special = text.contains(['*', '?', '[', '{']) && !base.join(&text).exists();
        let glob = if special {
            Some(Glob::new(request, &text)?)
        } else {
            None
        };
        Ok(Self { text, base, glob })
    }

    /// The names of all files there are now, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        match &self.glob {
            Some(glob) => {
                self.walk(&glob.root, glob.depth, &mut Vec::new(), &mut names)?;
                names.retain(|name| glob.matcher.is_match(name));
            }
            None if self.path(&self.text).is_dir() => self.walk(
                self.text.trim_end_matches('/'),
                DEPTH_MAX,
                &mut Vec::new(),
                &mut names,
            )?,
            None if self.path(&self.text).is_file() => names.push(self.text.clone()),
            // Opening a pipe waits for whoever writes to it, and a device never ends.
            None if self.path(&self.text).exists() => {
                return Err(Error::Inconsistent(format!(
                    "{} is a pipe or a device, which cannot be read again after a crash; 'connector' = 'stdin' reads a pipe",
                    self.text
                )));
            }
            None => {}
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Where the file of that name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.base.join(".")
        } else {
            self.base.join(name)
        }
    }

    /// Adds the files in `folder` and in the folders below it, `depth` levels down. `above`: the folders that are
    /// being listed, links resolved; one that a link leads back to is not entered again.
    fn walk(
        &self,
        folder: &str,
        depth: usize,
        above: &mut Vec<PathBuf>,
        names: &mut Vec<String>,
    ) -> Result<()> {
        let path = self.path(folder);
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if above.contains(&real) {
            return Ok(());
        }
        above.push(real);
        self.walk_entries(folder, &path, depth, above, names)?;
        above.pop();
        Ok(())
    }

    fn walk_entries(
        &self,
        folder: &str,
        path: &Path,
        depth: usize,
        above: &mut Vec<PathBuf>,
        names: &mut Vec<String>,
    ) -> Result<()> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.context(|| format!("cannot list {}", path.display()))?,
        };
        for entry in entries {
            let entry = entry.context(|| format!("cannot list {}", path.display()))?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    self.refuse_if_meant(folder, &name.to_string_lossy())?;
                    continue;
                }
            };
            if name.starts_with(['_', '.']) {
                continue;
            }
            let full = below(folder, &name);
            // Follows links; a file that vanished since is not there.
            let Ok(metadata) = fs::metadata(entry.path()) else {
                continue;
            };
            if metadata.is_file() {
                names.push(full);
            } else if metadata.is_dir() && depth > 0 {
                self.walk(&full, depth - 1, above, names)?;
            }
        }
        Ok(())
    }

    /// An error for a name that cannot be kept as text, if the path means it: to skip it would lose its rows.
    fn refuse_if_meant(&self, folder: &str, lossy: &str) -> Result<()> {
        let full = below(folder, lossy);
        let meant = match &self.glob {
            Some(glob) => glob.matcher.is_match(&full),
            None => true,
        };
        if !meant || lossy.starts_with(['_', '.']) {
            return Ok(());
        }
        Err(Error::Inconsistent(format!(
            "the name of {full} is not UTF-8, so that Weir could not find the file again; rename it"
        )))
    }

    /// The listing for a bounded read.
    ///
    /// # Errors
    /// A diagnostic if there is no file.
    pub(crate) fn list(&self, request: &TableRequest) -> Result<Vec<ListedFile>> {
        let names = self.names()?;
        if names.is_empty() {
            let what = if self.glob.is_some() {
                "no file matches"
            } else {
                "there is no file at"
            };
            let place = fs::canonicalize(&self.base).unwrap_or_else(|_| self.base.clone());
            return Err(
                Diagnostic::error("C0011", format!("{what} `{}`", self.text))
                    .at(
                        request.option_span(PATH.key),
                        format!("looked for in {}", place.display()),
                    )
                    .help("a relative path starts at the folder where the job is started")
                    .help("'mode' = 'continuous' waits for files that are not there yet")
                    .into(),
            );
        }
        names.into_iter().map(|name| self.identify(name)).collect()
    }

    fn identify(&self, name: String) -> Result<ListedFile> {
        let path = self.path(&name);
        let context = || format!("cannot read {}", path.display());
        let file = fs::File::open(&path).context(context)?;
        let size = file.metadata().context(context)?.len();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        file.take(size.min(HEAD_BYTES as u64))
            .read_to_end(&mut head)
            .context(context)?;
        Ok(ListedFile {
            name,
            size,
            head: format!("{:016x}", xxh3_64(&head)),
        })
    }

    /// Compares the recorded listing with the disk; the answer is a warning for each file that was added.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for all that changed or is missing.
    pub(crate) fn compare(&self, recorded: &[ListedFile]) -> Result<Vec<String>> {
        let known: BTreeMap<&str, &ListedFile> = recorded
            .iter()
            .map(|file| (file.name.as_str(), file))
            .collect();
        let mut broken = Vec::new();
        for file in recorded {
            if !self.path(&file.name).is_file() {
                broken.push(format!("{} is missing", file.name));
                continue;
            }
            let now = self.identify(file.name.clone())?;
            if now.size != file.size {
                broken.push(format!(
                    "{} has {} bytes, and had {}",
                    file.name, now.size, file.size
                ));
            } else if now != *file {
                broken.push(format!("{} has other contents", file.name));
            }
        }
        if !broken.is_empty() {
            return Err(Error::Inconsistent(format!(
                "the files at `{}` are not those of the first start: {}; put them back, or start afresh with --fresh",
                self.text,
                broken.join("; ")
            )));
        }
        let added = self
            .names()?
            .into_iter()
            .filter(|name| !known.contains_key(name.as_str()));
        Ok(added
            .map(|name| format!("{name} was added after the first start and is not read; 'mode' = 'continuous' reads new files"))
            .collect())
    }
}

/// The name of what is called `name` in `folder`.
fn below(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        "/" => format!("/{name}"),
        _ => format!("{folder}/{name}"),
    }
}

impl Glob {
    fn new(request: &TableRequest, text: &str) -> Result<Self> {
        let glob = globset::GlobBuilder::new(text)
            .literal_separator(true)
            .build();
        let glob = glob.map_err(|error| {
            Diagnostic::error("C0003", format!("'{text}' is no pattern of file names: {}", error.kind()))
                .at(request.option_span(PATH.key), "a pattern, because of its `*`, `?`, `[` or `{`")
                .help("in a pattern `*` is any name, `**` any folders, `?` one character, `{a,b}` either, `[0-9]` a range")
        })?;
        let special = text.find(['*', '?', '[', '{']).unwrap_or(text.len());
        let root = match text[..special].rfind('/') {
            Some(0) => "/".to_owned(),
            Some(slash) => text[..slash].to_owned(),
            None => String::new(),
        };
        // `**` reaches down as far as there are folders; otherwise every `/` of the pattern is one level.
        let depth = match text.contains("**") {
            true => DEPTH_MAX,
            false => text[special..].matches('/').count(),
        };
        Ok(Self {
            matcher: glob.compile_matcher(),
            root,
            depth,
        })
    }
}

/// The size of a file now; `None` if it is gone.
pub(crate) fn size_of(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io {
            context: format!("cannot look at {}", path.display()),
            source,
        }),
    }
}

/// When a file was changed, in microseconds since 1970.
pub(crate) fn changed_at(path: &Path) -> Result<i64> {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    let changed = changed.context(|| format!("cannot look at {}", path.display()))?;
    let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Ok(match changed.duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    })
}
