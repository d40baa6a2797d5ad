//! The file of records: one JSON line each, the older half dropped when it grows too large.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::CheckpointRecord;

/// The file is cut to half of this when it is larger.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where the records of a job are.
pub fn file_of(state_dir: &Path) -> PathBuf {
    state_dir.join("statistics").join("checkpoints.jsonl")
}

/// Reads the records of a job, the oldest first. Lines that cannot be read (a crash may cut one) are left out.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(state_dir: &Path) -> std::io::Result<Vec<CheckpointRecord>> {
    let text = match std::fs::read_to_string(file_of(state_dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Appends to the file.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    bytes_max: u64,
    /// Whether a failure was told.
    told: bool,
}

impl Log {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            path: file_of(state_dir),
            bytes_max: FILE_BYTES_MAX,
            told: false,
        }
    }

    /// Appends a record. Statistics fail nothing: what cannot be written is said once.
    pub(crate) fn append(&mut self, record: &CheckpointRecord) {
        if let Err(error) = self.try_append(record)
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!(path = %self.path.display(), %error, "statistics of checkpoints cannot be written");
        }
    }

    fn try_append(&self, record: &CheckpointRecord) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.write_all(&line)?;
        if file.metadata()?.len() > self.bytes_max {
            drop(file);
            self.cut()?;
        }
        Ok(())
    }

    /// Keeps the newer half, in whole lines.
    fn cut(&self) -> std::io::Result<()> {
        let text = std::fs::read(&self.path)?;
        let half = text.len().saturating_sub((self.bytes_max / 2) as usize);
        let start = text[half..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(text.len(), |at| half + at + 1);
        let new = self.path.with_extension("new");
        File::create(&new)?.write_all(&text[start..])?;
        std::fs::rename(new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::doctor::tests::record;
    use super::*;

    #[test]
    fn records_come_back_in_order_and_the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path());
        log.bytes_max = 20_000;
        for number in 0..500 {
            log.append(&record(number));
            assert!(std::fs::metadata(file_of(folder.path())).unwrap().len() <= 20_000);
        }
        let read = read(folder.path()).unwrap();
        assert!(read.len() > 5 && read.len() < 500);
        let numbers: Vec<u64> = read.iter().map(|record| record.checkpoint).collect();
        let expected: Vec<u64> = (500 - read.len() as u64..500).collect();
        assert_eq!(numbers, expected);
        assert_eq!(read.last(), Some(&record(499)));
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path());
        log.append(&record(1));
        let path = file_of(folder.path());
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"checkpoint\": 2, \"gen\n");
        std::fs::write(&path, text).unwrap();
        log.append(&record(3));
        let numbers: Vec<u64> = read(folder.path())
            .unwrap()
            .iter()
            .map(|record| record.checkpoint)
            .collect();
        assert_eq!(numbers, [1, 3]);
        assert!(read(&folder.path().join("elsewhere")).unwrap().is_empty());
    }
}
