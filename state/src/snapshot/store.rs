//! The folder of a job's checkpoints.
//!
//! ```text
//!   manifests/00000012.json          create-if-absent: the moment a checkpoint exists
//!   manifests/highest                the highest number ever seen: numbers are never used twice
//!   data/g3/w0/000017-<xxh3>.sst     immutable, shared between the checkpoints of a job
//! ```
//!
//! # Invariants
//! 1. A manifest names only files that are whole and synced; whatever no manifest names does not exist.
//! 2. A file is deleted only if no retained manifest names it and no attempt in flight may still name it.
//! 3. A number is never used twice, not even after its checkpoint was removed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_types::{CheckpointId, Generation};

use super::compress;
use super::local;
use super::place::Place;
use super::{FileEntry, Manifest, StorageOptions};
use crate::error::pass;
use crate::{Error, Result};

const MANIFESTS: &str = "manifests";
const DATA: &str = "data";
const HIGHEST: &str = "manifests/highest";
/// Stands in stores of the network alone: by it a start sees whether create-if-absent is kept.
const PROBE: &str = "manifests/create-if-absent";

/// See the module's text; `place.rs` says where it can be.
pub struct CheckpointStore {
    place: Place,
    known: Mutex<Known>,
}

/// What the store remembers between calls.
#[derive(Default)]
struct Known {
    /// Files that each manifest names; read from the folder when it is first needed.
    named: Option<BTreeMap<u64, HashSet<String>>>,
    /// A manifest could not be read: nobody knows which files it names.
    unreadable: bool,
    /// Files that this process uploaded, with the newest attempt that did so.
    uploaded: HashMap<String, CheckpointId>,
    /// Checkpoints that somebody reads or will read: they are not forgotten.
    pinned: HashSet<u64>,
    /// Attempts that nobody waits for any more: what is left of their upload need not be done.
    given_up: HashSet<CheckpointId>,
}

fn manifest_name(checkpoint: CheckpointId) -> String {
    format!("{MANIFESTS}/{:08}.json", checkpoint.0)
}

impl CheckpointStore {
    /// A local folder (made if missing).
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn local(folder: PathBuf) -> Result<Arc<Self>> {
        Self::open(StorageOptions::home(folder))
    }

    /// Whatever the options name (a local folder is made if missing).
    ///
    /// # Errors
    /// `Incompatible` for a URL that this build cannot reach; when the folder cannot be made.
    pub fn open(options: StorageOptions) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            place: options.open()?,
            known: Mutex::default(),
        }))
    }

    /// Makes sure that two processes cannot both create the same manifest, whatever the server makes of create-if-absent.
    ///
    /// # Errors
    /// `Incompatible` if the server would let the second one replace it.
    pub fn check_conditions(&self) -> Result<()> {
        if self.place.keeps_conditions(PROBE)? {
            return Ok(());
        }
        Err(Error::Incompatible(format!(
            "[J0060] the server of {} does not keep create-if-absent (If-None-Match): two processes could both write checkpoint \
             12; use a server that does, or, if nobody else ever runs this job, \
             SET 'checkpoint.storage.conditional-put' = 'disabled'",
            self.place.shown("manifests")
        )))
    }

    /// Whether there is any checkpoint.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.numbers()?.is_empty())
    }

    /// Says that nobody waits for this attempt any more: its upload ends at the next file.
    pub fn give_up(&self, attempt: CheckpointId) {
        self.known().given_up.insert(attempt);
    }

    /// Whether [`Self::give_up`] was called.
    pub(crate) fn is_given_up(&self, attempt: CheckpointId) -> bool {
        self.known().given_up.contains(&attempt)
    }

    /// The greatest generation that a readable manifest names: a start without the job's folder goes on after it.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn generation(&self) -> Result<Option<Generation>> {
        let mut greatest = None;
        for checkpoint in self.numbers()? {
            match self.read_manifest(checkpoint) {
                Ok(manifest) => greatest = greatest.max(Some(manifest.generation)),
                Err(Error::Io { context, source }) => return Err(Error::Io { context, source }),
                // The restore says what is wrong with it.
                Err(_) => {}
            }
        }
        Ok(greatest)
    }

    /// Forgets every checkpoint and removes every file. Numbers stay used.
    ///
    /// # Errors
    /// When the storage cannot be written.
    pub async fn clear(&self) -> Result<()> {
        let numbers = self.numbers()?;
        let Some(newest) = self.highest_number()? else {
            return Ok(());
        };
        self.place
            .replace(HIGHEST, format!("{}\n", newest.0).as_bytes())?;
        pass("state.clear.before")?;
        // The oldest first: whatever interrupts this, the newest checkpoint that is left is whole.
        for checkpoint in numbers {
            self.place.delete(&manifest_name(checkpoint))?;
            pass("state.clear.between")?;
        }
        self.place.sync_folders(HIGHEST)?;
        self.known().named = None;
        for path in self.place.list_all(DATA)? {
            self.place.delete(&path)?;
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic left behind is still true: both maps are updated after the file system.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers of all manifests, ascending.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn list(&self) -> Result<Vec<CheckpointId>> {
        self.numbers()
    }

    fn numbers(&self) -> Result<Vec<CheckpointId>> {
        let names = self.place.list(MANIFESTS)?;
        let numbers = names
            .iter()
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok().map(CheckpointId));
        let mut numbers: Vec<CheckpointId> = numbers.collect();
        numbers.sort();
        Ok(numbers)
    }

    /// The highest number that a checkpoint ever had here: the next one gets a greater one.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn highest(&self) -> Result<Option<CheckpointId>> {
        self.highest_number()
    }

    fn highest_number(&self) -> Result<Option<CheckpointId>> {
        let remembered = match self.place.read(HIGHEST)? {
            None => None,
            Some(text) => Some(CheckpointId(String::from_utf8_lossy(&text).trim().parse().map_err(|_| {
                Error::Corrupt(format!(
                    "the file {} should hold the highest number of a checkpoint: write it there",
                    self.place.shown(HIGHEST)
                ))
            })?)),
        };
        Ok(self.numbers()?.last().copied().max(remembered))
    }

    /// Reads the manifest of a checkpoint.
    ///
    /// # Errors
    /// `Corrupt` if it is missing or damaged, `Incompatible` if another release wrote it.
    pub async fn load(&self, checkpoint: CheckpointId) -> Result<Manifest> {
        self.read_manifest(checkpoint)
    }

    fn read_manifest(&self, checkpoint: CheckpointId) -> Result<Manifest> {
        let name = manifest_name(checkpoint);
        let shown = self.place.shown(&name);
        let text = self.place.read(&name)?.ok_or_else(|| {
            Error::Corrupt(format!(
                "there is no checkpoint {checkpoint}: {shown} is missing"
            ))
        })?;
        let manifest = Manifest::from_text(&text, Path::new(&shown))?;
        if manifest.checkpoint != checkpoint {
            return Err(Error::Corrupt(format!(
                "{shown} holds the manifest of checkpoint {}: give it its own name again",
                manifest.checkpoint
            )));
        }
        Ok(manifest)
    }

    /// Reads every file of the manifest and compares size and checksum.
    ///
    /// # Errors
    /// `Corrupt` for the first file that is missing or differs.
    pub async fn verify(&self, manifest: &Manifest) -> Result<()> {
        manifest
            .files()
            .try_for_each(|entry| self.verify_file(manifest.checkpoint, entry))
    }

    fn verify_file(&self, checkpoint: CheckpointId, entry: &FileEntry) -> Result<()> {
        self.check_size(entry, &format!("checkpoint {checkpoint}"))?;
        let (_, sum) = self.place.checksum(&entry.path)?;
        if sum != entry.checksum {
            return Err(Error::Corrupt(format!(
                "the state file {} of checkpoint {checkpoint} is damaged: its checksum is {sum} and should be {}",
                self.place.shown(&entry.path),
                entry.checksum
            )));
        }
        Ok(())
    }

    fn check_size(&self, entry: &FileEntry, whose: &str) -> Result<()> {
        let shown = || self.place.shown(&entry.path);
        match self.place.size(&entry.path)? {
            Some(size) if size == entry.size => Ok(()),
            Some(size) => Err(Error::Corrupt(format!(
                "the state file {} of {whose} is damaged: it has {size} bytes and should have {}",
                shown(),
                entry.size
            ))),
            None => Err(Error::Corrupt(format!(
                "the state file {} of {whose} is missing",
                shown()
            ))),
        }
    }

    /// The newest checkpoint all of whose files verify, and a warning for each newer one that does not.
    ///
    /// # Errors
    /// When the folder cannot be read, or a newer release wrote the newest manifest.
    pub async fn newest_whole(&self) -> Result<(Option<Manifest>, Vec<String>)> {
        let mut warnings = Vec::new();
        for checkpoint in self.numbers()?.into_iter().rev() {
            let found = match self.read_manifest(checkpoint) {
                Ok(manifest) => self.verify(&manifest).await.map(|()| manifest),
                Err(error) => Err(error),
            };
            match found {
                Ok(manifest) => return Ok((Some(manifest), warnings)),
                Err(Error::Corrupt(why)) => {
                    warnings.push(format!("checkpoint {checkpoint} is passed over: {why}"))
                }
                Err(other) => return Err(other),
            }
        }
        Ok((None, warnings))
    }

    /// Makes sure that all that the manifest names is there and synced, then creates it: from now on the checkpoint
    /// exists.
    ///
    /// # Errors
    /// `Incompatible` if its number was used before; `Corrupt` if a file is missing.
    pub async fn publish(&self, manifest: &Manifest) -> Result<()> {
        let checkpoint = manifest.checkpoint;
        let taken = || {
            Error::Incompatible(format!(
                "the number of checkpoint {checkpoint} was used before"
            ))
        };
        let mut known = self.known();
        if self
            .highest_number()?
            .is_some_and(|highest| highest >= checkpoint)
        {
            return Err(taken());
        }
        for entry in manifest.files() {
            self.check_size(entry, &format!("checkpoint {checkpoint}"))?;
        }
        let named: HashSet<String> = manifest.files().map(|entry| entry.path.clone()).collect();
        let folders: HashSet<Option<&Path>> =
            named.iter().map(|path| Path::new(path).parent()).collect();
        for folder in folders.into_iter().flatten() {
            self.place
                .sync_folders(&format!("{}/any", folder.display()))?;
        }
        self.load_named(&mut known)?;
        pass("state.manifest.before")?;
        if !self
            .place
            .create(&manifest_name(checkpoint), manifest.to_text()?.as_bytes())?
        {
            return Err(taken());
        }
        pass("state.manifest.after")?;
        known
            .named
            .get_or_insert_default()
            .insert(checkpoint.0, named);
        Ok(())
    }

    /// Forgets checkpoints older than the newest `retain` (at least one is kept), and deletes files that no retained
    /// manifest names and that are older than `oldest_in_flight`.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub async fn retain(
        &self,
        retain: usize,
        oldest_in_flight: Option<CheckpointId>,
    ) -> Result<()> {
        let mut known = self.known();
        let numbers = self.numbers()?;
        let forgotten = numbers.len().saturating_sub(retain.max(1));
        for &checkpoint in &numbers[..forgotten] {
            if known.pinned.contains(&checkpoint.0) {
                continue;
            }
            // The manifest goes first: files without a manifest are garbage, a manifest without files is damage.
            self.place.delete(&manifest_name(checkpoint))?;
            pass("state.retain.between")?;
        }
        known.named = None;
        self.load_named(&mut known)?;
        if known.unreadable {
            // It may name any file: none is deleted.
            return Ok(());
        }
        let Known {
            named, uploaded, ..
        } = &mut *known;
        let named: HashSet<&String> = named.iter().flat_map(BTreeMap::values).flatten().collect();
        for path in self.place.list_all(DATA)? {
            let in_flight = match (uploaded.get(&path), oldest_in_flight) {
                (Some(attempt), Some(oldest)) => *attempt >= oldest,
                _ => false,
            };
            if !named.contains(&path) && !in_flight {
                self.place.delete(&path)?;
                uploaded.remove(&path);
                pass("state.retain.between")?;
            }
        }
        Ok(())
    }

    /// Keeps a checkpoint, taken or still to be, whatever [`Self::retain`] is told, until [`Self::unpin`].
    pub fn pin(&self, checkpoint: CheckpointId) {
        self.known().pinned.insert(checkpoint.0);
    }

    /// See [`Self::pin`].
    pub fn unpin(&self, checkpoint: CheckpointId) {
        self.known().pinned.remove(&checkpoint.0);
    }

    /// Removes one manifest (a withdrawn checkpoint). Its number stays used; its files go with the next `retain`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub async fn remove(&self, checkpoint: CheckpointId) -> Result<()> {
        let mut known = self.known();
        let highest = self
            .highest_number()?
            .map_or(checkpoint, |highest| highest.max(checkpoint));
        self.place
            .replace(HIGHEST, format!("{}\n", highest.0).as_bytes())?;
        pass("state.remove.between")?;
        self.place.delete(&manifest_name(checkpoint))?;
        self.place.sync_folders(&manifest_name(checkpoint))?;
        known.named = None;
        Ok(())
    }

    /// Copies a checkpoint with all its files to `target`, self-contained (a savepoint in the checkpoint's form).
    ///
    /// # Errors
    /// `Corrupt` if a file does not verify, `Incompatible` if the target has a checkpoint of that number or a greater.
    pub async fn export(&self, manifest: &Manifest, target: &Arc<Self>) -> Result<()> {
        for entry in manifest.files() {
            self.check_size(entry, &format!("checkpoint {}", manifest.checkpoint))?;
            // Copied, never linked: a savepoint does not share its bytes with a checkpoint.
            let content = self.place.read(&entry.path)?.unwrap_or_default();
            target.place.replace(&entry.path, &content)?;
            // What arrived is what counts.
            target.verify_file(manifest.checkpoint, entry)?;
            pass("state.export.between")?;
        }
        target.publish(manifest).await
    }

    /// Reads the names of all files that manifests name.
    fn load_named(&self, known: &mut Known) -> Result<()> {
        if known.named.is_some() {
            return Ok(());
        }
        let mut named = BTreeMap::new();
        known.unreadable = false;
        for checkpoint in self.numbers()? {
            match self.read_manifest(checkpoint) {
                Ok(manifest) => {
                    let files = manifest.files().map(|entry| entry.path.clone()).collect();
                    named.insert(checkpoint.0, files);
                }
                Err(Error::Io { context, source }) => return Err(Error::Io { context, source }),
                Err(_) => known.unreadable = true,
            }
        }
        known.named = Some(named);
        Ok(())
    }

    /// Whether a completed checkpoint names this file, so that a new one may name it too.
    pub(crate) fn is_published(&self, path: &str) -> Result<bool> {
        let mut known = self.known();
        self.load_named(&mut known)?;
        Ok(known
            .named
            .iter()
            .flat_map(BTreeMap::values)
            .any(|files| files.contains(path)))
    }

    /// Uploads a file on behalf of an attempt; its folders are synced by [`Self::sync_uploads`].
    pub(crate) fn upload(&self, attempt: CheckpointId, from: &Path, path: &str) -> Result<()> {
        // Before the file is there: nobody may take it for garbage.
        let mut known = self.known();
        // An attempt that was given up may still be writing what a newer one has uploaded again.
        let newest = known.uploaded.entry(path.to_owned()).or_insert(attempt);
        *newest = attempt.max(*newest);
        drop(known);
        self.place.adopt(from, path)
    }

    /// Syncs the folders of uploaded files.
    pub(crate) fn sync_uploads(&self, path: &str) -> Result<()> {
        self.place.sync_folders(path)
    }

    /// Brings a file of a checkpoint to `to`: linked where it never changes, copied (and unpacked) otherwise.
    pub(crate) fn fetch(&self, entry: &FileEntry, to: &Path) -> Result<()> {
        self.check_size(entry, "the checkpoint")?;
        let packed = entry.compression.is_some();
        let arrived = if packed {
            to.with_extension("packed")
        } else {
            to.to_path_buf()
        };
        let ends = [".sst", ".parquet"];
        let never_changes = ends.iter().any(|end| entry.name.ends_with(end)) && !packed;
        if self.place.fetch(&entry.path, &arrived, never_changes)? {
            return Ok(());
        }
        let (_, sum) = local::checksum(&arrived)?;
        if sum != entry.checksum {
            return Err(Error::Corrupt(format!(
                "the state file {} is damaged: its checksum is wrong",
                self.place.shown(&entry.path)
            )));
        }
        match &entry.compression {
            None => Ok(()),
            Some(compression) => compress::unpack(*compression, &arrived, to),
        }
    }
}
