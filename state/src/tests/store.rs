//! Checkpoints at rest: damage is found, numbers are used once, shared files are kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_types::CheckpointId;

use super::support::*;
use crate::*;

struct Job {
    folder: tempfile::TempDir,
    store: Arc<CheckpointStore>,
    state: WorkerState,
    manifests: Vec<Manifest>,
}

impl Job {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::local(folder.path().join("c")).unwrap();
        let setup = Setup {
            kind: BackendKind::Rocksdb,
            memory: 64 << 20,
            inline: true,
        };
        let state = setup.open(folder.path(), 1, 1, None).1.remove(0);
        Self {
            folder,
            store,
            state,
            manifests: Vec::new(),
        }
    }

    /// A checkpoint that adds one key.
    fn checkpoint(&mut self) -> Manifest {
        let number = self
            .manifests
            .last()
            .map_or(1, |last| last.checkpoint.0 + 1);
        put_int(
            &self.state.map_table(&operator(), "ints"),
            number as i64,
            number as i64,
        );
        self.state.end_epoch().unwrap();
        let manifest = checkpoint(
            number,
            BackendKind::Rocksdb,
            std::slice::from_ref(&self.state),
            &self.store,
        );
        self.manifests.push(manifest.clone());
        manifest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("c").join(name)
    }

    fn newest(&self) -> (Option<u64>, Vec<String>) {
        // A store of its own, as after a restart.
        let store = CheckpointStore::local(self.folder.path().join("c")).unwrap();
        let (manifest, warnings) = wait(store.newest_whole()).unwrap();
        (manifest.map(|manifest| manifest.checkpoint.0), warnings)
    }
}

fn tables_of(manifest: &Manifest) -> Vec<&FileEntry> {
    manifest
        .files()
        .filter(|file| file.name.ends_with(".sst"))
        .collect()
}

fn flip(path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    // Replaced, not written to: the running database has a link to the same file.
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn files_are_shared_between_checkpoints_and_only_new_ones_are_uploaded() {
    let mut job = Job::new();
    let first = job.checkpoint();
    let second = job.checkpoint();
    let shared: Vec<_> = tables_of(&first)
        .into_iter()
        .filter(|file| tables_of(&second).contains(file))
        .collect();
    assert!(!shared.is_empty());
    let new: u64 = second
        .files()
        .filter(|file| first.files().all(|old| old != *file))
        .map(|file| file.size)
        .sum();
    assert_eq!(second.workers[0].bytes_new, new);
    assert!(
        first
            .files()
            .all(|file| file.path.starts_with("data/g1/w0/") && file.path.contains(&file.checksum))
    );
}

#[test]
fn a_flipped_byte_in_the_newest_checkpoint_falls_back_to_the_one_before() {
    let mut job = Job::new();
    let first = job.checkpoint();
    let second = job.checkpoint();
    let own = tables_of(&second)
        .into_iter()
        .find(|file| !tables_of(&first).contains(file))
        .unwrap();
    flip(&job.path(&own.path));
    let (newest, warnings) = job.newest();
    assert_eq!(newest, Some(1));
    assert!(
        warnings[0].contains("checkpoint 2") && warnings[0].contains(&own.path),
        "{warnings:?}"
    );
}

#[test]
fn a_flipped_byte_in_a_shared_file_takes_all_checkpoints_that_share_it() {
    let mut job = Job::new();
    let first = job.checkpoint();
    job.checkpoint();
    flip(&job.path(&tables_of(&first)[0].path));
    let (newest, warnings) = job.newest();
    assert_eq!((newest, warnings.len()), (None, 2));
}

#[test]
fn a_missing_file_falls_back_and_is_named() {
    let mut job = Job::new();
    job.checkpoint();
    let second = job.checkpoint();
    let path = &tables_of(&second).last().unwrap().path;
    std::fs::remove_file(job.path(path)).unwrap();
    assert!(job.newest().1[0].contains(path));
    assert!(job.newest().1[0].contains("missing"));
}

#[test]
fn a_cut_or_changed_manifest_falls_back_whatever_byte_it_is() {
    let mut job = Job::new();
    job.checkpoint();
    job.checkpoint();
    let path = job.path("manifests/00000002.json");
    let whole = std::fs::read(&path).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(value["format_version"], 2, "a manifest is plain JSON");
    for length in (0..whole.len() - 1).step_by(97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(job.newest().0, Some(1), "cut at {length}");
    }
    for position in (0..whole.len() - 1).step_by(31) {
        let mut changed = whole.clone();
        changed[position] ^= 0x01;
        std::fs::write(&path, &changed).unwrap();
        // A changed version may read as one of a later release: that is an error, never a silent fallback.
        let store = CheckpointStore::local(job.folder.path().join("c")).unwrap();
        match wait(store.newest_whole()) {
            Ok((newest, warnings)) => {
                assert_eq!(
                    (newest.unwrap().checkpoint.0, warnings.len()),
                    (1, 1),
                    "changed at {position}"
                );
            }
            Err(error) => assert!(matches!(error, Error::Incompatible(_)), "{error}"),
        }
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(job.newest(), (Some(2), vec![]));
}

#[test]
fn a_manifest_that_names_files_elsewhere_is_refused() {
    let mut job = Job::new();
    let mut manifest = job.checkpoint();
    manifest.workers[0].files[0].path = "../../outside".to_owned();
    let text = manifest.to_text().unwrap();
    let error = Manifest::from_text(text.as_bytes(), Path::new("m.json")).unwrap_err();
    assert!(
        error.to_string().contains("outside of the checkpoints"),
        "{error}"
    );
}

#[test]
fn a_number_is_never_used_twice() {
    let mut job = Job::new();
    job.checkpoint();
    let second = job.checkpoint();
    wait(job.store.remove(CheckpointId(2))).unwrap();
    let store = CheckpointStore::local(job.folder.path().join("c")).unwrap();
    assert_eq!(wait(store.list()).unwrap(), [CheckpointId(1)]);
    assert_eq!(wait(store.highest()).unwrap(), Some(CheckpointId(2)));
    assert!(matches!(
        wait(store.publish(&second)),
        Err(Error::Incompatible(_))
    ));
    let mut third = second;
    third.checkpoint = CheckpointId(3);
    wait(store.publish(&third)).unwrap();
    assert!(matches!(
        wait(store.publish(&third)),
        Err(Error::Incompatible(_))
    ));
}

#[test]
fn a_manifest_is_not_created_before_its_files_are_there() {
    let mut job = Job::new();
    let mut manifest = job.checkpoint();
    manifest.checkpoint = CheckpointId(2);
    std::fs::remove_file(job.path(&manifest.workers[0].files[0].path)).unwrap();
    assert!(matches!(
        wait(job.store.publish(&manifest)),
        Err(Error::Corrupt(_))
    ));
    assert_eq!(wait(job.store.list()).unwrap(), [CheckpointId(1)]);
}

#[test]
fn retention_forgets_old_checkpoints_and_deletes_only_what_nobody_names() {
    let mut job = Job::new();
    for _ in 0..5 {
        job.checkpoint();
    }
    let stray = job.path("data/g1/w0/000099-stray.sst");
    std::fs::write(&stray, b"left behind by a crash").unwrap();
    wait(job.store.retain(2, None)).unwrap();
    assert_eq!(
        wait(job.store.list()).unwrap(),
        [CheckpointId(4), CheckpointId(5)]
    );
    assert!(!stray.exists());
    for manifest in &job.manifests[3..] {
        wait(job.store.verify(manifest)).unwrap();
    }
    // What checkpoint 1 wrote and checkpoint 5 still uses is there.
    assert!(
        tables_of(&job.manifests[0])
            .iter()
            .any(|file| tables_of(&job.manifests[4]).contains(file))
    );
}

#[test]
fn retention_keeps_what_an_attempt_in_flight_uploaded() {
    let mut job = Job::new();
    job.checkpoint();
    put_int(&job.state.map_table(&operator(), "ints"), 77, 77);
    job.state.end_epoch().unwrap();
    let part = wait(
        job.state
            .freeze(CheckpointId(2), &job.store)
            .unwrap()
            .result(),
    )
    .unwrap();
    wait(job.store.retain(1, Some(CheckpointId(2)))).unwrap();
    let manifest = manifest(2, BackendKind::Rocksdb, vec![part.clone()]);
    wait(job.store.verify(&manifest)).unwrap();
    // Given up: the same files are garbage now.
    wait(job.store.retain(1, None)).unwrap();
    assert!(matches!(
        wait(job.store.verify(&manifest)),
        Err(Error::Corrupt(_))
    ));
    // The next checkpoint uploads them again instead of trusting a file that no manifest named.
    job.manifests.push(manifest);
    let third = job.checkpoint();
    wait(job.store.verify(&third)).unwrap();
}

#[test]
fn an_unreadable_manifest_stops_the_deletion_of_files() {
    let mut job = Job::new();
    for _ in 0..3 {
        job.checkpoint();
    }
    std::fs::write(job.path("manifests/00000002.json"), b"{").unwrap();
    wait(job.store.retain(2, None)).unwrap();
    for manifest in &job.manifests {
        wait(job.store.verify(manifest)).unwrap();
    }
    // Nor does it keep the job from taking checkpoints, which may upload again what only that manifest names.
    job.store = CheckpointStore::local(job.folder.path().join("c")).unwrap();
    job.checkpoint();
    for manifest in &job.manifests {
        wait(job.store.verify(manifest)).unwrap();
    }
    let parts = std::fs::read_dir(job.path("data/g1/w0")).unwrap();
    assert!(parts.into_iter().all(|file| {
        !file
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".part")
    }));
}

#[test]
fn an_export_is_self_contained() {
    let mut job = Job::new();
    job.checkpoint();
    let second = job.checkpoint();
    let target = CheckpointStore::local(job.folder.path().join("savepoint")).unwrap();
    wait(job.store.export(&second, &target)).unwrap();
    std::fs::remove_dir_all(job.path("")).unwrap();
    let (manifest, warnings) = wait(target.newest_whole()).unwrap();
    assert_eq!((manifest.as_ref(), warnings.len()), (Some(&second), 0));
    let setup = Setup {
        kind: BackendKind::Rocksdb,
        memory: 64 << 20,
        inline: true,
    };
    let from = second.restore_from(&target);
    let state = setup.open(job.folder.path(), 2, 1, Some(&from)).1.remove(0);
    let ints = state.map_table(&operator(), "ints");
    assert_eq!(
        (get_int(&ints, 1), get_int(&ints, 2), get_int(&ints, 3)),
        (Some(1), Some(2), None)
    );
    // A checkpoint in another store than the restored one has to upload everything.
    let store = CheckpointStore::local(job.folder.path().join("c2")).unwrap();
    let third = checkpoint(3, BackendKind::Rocksdb, &[state], &store);
    wait(store.verify(&third)).unwrap();
}

#[test]
fn a_restored_job_shares_files_with_the_checkpoint_that_it_came_from() {
    let mut job = Job::new();
    let first = job.checkpoint();
    let setup = Setup {
        kind: BackendKind::Rocksdb,
        memory: 64 << 20,
        inline: true,
    };
    let (_, states) = setup.open(
        job.folder.path(),
        2,
        1,
        Some(&first.restore_from(&job.store)),
    );
    put_int(&states[0].map_table(&operator(), "ints"), 50, 50);
    states[0].end_epoch().unwrap();
    let second = checkpoint(2, BackendKind::Rocksdb, &states, &job.store);
    assert!(
        tables_of(&first)
            .iter()
            .all(|file| tables_of(&second).contains(file))
    );
    assert!(
        tables_of(&second)
            .iter()
            .any(|file| file.path.starts_with("data/g2/w0/"))
    );
    wait(job.store.verify(&second)).unwrap();
}

#[test]
fn another_schema_is_refused_by_name() {
    let mut job = Job::new();
    let manifest = job.checkpoint();
    let open = |tables: Vec<TableSpec>, key_groups: u16| {
        let options = WorkerOptions {
            worker: weir_types::WorkerId(0),
            range: weir_types::KeyGroupRange {
                start: 0,
                end: key_groups,
            },
            key_groups,
            generation: weir_types::Generation(5),
            scratch: job.folder.path().join("scratch/other"),
            inline_writes: true,
            snapshots: SnapshotOptions::default(),
        };
        let shared = SharedState::new(BackendKind::Memory, 1 << 20).unwrap();
        match WorkerState::open(
            shared,
            options,
            tables,
            Some(&manifest.restore_from(&job.store)),
        ) {
            Err(Error::Incompatible(text)) => text,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it opened"),
        }
    };
    let mut renamed = specs();
    renamed[0].value[0].name = "other".to_owned();
    assert!(open(renamed, GROUPS).contains("'ints'"));
    let mut retyped = specs();
    retyped[1].key[1].data_type = weir_types::DataType::Int32;
    assert!(open(retyped, GROUPS).contains("'texts'"));
    assert!(open(specs()[1..].to_vec(), GROUPS).contains("'ints'"));
    assert!(open(specs(), 8).contains("key groups"));
}
