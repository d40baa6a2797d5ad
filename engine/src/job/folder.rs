//! The folder of a job: whose it is, one process at a time, and numbers that are never used twice.
//!
//! ```text
//!   .weir/JOB/lock            held while a process runs the job
//!   .weir/JOB/owner.json      job, query file
//!   .weir/JOB/counters.json   generation of the last start, highest checkpoint number ever seen
//!   .weir/JOB/checkpoints/    the checkpoint store
//!   .weir/JOB/storage.json    where it is instead, if 'checkpoint.storage' says so, and how that is reached
//!   .weir/JOB/scratch/        databases of the workers that run; of no worth afterwards
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_state::{StorageOptions, StorageSettings};
use weir_types::{CheckpointId, Generation};

use crate::{Error, Result};

/// A job's folder, locked as long as this lives.
pub(crate) struct JobFolder {
    folder: PathBuf,
    _lock: File,
    counters: Counters,
}

#[derive(Debug, Deserialize, Serialize)]
struct Owner {
    job: String,
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Counters {
    generation: u64,
    highest_checkpoint: u64,
}

/// What 'checkpoint.storage' said at the last start, for commands that have no query file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Storage {
    /// A URL, or an absolute folder.
    url: Option<String>,
    #[serde(default)]
    settings: StorageSettings,
}

/// How object stores are reached from the job in a folder, as its last start knew it.
///
/// # Errors
/// When what it noted cannot be read.
pub fn storage_settings(folder: &Path) -> Result<StorageSettings> {
    noted(folder).map(|storage| storage.settings)
}

/// Where the checkpoints of a job's last start are, whoever holds its lock.
pub(crate) fn noted_storage(folder: &Path, job: &str) -> Result<StorageOptions> {
    let noted = noted(folder)?;
    Ok(StorageOptions {
        url: noted.url,
        settings: noted.settings,
        job: job.to_owned(),
        ..StorageOptions::home(folder.join("checkpoints"))
    })
}

fn noted(folder: &Path) -> Result<Storage> {
    let path = folder.join("storage.json");
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            Error::Job(format!(
                "{} cannot be read: {error}; it was changed from outside",
                path.display()
            ))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Storage::default()),
        Err(error) => Err(failed("cannot read", &path, &error)),
    }
}

impl JobFolder {
    /// Makes or opens the folder, takes its lock, checks whose it is and counts this start.
    pub(crate) fn take(folder: &Path, job: &str, file: Option<&Path>) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| failed("cannot make", folder, &error))?;
        let lock = lock(&folder.join("lock"), job)?;
        check_owner(&folder.join("owner.json"), job, file)?;
        let path = folder.join("counters.json");
        let mut counters: Counters = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::Job(format!(
                    "{} cannot be read: {error}; it was changed from outside",
                    path.display()
                ))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Counters::default(),
            Err(error) => return Err(failed("cannot read", &path, &error)),
        };
        counters.generation += 1;
        let folder = Self {
            folder: folder.to_path_buf(),
            _lock: lock,
            counters,
        };
        folder.write_counters()?;
        // What a replay left that a crash interrupted: it begins again.
        drop(std::fs::remove_dir_all(folder.folder.join("replay")));
        let scratch = folder.scratch();
        // Databases of an earlier process: what counts of them is in the checkpoints.
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch)
                .map_err(|error| failed("cannot clear", &scratch, &error))?;
        }
        Ok(folder)
    }

    /// Another start of the same process, under the same lock.
    pub(crate) fn renew(&mut self) -> Result<()> {
        self.counters.generation += 1;
        self.write_counters()?;
        let scratch = self.scratch();
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch)
                .map_err(|error| failed("cannot clear", &scratch, &error))?;
        }
        Ok(())
    }

    /// Goes on after a generation that somebody else has seen: a storage outlives a folder.
    pub(crate) fn note_generation(&mut self, seen: Generation) -> Result<()> {
        if seen.0 >= self.counters.generation {
            self.counters.generation = seen.0 + 1;
            self.write_counters()?;
        }
        Ok(())
    }

    /// Takes the lock of a job that is not running, to read what it left; it does not count as a start.
    pub(crate) fn hold(folder: &Path, job: &str) -> Result<Self> {
        if !folder.join("owner.json").is_file() {
            return Err(Error::Job(format!(
                "[S0027] there is no job `{job}` in {}: run it first, or say where its state is with --state-dir",
                folder.display()
            )));
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            _lock: lock(&folder.join("lock"), job)?,
            counters: Counters::default(),
        })
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// The number of this start.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.counters.generation)
    }

    /// The highest checkpoint number ever seen by an earlier start.
    pub(crate) fn highest_checkpoint(&self) -> CheckpointId {
        CheckpointId(self.counters.highest_checkpoint)
    }

    /// Remembers that numbers up to `checkpoint` were used.
    pub(crate) fn note_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        if checkpoint.0 > self.counters.highest_checkpoint {
            self.counters.highest_checkpoint = checkpoint.0;
            self.write_counters()?;
        }
        Ok(())
    }

    /// Where checkpoints are.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// Notes where the checkpoints are: commands that find the folder find them too.
    pub(crate) fn note_storage(&self, options: &StorageOptions) -> Result<()> {
        let path = self.folder.join("storage.json");
        let plain = options.settings == StorageSettings::default();
        if options.url.is_none() && plain {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(failed("cannot remove", &path, &error))
                }
                _ => Ok(()),
            };
        }
        let url = options.url.as_ref().map(|url| match url.contains(':') {
            true => Ok(url.clone()),
            false => std::path::absolute(options.base.join(url))
                .map(|folder| folder.to_string_lossy().into_owned())
                .map_err(|error| failed("cannot find", Path::new(url), &error)),
        });
        write_durably(
            &path,
            &Storage {
                url: url.transpose()?,
                settings: options.settings.clone(),
            },
        )
    }

    /// Where the checkpoints of the last start are.
    pub(crate) fn noted_storage(&self, job: &str) -> Result<StorageOptions> {
        noted_storage(&self.folder, job)
    }

    /// Where databases are.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    fn write_counters(&self) -> Result<()> {
        write_durably(&self.folder.join("counters.json"), &self.counters)
    }
}

/// The query file that the state of a job belongs to, if it is known.
pub fn owner_of(state_dir: &Path) -> Option<PathBuf> {
    let text = std::fs::read(state_dir.join("owner.json")).ok()?;
    serde_json::from_slice::<Owner>(&text).ok()?.file
}

/// Gives the state of a job that is not running to another query file: an upgrade may come from one.
///
/// # Errors
/// When the job is running, or the folder cannot be written.
pub fn give_to(state_dir: &Path, job: &str, file: &Path) -> Result<()> {
    let folder = JobFolder::hold(state_dir, job)?;
    let owner = Owner {
        job: job.to_owned(),
        file: Some(file.to_path_buf()),
    };
    write_durably(&folder.path().join("owner.json"), &owner)
}

/// A process that this one is starting holds what this one had open, locks among it, until it runs its own program.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

fn lock(path: &Path, job: &str) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| failed("cannot open", path, &error))?;
    let mut held = file.try_lock();
    for _ in 0..LOCK_ATTEMPTS {
        if !matches!(held, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::park_timeout(LOCK_PAUSE);
        held = file.try_lock();
    }
    match held {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Job(format!(
            "job `{job}` is running already: another process holds {}; stop it first, or give this one another name \
             with SET 'job.name' = '…'",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed("cannot lock", path, &error)),
    }
}

fn check_owner(path: &Path, job: &str, file: Option<&Path>) -> Result<()> {
    let owner = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<Owner>(&bytes)
            .map_err(|error| Error::Job(format!("{} cannot be read: {error}", path.display())))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return write_durably(
                path,
                &Owner {
                    job: job.to_owned(),
                    file: file.map(Path::to_path_buf),
                },
            );
        }
        Err(error) => return Err(failed("cannot read", path, &error)),
    };
    if let (Some(theirs), Some(ours)) = (&owner.file, file)
        && theirs != ours
    {
        // A file that was moved is the same job: nobody else can claim the folder.
        if !theirs.exists() {
            return write_durably(
                path,
                &Owner {
                    job: job.to_owned(),
                    file: Some(ours.to_path_buf()),
                },
            );
        }
        return Err(Error::Job(format!(
            "the state of job `{job}` belongs to {}, not to {}; name this job with SET 'job.name' = '…' in its file",
            theirs.display(),
            ours.display()
        )));
    }
    Ok(())
}

/// Writes a file so that after a crash either the old or the new content is there.
fn write_durably(path: &Path, value: &impl Serialize) -> Result<()> {
    let attempt = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(value)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    attempt().map_err(|error| failed("cannot write", path, &error))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::Job(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_each_start_takes_a_new_generation() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("job");
        let first = JobFolder::take(&folder, "job", None).unwrap();
        assert_eq!(first.generation(), Generation(1));
        let second = JobFolder::take(&folder, "job", None);
        assert!(matches!(second, Err(Error::Job(text)) if text.contains("running already")));
        drop(first);
        let mut third = JobFolder::take(&folder, "job", None).unwrap();
        assert_eq!(third.generation(), Generation(2));
        third.note_checkpoint(CheckpointId(7)).unwrap();
        third.note_checkpoint(CheckpointId(3)).unwrap();
        drop(third);
        assert_eq!(
            JobFolder::take(&folder, "job", None)
                .unwrap()
                .highest_checkpoint(),
            CheckpointId(7)
        );
    }

    #[test]
    fn another_file_of_the_same_stem_is_told_how_to_name_its_job() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("job");
        let (a, b) = (base.path().join("a/q.sql"), base.path().join("b/q.sql"));
        std::fs::create_dir_all(base.path().join("a")).unwrap();
        std::fs::write(&a, "").unwrap();
        drop(JobFolder::take(&folder, "q", Some(&a)).unwrap());
        drop(JobFolder::take(&folder, "q", Some(&a)).unwrap());
        let other = JobFolder::take(&folder, "q", Some(&b));
        assert!(matches!(other, Err(Error::Job(text)) if text.contains("SET 'job.name'")));
        std::fs::remove_file(&a).unwrap();
        drop(JobFolder::take(&folder, "q", Some(&b)).unwrap());
    }
}
