//! Which storage a URL means.
//!
//! ```text
//!   (nothing)             checkpoints/ in the job's folder
//!   a/folder, file:///a   JOB/ in that folder
//!   memory:               the memory of this process: for tests, and for jobs whose state may be lost with it
//!   s3://bucket/path, …   JOB/ below that path (`remote.rs`)
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use url::Url;

use super::object::ObjectPlace;
use super::place::{Place, StorageHook};
use super::remote::{self, StorageSettings};
use crate::{Error, Result};

/// Where the checkpoints of a job are kept.
#[derive(Clone)]
pub struct StorageOptions {
    /// A URL or a folder; `None`: `home` itself.
    pub url: Option<String>,
    /// How a store of the network is reached.
    pub settings: StorageSettings,
    /// The job's own checkpoint folder: the default, and the name of its part of `memory:`.
    pub home: PathBuf,
    /// Folder that relative folders start from.
    pub base: PathBuf,
    /// The job's name: its part of a shared storage. Empty: the storage itself.
    pub job: String,
    /// How long an answer of the network may take.
    pub patience: Duration,
    /// For tests.
    pub hook: Option<StorageHook>,
}

/// What a URL's scheme asks for, before anything is opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Folder(PathBuf),
    Memory,
    Network(Url),
}

/// Reads a folder or a URL.
pub(crate) fn parse(text: &str, base: &Path) -> Result<Location> {
    if text == "memory:" {
        return Ok(Location::Memory);
    }
    let Some((scheme, _)) = text.split_once(':').filter(|(scheme, _)| {
        scheme.len() > 1 && scheme.bytes().all(|c| c.is_ascii_alphanumeric())
    }) else {
        return Ok(Location::Folder(base.join(text)));
    };
    let url = Url::parse(text)
        .map_err(|error| Error::Incompatible(format!("the storage '{text}' is no URL: {error}")))?;
    match scheme {
        "file" => url.to_file_path().map(Location::Folder).map_err(|()| {
            Error::Incompatible(format!(
                "the storage '{text}' names no folder of this machine: write file:///folder, or the folder alone"
            ))
        }),
        "memory" => Err(Error::Incompatible(format!(
            "the storage '{text}': write 'memory:' alone; each job has its own part of it"
        ))),
        _ => Ok(Location::Network(url)),
    }
}

/// The memory stores of this process, by the job's folder: a job that starts again in the same process finds its own.
fn memory_of(home: &Path) -> Arc<InMemory> {
    static STORES: OnceLock<Mutex<HashMap<PathBuf, Arc<InMemory>>>> = OnceLock::new();
    let mut stores = STORES
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    stores.entry(home.to_path_buf()).or_default().clone()
}

impl StorageOptions {
    /// The job's own folder, without anything special.
    pub fn home(home: PathBuf) -> Self {
        Self {
            url: None,
            settings: StorageSettings::default(),
            home,
            base: PathBuf::from("."),
            job: String::new(),
            patience: Duration::from_secs(60),
            hook: None,
        }
    }

    /// Whether the storage is another process's to lose: the memory of the one that ran the job.
    pub fn is_memory(&self) -> bool {
        self.url.as_deref() == Some("memory:")
    }

    pub(super) fn open(self) -> Result<Place> {
        let Some(text) = &self.url else {
            return Place::local(self.home, self.hook);
        };
        match parse(text, &self.base)? {
            Location::Folder(folder) if self.job.is_empty() => Place::local(folder, self.hook),
            Location::Folder(folder) => Place::local(folder.join(&self.job), self.hook),
            Location::Memory => {
                let store = memory_of(&self.home);
                let place = ObjectPlace::new(
                    store,
                    ObjectPath::default(),
                    "memory:".to_owned(),
                    self.patience,
                )?;
                Ok(Place::object(place, self.hook))
            }
            Location::Network(url) => {
                let place = remote::open(&url, &self.job, &self.settings, self.patience)?;
                Ok(Place::object(place, self.hook))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_folder_memory_or_the_network() {
        let base = Path::new("/base");
        let folder = |path: &str| Location::Folder(PathBuf::from(path));
        assert_eq!(parse("saved", base).unwrap(), folder("/base/saved"));
        assert_eq!(parse("/a/b", base).unwrap(), folder("/a/b"));
        assert_eq!(parse("file:///a/b", base).unwrap(), folder("/a/b"));
        assert_eq!(parse("memory:", base).unwrap(), Location::Memory);
        assert!(matches!(
            parse("s3://bucket/a", base).unwrap(),
            Location::Network(_)
        ));
        assert!(parse("memory://x", base).is_err());
        assert!(parse("file://host/a", base).is_err());
    }

    #[test]
    fn what_the_build_cannot_reach_is_refused_with_a_way_out() {
        let options = StorageOptions {
            url: Some("carrierpigeon://loft/7".to_owned()),
            ..StorageOptions::home(PathBuf::from("/nowhere"))
        };
        let error = options.open().err().unwrap().to_string();
        assert!(error.contains("carrierpigeon"), "{error}");
    }
}
