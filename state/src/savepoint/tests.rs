//! A savepoint and back: the same entries in the database, whatever the backend and the parallelism on either side.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_types::{CheckpointId, KeyGroupRange};

use super::stored::Stored;
use super::*;
use crate::tests::support::*;
use crate::*;

type Dump = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// Every entry of a checkpoint, as bytes.
fn dump(store: &Arc<CheckpointStore>, manifest: &Manifest, scratch: &Path) -> Dump {
    let stored = Stored::open(&manifest.restore_from(store), scratch).unwrap();
    let all = KeyGroupRange {
        start: 0,
        end: GROUPS,
    };
    let mut found = Dump::new();
    for table in &manifest.tables {
        let mut last: Option<Vec<u8>> = None;
        stored
            .scan(table, all, &mut |key, row| {
                assert!(last.as_deref() < Some(key), "entries come in order");
                last = Some(key.to_vec());
                found.insert((table.table.clone(), key.to_vec()), row.to_vec());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
    }
    found
}

/// Random entries in every table.
fn fill(states: &[WorkerState], rng: &mut SmallRng, rows: usize) {
    let workers = states.len() as u32;
    for n in 0..rows as i64 {
        let key = ints(&[rng.random_range(-(rows as i64)..rows as i64)]);
        let state = &states[owner(&key, workers)];
        let value = key_value(&key);
        put_int(&state.map_table(&operator(), "ints"), value, n);
        let slice = rng.random_range(0..5) * 1_000_000;
        let slices = state.slice_table(&operator(), "slices");
        put_int(&slices.slice(slice).unwrap(), value, n);
        let hashes = weir_types::hash::hash_columns(std::slice::from_ref(&key), 1);
        let text = ["", "a\0b", "ä", "long long long long text"][rng.random_range(0..4)];
        let batch = row_batch(&[(n % 7, text.to_owned())]);
        let keys = [key.clone()];
        let weight = [rng.random_range(1..4)];
        state
            .multi_map_table(&operator(), "rows")
            .apply(&keys, &hashes, &batch, &weight)
            .unwrap();
        state
            .sorted_table(&operator(), "sorted")
            .apply(&keys, &hashes, &batch, &weight)
            .unwrap();
    }
    states.iter().for_each(|state| state.end_epoch().unwrap());
}

fn key_value(key: &arrow::array::ArrayRef) -> i64 {
    use arrow::array::AsArray;
    key.as_primitive::<arrow::datatypes::Int64Type>().value(0)
}

struct Saved {
    folder: tempfile::TempDir,
    store: Arc<CheckpointStore>,
    manifest: Manifest,
}

/// A checkpoint of random state.
fn saved(kind: BackendKind, workers: u32, seed: u64, rows: usize) -> Saved {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("c")).unwrap();
    let setup = Setup {
        kind,
        memory: 64 << 20,
        inline: true,
    };
    let (_shared, states) = setup.open(folder.path(), 1, workers, None);
    fill(&states, &mut SmallRng::seed_from_u64(seed), rows);
    let manifest = checkpoint(1, kind, &states, &store);
    Saved {
        folder,
        store,
        manifest,
    }
}

impl Saved {
    fn write(&self, name: &str) -> Result<Savepoint> {
        let scratch = self.folder.path().join("scratch/export");
        let about = SavepointAbout {
            note: Some("a note".to_owned()),
            ..SavepointAbout::default()
        };
        write_savepoint(
            &self.store,
            &self.manifest,
            &self.folder.path().join(name),
            &scratch,
            about,
        )
    }

    fn dump(&self) -> Dump {
        dump(
            &self.store,
            &self.manifest,
            &self.folder.path().join("scratch/dump"),
        )
    }
}

#[test]
fn entries_are_the_same_after_a_savepoint_at_any_parallelism_and_on_either_backend() {
    let kinds = [BackendKind::Rocksdb, BackendKind::Memory];
    for (seed, (kind, workers)) in kinds.into_iter().zip([3, 1]).enumerate() {
        let saved = saved(kind, workers, seed as u64, 400);
        let before = saved.dump();
        assert!(before.len() > 800);
        let savepoint = saved.write("sp").unwrap();
        assert_eq!(savepoint.manifest.totals.rows, before.len() as u64);
        savepoint.verify(std::path::Path::new("unused")).unwrap();
        // It is moved, and the checkpoint that it came from is gone.
        let moved = saved.folder.path().join("elsewhere");
        std::fs::rename(&savepoint.folder, &moved).unwrap();
        let savepoint = Savepoint::open(&moved).unwrap();
        assert_eq!(savepoint.manifest.note.as_deref(), Some("a note"));
        for (number, (kind, workers)) in kinds
            .into_iter()
            .flat_map(|kind| [1, 2, 4, 7].map(|workers| (kind, workers)))
            .enumerate()
        {
            let folder = tempfile::tempdir().unwrap();
            let store = CheckpointStore::local(folder.path().join("c")).unwrap();
            let number = CheckpointId(5 + number as u64);
            let scratch = folder.path().join("s");
            let import = import_savepoint(&savepoint, &store, number, &scratch);
            let imported = wait(import).unwrap();
            assert_eq!(dump(&store, &imported, &folder.path().join("d")), before);
            wait(store.verify(&imported)).unwrap();
            let setup = Setup {
                kind,
                memory: 64 << 20,
                inline: true,
            };
            let from = imported.restore_from(&store);
            let (_shared, states) = setup.open(folder.path(), 2, workers, Some(&from));
            // Something is added and taken away again, so that caches work over the restored entries.
            let key = ints(&[1_000_000]);
            let state = &states[owner(&key, workers)];
            put_int(&state.map_table(&operator(), "ints"), 1_000_000, 1);
            state.end_epoch().unwrap();
            remove_int(&state.map_table(&operator(), "ints"), 1_000_000);
            states.iter().for_each(|state| state.end_epoch().unwrap());
            let after = checkpoint(number.0 + 1, kind, &states, &store);
            assert_eq!(
                dump(&store, &after, &folder.path().join("d")),
                before,
                "{kind:?} {workers}"
            );
        }
    }
}

#[test]
fn a_reader_gives_the_same_rows_of_a_checkpoint_and_of_its_savepoint() {
    let saved = saved(BackendKind::Rocksdb, 2, 9, 300);
    let savepoint = saved.write("sp").unwrap();
    let scratch = saved.folder.path().join("scratch/read");
    let of_checkpoint =
        StateReader::of_checkpoint(&saved.store, &saved.manifest, &scratch).unwrap();
    let of_savepoint = StateReader::of_savepoint(savepoint);
    let rows = |reader: &StateReader, table: usize, range| {
        let mut batches = Vec::new();
        reader
            .scan(table, range, &mut |batch| {
                batches.push(batch);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    for (table, info) in of_savepoint.tables().iter().enumerate() {
        // Nothing was put into this one.
        if info.table == "texts" {
            assert_eq!(
                of_savepoint.rows_by_group(table).unwrap(),
                [0; GROUPS as usize]
            );
            continue;
        }
        let whole = rows(&of_checkpoint, table, None);
        assert_eq!(rows(&of_savepoint, table, None), whole);
        let counted: u64 = of_checkpoint.rows_by_group(table).unwrap().iter().sum();
        assert_eq!(counted as usize, whole.num_rows());
        let part = Some(KeyGroupRange { start: 3, end: 7 });
        assert_eq!(
            rows(&of_savepoint, table, part),
            rows(&of_checkpoint, table, part)
        );
        let names: Vec<&str> = info
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(names[0], "_key_group");
    }
}

#[test]
fn a_taken_folder_is_left_alone_and_half_a_savepoint_is_written_anew() {
    let saved = saved(BackendKind::Memory, 1, 3, 20);
    let savepoint = saved.write("sp").unwrap();
    let again = saved.write("sp").unwrap_err().to_string();
    assert!(again.contains("S0021"), "{again}");
    std::fs::remove_file(savepoint.folder.join("manifest.json")).unwrap();
    assert!(
        Savepoint::open(&savepoint.folder)
            .unwrap_err()
            .to_string()
            .contains("S0020")
    );
    saved
        .write("sp")
        .unwrap()
        .verify(std::path::Path::new("unused"))
        .unwrap();
    let other = saved.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("mine.txt"), "x").unwrap();
    assert!(
        saved
            .write("other")
            .unwrap_err()
            .to_string()
            .contains("mine.txt")
    );
    assert!(other.join("mine.txt").exists());
    // Deleting leaves what is not the savepoint's.
    std::fs::write(savepoint.folder.join("mine.txt"), "x").unwrap();
    Savepoint::open(&savepoint.folder)
        .unwrap()
        .delete()
        .unwrap();
    assert!(savepoint.folder.join("mine.txt").exists());
    assert!(!savepoint.folder.join("tables").exists());
}

#[test]
fn damage_is_found_by_verify_and_by_a_restore() {
    let saved = saved(BackendKind::Memory, 1, 4, 50);
    let savepoint = saved.write("sp").unwrap();
    let file = savepoint
        .folder
        .join(&savepoint.manifest.tables[0].files[0].path);
    let whole = std::fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 4;
    for content in [damaged, whole[..whole.len() - 3].to_vec()] {
        std::fs::write(&file, &content).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::local(folder.path().join("c")).unwrap();
        let scratch = folder.path().join("s");
        let import = import_savepoint(&savepoint, &store, CheckpointId(2), &scratch);
        for error in [
            savepoint
                .verify(std::path::Path::new("unused"))
                .unwrap_err(),
            wait(import).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains("S0024") && text.contains("parquet"), "{text}");
        }
        assert!(
            wait(store.list()).unwrap().is_empty(),
            "no checkpoint was made"
        );
    }
    std::fs::write(&file, &whole).unwrap();
    let path = savepoint.folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("a note", "another")).unwrap();
    let error = Savepoint::open(&savepoint.folder).unwrap_err().to_string();
    assert!(error.contains("S0022"), "{error}");
    std::fs::write(
        &path,
        text.replace("\"format_version\": 2", "\"format_version\": 9"),
    )
    .unwrap();
    let error = Savepoint::open(&savepoint.folder).unwrap_err().to_string();
    assert!(error.contains("S0023"), "{error}");
}

#[test]
fn a_pinned_checkpoint_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("c")).unwrap();
    let setup = Setup {
        kind: BackendKind::Memory,
        memory: 1 << 20,
        inline: true,
    };
    let (_shared, states) = setup.open(folder.path(), 1, 1, None);
    store.pin(CheckpointId(1));
    for number in 1..=3 {
        put_int(&states[0].map_table(&operator(), "ints"), number as i64, 1);
        states[0].end_epoch().unwrap();
        checkpoint(number, BackendKind::Memory, &states, &store);
        wait(store.retain(1, None)).unwrap();
    }
    let listed = || wait(store.list()).unwrap();
    assert_eq!(listed(), [CheckpointId(1), CheckpointId(3)]);
    let first = wait(store.load(CheckpointId(1))).unwrap();
    wait(store.verify(&first)).unwrap();
    store.unpin(CheckpointId(1));
    wait(store.retain(1, None)).unwrap();
    assert_eq!(listed(), [CheckpointId(3)]);
}
