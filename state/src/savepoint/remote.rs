//! A savepoint's folder in a store of the network.
//!
//! ```text
//!   written:   tables/… in a scratch folder ─▶ each file uploaded ─▶ manifest.json created, last
//!   read:      manifest.json ─▶ files, one by one, where they are needed
//! ```
//!
//! Everything else (`list`, `delete`) works on names alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::manifest::{MANIFEST, TABLES};
use crate::error::pass;
use crate::snapshot::{Location, Place, StorageSettings, open_remote, parse_location};
use crate::{Error, Result};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// See the module's text. Clones speak of the same folder.
#[derive(Clone)]
pub(crate) struct RemoteFolder {
    place: Arc<Place>,
}

impl std::fmt::Debug for RemoteFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteFolder({})", self.shown(""))
    }
}

/// Where a path leads that a person gave: a folder of this machine, or one of the network.
pub(crate) enum SavepointPlace {
    Local(PathBuf),
    Remote(RemoteFolder),
}

impl SavepointPlace {
    /// Opens what a path names.
    pub(crate) fn of(path: &Path, settings: &StorageSettings) -> Result<Self> {
        let Some(text) = path.to_str().filter(|text| text.contains("://")) else {
            return Ok(Self::Local(path.to_owned()));
        };
        match parse_location(text, Path::new("")) {
            Ok(Location::Folder(folder)) => Ok(Self::Local(folder)),
            Ok(Location::Network(url)) => {
                let place = open_remote(&url, "", settings, PATIENCE).map_err(refused)?;
                let place = Arc::new(Place::object(place, None));
                Ok(Self::Remote(RemoteFolder { place }))
            }
            Ok(Location::Memory) => Err(refused(Error::Incompatible(format!(
                "a savepoint outlives its process, and '{text}' does not: write it to a folder or a store"
            )))),
            Err(error) => Err(refused(error)),
        }
    }
}

/// A URL that leads nowhere is the user's to change.
fn refused(error: Error) -> Error {
    match error {
        Error::Incompatible(what) => Error::savepoint(
            "S0043",
            format!("{what}; a savepoint is in a folder, or at s3://…, gs://… or az://…"),
        ),
        other => other,
    }
}

impl RemoteFolder {
    pub(crate) fn shown(&self, name: &str) -> String {
        self.place.shown(name).trim_end_matches('/').to_owned()
    }

    /// The content of the manifest; `None`: this is no savepoint.
    pub(crate) fn manifest(&self) -> Result<Option<Vec<u8>>> {
        self.place.read(MANIFEST)
    }

    /// Size of a file; `None` if there is none.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        self.place.size(name)
    }

    /// Brings a file to a place of this machine.
    pub(crate) fn fetch(&self, name: &str, to: &Path) -> Result<()> {
        self.place.fetch(name, to, false).map(drop)
    }

    /// Names of the folders directly below.
    pub(crate) fn folders(&self) -> Result<Vec<String>> {
        self.place.folders("")
    }

    /// Takes a folder that is empty, or holds half a savepoint, whose files are removed.
    pub(crate) fn claim(&self) -> Result<()> {
        if self.place.size(MANIFEST)?.is_some() {
            return Err(Error::savepoint(
                "S0021",
                format!(
                    "{} holds a savepoint already: name another folder, or remove that one with `weir savepoint delete`",
                    self.shown("")
                ),
            ));
        }
        let own = format!("{TABLES}/");
        let all = self.place.list_all("")?;
        if let Some(other) = all.iter().find(|name| !name.starts_with(&own)) {
            return Err(Error::savepoint(
                "S0021",
                format!(
                    "{} is not empty ({other} is in it): name a folder that is empty or not there yet",
                    self.shown("")
                ),
            ));
        }
        all.iter().try_for_each(|name| self.place.delete(name))
    }

    /// Uploads the files of a savepoint whose tables lie in `folder`.
    pub(crate) fn upload<'a>(
        &self,
        folder: &Path,
        files: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<()> {
        for (name, size) in files {
            self.place.adopt(&folder.join(name), name)?;
            // What arrived is what counts.
            if self.place.size(name)? != Some(size) {
                return Err(Error::io(
                    format!("uploading {}", self.shown(name)),
                    "it arrived with another size",
                ));
            }
            pass("state.savepoint.upload.between")?;
        }
        Ok(())
    }

    /// From now on it is a savepoint.
    pub(crate) fn put_manifest(&self, text: &str) -> Result<()> {
        if self.place.create(MANIFEST, text.as_bytes())? {
            return Ok(());
        }
        Err(Error::savepoint(
            "S0021",
            format!(
                "somebody else has written a savepoint to {} meanwhile: name another folder",
                self.shown("")
            ),
        ))
    }

    /// Removes the manifest first, then everything of the tables.
    pub(crate) fn delete(&self) -> Result<()> {
        self.place.delete(MANIFEST)?;
        let tables = self.place.list_all(TABLES)?;
        tables.iter().try_for_each(|name| self.place.delete(name))
    }
}
