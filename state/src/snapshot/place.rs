//! Where files of checkpoints are: a local folder, or whatever `object_store` can talk to.
//!
//! ```text
//!   CheckpointStore ─▶ Place ─┬─▶ LocalPlace    written and synced by us
//!                      │      └─▶ ObjectPlace   memory, and the stores of a URL
//!                      └─ the hook of tests: before and after every step it may fail, or take its time
//! ```
//!
//! These calls block, and are made where blocking is meant to happen: on a worker's uploading thread, on the publisher's,
//! and before a job starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::local::{self, LocalPlace};
use super::object::ObjectPlace;
use crate::{Error, Result};

/// A step of the storage, as the hook of a test sees it.
#[derive(Clone, Copy, Debug)]
pub struct StorageStep<'a> {
    /// `read`, `list`, `adopt`, `replace`, `create`, `delete`, `size`, `fetch` or `verify`.
    pub operation: &'static str,
    /// The file's name within the store.
    pub name: &'a str,
    /// Asked once more when the step is done: an error now is one whose caller cannot know what was done.
    pub done: bool,
}

/// What a test puts between a checkpoint and its storage. An error is that of the storage.
pub type StorageHook = Arc<dyn Fn(StorageStep<'_>) -> std::io::Result<()> + Send + Sync>;

#[derive(Debug)]
enum Kind {
    Local(LocalPlace),
    Object(ObjectPlace),
}

/// See the module's text.
pub(crate) struct Place {
    kind: Kind,
    hook: Option<StorageHook>,
}

impl Place {
    /// Opens a folder, made if missing.
    pub(crate) fn local(root: PathBuf, hook: Option<StorageHook>) -> Result<Self> {
        Ok(Self {
            kind: Kind::Local(LocalPlace::new(root)?),
            hook,
        })
    }

    pub(crate) fn object(place: ObjectPlace, hook: Option<StorageHook>) -> Self {
        Self {
            kind: Kind::Object(place),
            hook,
        }
    }

    /// How a file is called in messages.
    pub(crate) fn shown(&self, name: &str) -> String {
        match &self.kind {
            Kind::Local(place) => place.path(name).display().to_string(),
            Kind::Object(place) => place.shown(name),
        }
    }

    fn step<T>(
        &self,
        operation: &'static str,
        name: &str,
        run: impl FnOnce(&Kind) -> Result<T>,
    ) -> Result<T> {
        let Some(hook) = &self.hook else {
            return run(&self.kind);
        };
        let ask = |done| {
            let step = StorageStep {
                operation,
                name,
                done,
            };
            hook(step)
                .map_err(|error| Error::io(format!("{operation} {}", self.shown(name)), error))
        };
        ask(false)?;
        let result = run(&self.kind)?;
        ask(true)?;
        Ok(result)
    }

    /// The content of a file; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.step("read", name, |kind| match kind {
            Kind::Local(place) => place.read(name),
            Kind::Object(place) => place.read(name),
        })
    }

    /// Names of the files directly in a folder; none if there is no folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.step("list", folder, |kind| match kind {
            Kind::Local(place) => place.list(folder),
            Kind::Object(place) => place.list(folder),
        })
    }

    /// Names of the folders directly in a folder; none if there is no folder.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.step("list", folder, |kind| match kind {
            Kind::Local(place) => place.folders(folder),
            Kind::Object(place) => place.folders(folder),
        })
    }

    /// Paths of all files below a folder, relative to the root.
    pub(crate) fn list_all(&self, folder: &str) -> Result<Vec<String>> {
        self.step("list", folder, |kind| match kind {
            Kind::Local(place) => place.list_all(folder),
            Kind::Object(place) => place.list_all(folder),
        })
    }

    /// Brings a finished file here under `name`. What stands there already is replaced in one step.
    pub(crate) fn adopt(&self, from: &Path, name: &str) -> Result<()> {
        self.step("adopt", name, |kind| match kind {
            Kind::Local(place) => place.adopt(from, name),
            Kind::Object(place) => place.adopt(from, name),
        })
    }

    /// Writes a small file in one piece: afterwards the old or the new content is there, whatever happens.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        self.step("replace", name, |kind| match kind {
            Kind::Local(place) => place.replace(name, content),
            Kind::Object(place) => place.replace(name, content),
        })
    }

    /// Creates a file if there is none of that name; `false` if there is. Durable when it returns.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<bool> {
        self.step("create", name, |kind| match kind {
            Kind::Local(place) => place.create(name, content),
            Kind::Object(place) => place.create(name, content),
        })
    }

    /// Whether [`Self::create`] can be relied on; tried out with a small file of that name where a server might not keep it.
    pub(crate) fn keeps_conditions(&self, name: &str) -> Result<bool> {
        match &self.kind {
            Kind::Local(_) => Ok(true),
            Kind::Object(place) => place.keeps_conditions(name),
        }
    }

    /// Syncs every folder from the one that holds `name` up to the root; an object store has none.
    pub(crate) fn sync_folders(&self, name: &str) -> Result<()> {
        match &self.kind {
            Kind::Local(place) => place.sync_folders(name),
            Kind::Object(_) => Ok(()),
        }
    }

    /// Removes a file; none is fine.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        self.step("delete", name, |kind| match kind {
            Kind::Local(place) => place.delete(name),
            Kind::Object(place) => place.delete(name),
        })
    }

    /// Size of a file; `None` if there is none.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        self.step("size", name, |kind| match kind {
            Kind::Local(place) => place.size(name),
            Kind::Object(place) => place.size(name),
        })
    }

    /// Size and XXH3-64 (hex) of a file that is there.
    pub(crate) fn checksum(&self, name: &str) -> Result<(u64, String)> {
        self.step("verify", name, |kind| match kind {
            Kind::Local(place) => local::checksum(&place.path(name)),
            Kind::Object(place) => place.checksum(name),
        })
    }

    /// Brings a file to `to`. Says whether it was linked, which is only done to one that never changes.
    pub(crate) fn fetch(&self, name: &str, to: &Path, never_changes: bool) -> Result<bool> {
        self.step("fetch", name, |kind| match kind {
            Kind::Local(place) => place.fetch(name, to, never_changes),
            Kind::Object(place) => place.fetch(name, to).map(|()| false),
        })
    }
}
