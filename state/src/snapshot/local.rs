//! Files of a local store, written so that they are there after a power cut: `object_store`'s local file system never
//! syncs, so a local folder is written by us.
//!
//! These calls block. Files are written on the uploading thread; manifests are small.

use std::fs::{self, File, FileType};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::{Error, Result};

fn failed(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let context = format!("{doing} {}", path.display());
    move |error| Error::io(context, error)
}

/// A folder.
#[derive(Clone, Debug)]
pub(crate) struct LocalPlace {
    root: PathBuf,
}

impl LocalPlace {
    /// Opens a folder, made if missing.
    pub(crate) fn new(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).map_err(failed("making the folder", &root))?;
        Ok(Self { root })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The content of a file; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading", &path)(error)),
        }
    }

    /// Names of the files directly in a folder; none if there is no folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.entries(folder, FileType::is_file)
    }

    /// Names of the folders directly in a folder; none if there is no folder.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.entries(folder, FileType::is_dir)
    }

    fn entries(&self, folder: &str, wanted: fn(&FileType) -> bool) -> Result<Vec<String>> {
        let path = self.path(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("listing", &path)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("listing", &path))?;
            if wanted(&entry.file_type().map_err(failed("listing", &path))?) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Paths of all files below a folder, relative to the root.
    pub(crate) fn list_all(&self, folder: &str) -> Result<Vec<String>> {
        let mut files: Vec<String> = self
            .list(folder)?
            .into_iter()
            .map(|name| format!("{folder}/{name}"))
            .collect();
        let path = self.path(folder);
        let Ok(entries) = fs::read_dir(&path) else {
            return Ok(files);
        };
        for entry in entries {
            let entry = entry.map_err(failed("listing", &path))?;
            if entry
                .file_type()
                .map_err(failed("listing", &path))?
                .is_dir()
            {
                files.extend(
                    self.list_all(&format!("{folder}/{}", entry.file_name().to_string_lossy()))?,
                );
            }
        }
        Ok(files)
    }

    /// Brings a finished file here under `name` and syncs its content; the folders are synced by
    /// [`Self::sync_folders`]. A hard link if it can be one: the file never changes again. What stands there already is
    /// replaced in one step, so that a checkpoint that names it never misses it.
    pub(crate) fn adopt(&self, from: &Path, name: &str) -> Result<()> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(failed("making the folder", parent))?;
        let part = format!("{name}.part");
        self.delete(&part)?;
        let part_path = self.path(&part);
        if fs::hard_link(from, &part_path).is_err() {
            fs::copy(from, &part_path).map_err(failed("copying to", &part_path))?;
        }
        sync_file(&part_path)?;
        fs::rename(&part_path, &path).map_err(failed("renaming to", &path))?;
        // Renaming one link of a file to another link of it does nothing.
        self.delete(&part)
    }

    /// Writes a small file in one piece: afterwards the old or the new content is there, whatever happens.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path(name);
        let part = self.write_part(&path, content)?;
        fs::rename(&part, &path).map_err(failed("renaming to", &path))?;
        self.sync_folders(name)
    }

    /// Creates a file if there is none of that name; `false` if there is. Durable when it returns.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<bool> {
        let path = self.path(name);
        let part = self.write_part(&path, content)?;
        // A link fails where a rename would replace: that is what makes it create-if-absent.
        let created = match fs::hard_link(&part, &path) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed("creating", &path)(error)),
        };
        fs::remove_file(&part).map_err(failed("removing", &part))?;
        self.sync_folders(name)?;
        Ok(created)
    }

    fn write_part(&self, path: &Path, content: &[u8]) -> Result<PathBuf> {
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(failed("making the folder", parent))?;
        let part = path.with_extension("part");
        let mut file = File::create(&part).map_err(failed("creating", &part))?;
        file.write_all(content).map_err(failed("writing", &part))?;
        file.sync_all().map_err(failed("syncing", &part))?;
        Ok(part)
    }

    /// Brings a file to `to`: linked where it never changes, copied otherwise. Says whether it was linked.
    pub(crate) fn fetch(&self, name: &str, to: &Path, never_changes: bool) -> Result<bool> {
        let from = self.path(name);
        if never_changes && fs::hard_link(&from, to).is_ok() {
            return Ok(true);
        }
        fs::copy(&from, to).map_err(failed("copying", &from))?;
        Ok(false)
    }

    /// Syncs every folder from the one that holds `name` up to the root.
    pub(crate) fn sync_folders(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        for folder in path.ancestors().skip(1) {
            sync_file(folder)?;
            if folder == self.root {
                break;
            }
        }
        Ok(())
    }

    /// Removes a file; none is fine.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("removing", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Size of a file; `None` if there is none.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        let path = self.path(name);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("looking at", &path)(error)),
        }
    }
}

/// Syncs a file or a folder to disk.
fn sync_file(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("syncing", path))
}

/// Size and XXH3-64 (hex) of a file.
pub(crate) fn checksum(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).map_err(failed("opening", path))?;
    let mut sum = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).map_err(failed("reading", path))?;
        if read == 0 {
            return Ok((size, format!("{:016x}", sum.digest())));
        }
        size += read as u64;
        sum.update(&buffer[..read]);
    }
}
