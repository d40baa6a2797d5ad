//! Bringing the linked files of a snapshot to the storage: what no completed checkpoint has, or everything.
//!
//! One thread for each worker (`writer.rs`), so that a slow storage holds up neither the database nor the gate.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_types::CheckpointId;

use super::compress::pack;
use super::local::checksum;
use super::writer::{SnapshotOptions, stopped};
use super::{CheckpointStore, FileEntry};
use crate::backend::LinkedFile;
use crate::error::pass;
use crate::{Error, Result};

/// Does the uploads of one worker, one snapshot after the other.
pub(crate) struct Uploader {
    /// `data/g{generation}/w{worker}`.
    pub(crate) prefix: String,
    pub(crate) options: SnapshotOptions,
    /// Database files whose content is known, by name: names are unique while a database is open, and only then.
    pub(crate) known: HashMap<String, FileEntry>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Uploader {
    /// Uploads the files that no completed checkpoint has; gives all files and the bytes that were new.
    pub(crate) fn upload(
        &mut self,
        checkpoint: CheckpointId,
        store: &Arc<CheckpointStore>,
        links: &[LinkedFile],
        folder: &Path,
    ) -> Result<(Vec<FileEntry>, u64)> {
        let (mut files, mut bytes_new, mut folders) = (Vec::new(), 0, BTreeSet::new());
        let prefix = match self.options.full {
            // Nothing is shared: the folder of one checkpoint has all that it needs.
            true => format!("{}/c{checkpoint}", self.prefix),
            false => self.prefix.clone(),
        };
        for link in links {
            self.check_stop(checkpoint, store)?;
            let known = self
                .known
                .get(&link.name)
                .filter(|_| link.immutable_name && !self.options.full);
            let entry = match known {
                Some(entry) if store.is_published(&entry.path)? => entry.clone(),
                _ => {
                    let entry = self.send(checkpoint, store, link, &prefix, folder)?;
                    if !entry.1 {
                        folders.insert(entry.0.path.clone());
                        bytes_new += entry.0.size;
                        pass("state.upload.between")?;
                    }
                    entry.0
                }
            };
            if link.immutable_name {
                self.known.insert(link.name.clone(), entry.clone());
            }
            files.push(entry);
        }
        if let Some(path) = folders.first() {
            // All are in one folder.
            store.sync_uploads(path)?;
        }
        let present: std::collections::HashSet<&str> =
            links.iter().map(|link| link.name.as_str()).collect();
        self.known.retain(|name, _| present.contains(name.as_str()));
        pass("state.upload.after")?;
        Ok((files, bytes_new))
    }

    /// Uploads a file under the name of its content, unless a completed checkpoint has that; says whether one has.
    fn send(
        &self,
        checkpoint: CheckpointId,
        store: &Arc<CheckpointStore>,
        link: &LinkedFile,
        prefix: &str,
        folder: &Path,
    ) -> Result<(FileEntry, bool)> {
        let (size, sum) = checksum(&link.path)?;
        let mut entry = FileEntry {
            path: format!("{prefix}/{}", content_name(&link.name, &sum)),
            name: link.name.clone(),
            size,
            checksum: sum,
            compression: self.options.compression,
        };
        let mut from = link.path.clone();
        if let Some(compression) = self.options.compression {
            // Packing is the same every time, so the name of the content names the packed form too.
            from = folder.join(format!("{}.{}", link.name, compression.extension()));
            pack(compression, &link.path, &from)?;
            entry.path = format!("{}.{}", entry.path, compression.extension());
            (entry.size, entry.checksum) = checksum(&from)?;
        }
        if store.is_published(&entry.path)? {
            return Ok((entry, true));
        }
        store.upload(checkpoint, &from, &entry.path)?;
        Ok((entry, false))
    }

    fn check_stop(&self, checkpoint: CheckpointId, store: &CheckpointStore) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            Err(stopped())
        } else if store.is_given_up(checkpoint) {
            Err(Error::io(
                format!("uploading checkpoint {checkpoint}"),
                "it was given up",
            ))
        } else {
            Ok(())
        }
    }
}

/// `000017.sst` of content c becomes `000017-c.sst`: RocksDB gives numbers again after a restart, so the content is
/// part of the name.
fn content_name(name: &str, checksum: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{checksum}.{extension}"),
        None => format!("{name}-{checksum}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_content() {
        assert_eq!(content_name("000017.sst", "ab"), "000017-ab.sst");
        assert_eq!(content_name("CURRENT", "ab"), "CURRENT-ab");
    }
}
