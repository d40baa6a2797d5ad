//! The contract suite: random operations against a model, on both backends, with tiny budgets, freezes at random
//! moments, and restores at other parallelism and into the other backend.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::support::*;
use crate::*;

type Rows = BTreeMap<(i64, i64, String), i64>;

/// What the state should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    ints: BTreeMap<i64, (i64, String)>,
    texts: BTreeMap<(String, i64), i64>,
    slices: BTreeMap<(i64, i64), i64>,
    rows: Rows,
    /// By key; what a sorted table holds, in its order.
    sorted: BTreeMap<i64, Sorted>,
}

/// The greatest text first, then the smallest number; with multiplicities.
type Sorted = BTreeMap<(std::cmp::Reverse<String>, i64), i64>;

struct Job {
    workers: u32,
    states: Vec<WorkerState>,
    model: Model,
    rng: SmallRng,
    keys: i64,
}

impl Job {
    fn step(&mut self) {
        match self.rng.random_range(0..12) {
            0..3 => self.change_ints(),
            3..5 => self.change_texts(),
            5..7 => self.change_slices(),
            7..9 => self.change_rows(),
            9..11 => self.change_sorted(),
            _ => self.end_epoch(),
        }
    }

    fn end_epoch(&self) {
        self.states.iter().for_each(|state| {
            state.end_epoch().unwrap();
            state.check();
        });
    }

    fn change_ints(&mut self) {
        let keys: Vec<i64> = (0..40)
            .map(|_| self.rng.random_range(0..self.keys))
            .collect();
        let remove = self.rng.random_bool(0.3);
        for worker in 0..self.workers as usize {
            let mine: Vec<i64> = keys
                .iter()
                .copied()
                .filter(|&key| owner(&ints(&[key]), self.workers) == worker)
                .collect();
            if mine.is_empty() {
                continue;
            }
            let table = self.states[worker].map_table(&operator(), "ints");
            if remove {
                let slots = find(&table, &[ints(&mine)]);
                for (key, slot) in mine.iter().zip(slots) {
                    let expected = self.model.ints.remove(key);
                    if slot != u32::MAX && expected.is_some() {
                        table.remove(&[slot]);
                    }
                }
                continue;
            }
            let slots = slots_of(&table, &[ints(&mine)]);
            for (&key, &slot) in mine.iter().zip(&slots) {
                let old = table.with_columns(|c| (!c.is_null(0, slot)).then(|| c.i64(0, slot)));
                assert_eq!(old, self.model.ints.get(&key).map(|(n, _)| *n), "key {key}");
                let value = self.rng.random_range(-5..1_000_000);
                let text = "x".repeat(self.rng.random_range(0..60));
                table.with_columns(|c| {
                    c.set_i64(0, slot, value);
                    c.set_bytes(1, slot, text.as_bytes());
                });
                table.mark_dirty(&[slot]);
                self.model.ints.insert(key, (value, text));
            }
        }
    }

    fn change_texts(&mut self) {
        for _ in 0..10 {
            let key = (
                format!("key\0{}", self.rng.random_range(0..self.keys)),
                self.rng.random_range(0..2i64),
            );
            let arrays = [texts(std::slice::from_ref(&key.0)), ints(&[key.1])];
            let group =
                weir_types::hash::key_group(weir_types::hash::hash_columns(&arrays, 1)[0], GROUPS);
            let table = self.states[group.worker(self.workers, GROUPS).0 as usize]
                .map_table(&operator(), "texts");
            let slot = find(&table, &arrays)[0];
            let found = (slot != u32::MAX).then(|| table.with_columns(|c| c.i64(0, slot)));
            assert_eq!(found, self.model.texts.get(&key).copied(), "key {key:?}");
            if slot != u32::MAX && self.rng.random_bool(0.4) {
                table.remove(&[slot]);
                self.model.texts.remove(&key);
            } else {
                let value = self.rng.random_range(0..100);
                let slot = slots_of(&table, &arrays)[0];
                table.with_columns(|c| c.set_i64(0, slot, value));
                table.mark_dirty(&[slot]);
                self.model.texts.insert(key, value);
            }
        }
    }

    fn change_slices(&mut self) {
        let end = self.rng.random_range(-3..5i64) * 10;
        if self.rng.random_bool(0.15) {
            for state in &self.states {
                state
                    .slice_table(&operator(), "slices")
                    .drop_slice(end)
                    .unwrap();
            }
            self.model.slices.retain(|(slice, _), _| *slice != end);
            return;
        }
        for _ in 0..20 {
            let key = self.rng.random_range(0..self.keys);
            let state = &self.states[owner(&ints(&[key]), self.workers)];
            let table = state.slice_table(&operator(), "slices").slice(end).unwrap();
            assert_eq!(
                get_int(&table, key),
                self.model.slices.get(&(end, key)).copied(),
                "slice {end} key {key}"
            );
            if self.rng.random_bool(0.2) {
                remove_int(&table, key);
                self.model.slices.remove(&(end, key));
            } else {
                let value = self.rng.random_range(0..100);
                put_int(&table, key, value);
                self.model.slices.insert((end, key), value);
            }
        }
    }

    fn change_rows(&mut self) {
        let key = self.rng.random_range(0..self.keys.min(30));
        let state = &self.states[owner(&ints(&[key]), self.workers)];
        let table = state.multi_map_table(&operator(), "rows");
        let mut rows = Vec::new();
        let mut weights = Vec::new();
        for _ in 0..8 {
            let row = (
                self.rng.random_range(0..20i64),
                "b".repeat(self.rng.random_range(0..30)),
            );
            let name = (key, row.0, row.1.clone());
            let count = self.model.rows.get(&name).copied().unwrap_or(0);
            let weight = if count > 0 && self.rng.random_bool(0.5) {
                -1
            } else {
                1
            };
            match count + weight {
                0 => {
                    self.model.rows.remove(&name);
                }
                count => {
                    self.model.rows.insert(name, count);
                }
            }
            rows.push(row);
            weights.push(weight);
        }
        let keys = [ints(&vec![key; rows.len()])];
        let hashes = weir_types::hash::hash_columns(&keys, rows.len());
        table
            .apply(&keys, &hashes, &row_batch(&rows), &weights)
            .unwrap();
        let probed = self.rng.random_range(0..self.keys.min(30));
        self.probe(probed);
    }

    fn probe(&mut self, key: i64) {
        let table =
            self.states[owner(&ints(&[key]), self.workers)].multi_map_table(&operator(), "rows");
        let keys = [ints(&[key, key])];
        let hashes = weir_types::hash::hash_columns(&keys, 2);
        let skip = arrow::buffer::BooleanBuffer::from(vec![true, false]);
        let (mut found, mut cursor) = (Rows::new(), Some(ProbeCursor::default()));
        while let Some(from) = cursor {
            let limit = self.rng.random_range(1..20);
            let (matches, next) = table
                .probe(&keys, &hashes, Some(&skip), from, limit)
                .unwrap();
            assert!(matches.counts.len() <= limit);
            assert!(matches.probe_rows.values().iter().all(|&row| row == 1));
            add_rows(&mut found, key, &matches.rows, &matches.counts);
            cursor = next;
        }
        let expected: Rows = self
            .model
            .rows
            .iter()
            .filter(|((k, _, _), _)| *k == key)
            .map(|(k, v)| (k.clone(), *v))
            .collect();
        assert_eq!(found, expected);
    }

    fn change_sorted(&mut self) {
        // Few keys, one of them with many rows.
        let key = self.rng.random_range(0..12).min(5i64);
        let state = &self.states[owner(&ints(&[key]), self.workers)];
        let table = state.sorted_table(&operator(), "sorted");
        let model = self.model.sorted.entry(key).or_default();
        if self.rng.random_bool(0.1) {
            let text = "b".repeat(self.rng.random_range(0..40));
            let (keys, from) = ([ints(&[key])], [texts(std::slice::from_ref(&text))]);
            let range = SortedRange {
                from: Some(SortBound {
                    values: &from,
                    row: 0,
                    inclusive: true,
                }),
                to: Some(SortBound {
                    values: &from,
                    row: 0,
                    inclusive: true,
                }),
                reverse: self.rng.random_bool(0.5),
            };
            let hash = weir_types::hash::hash_columns(&keys, 1)[0];
            let removed = table.remove_range(&keys, 0, hash, &range).unwrap();
            let expected = model.iter().filter(|((b, _), _)| b.0 == text);
            assert_eq!(removed, expected.map(|(_, count)| count).sum::<i64>());
            model.retain(|(b, _), _| b.0 != text);
        }
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for _ in 0..30 {
            let row = (
                self.rng.random_range(0..40i64),
                "b".repeat(self.rng.random_range(0..40)),
            );
            let name = (std::cmp::Reverse(row.1.clone()), row.0);
            let count = model.get(&name).copied().unwrap_or(0);
            let retracts = count > 0 && self.rng.random_bool(0.5);
            let weight = if retracts { -1 } else { 1 };
            match count + weight {
                0 => drop(model.remove(&name)),
                count => drop(model.insert(name, count)),
            }
            rows.push(row);
            weights.push(weight);
        }
        let keys = [ints(&vec![key; rows.len()])];
        let hashes = weir_types::hash::hash_columns(&keys, rows.len());
        table
            .apply(&keys, &hashes, &row_batch(&rows), &weights)
            .unwrap();
        for _ in 0..3 {
            self.read_sorted();
        }
    }

    /// Reads a random range of a random key, forwards or backwards, and compares it with the model's.
    fn read_sorted(&mut self) {
        let key = self.rng.random_range(0..7i64);
        let table =
            self.states[owner(&ints(&[key]), self.workers)].sorted_table(&operator(), "sorted");
        let bound = |rng: &mut SmallRng| -> Option<(String, Option<i64>, bool)> {
            let text = "b".repeat(rng.random_range(0..40));
            let number = rng.random_bool(0.5).then(|| rng.random_range(0..40i64));
            rng.random_bool(0.5)
                .then(|| (text, number, rng.random_bool(0.5)))
        };
        let (from, to) = (bound(&mut self.rng), bound(&mut self.rng));
        let reverse = self.rng.random_bool(0.5);
        let limit = [1, 3, 20, 10_000][self.rng.random_range(0..4)];
        let arrays = |bound: &Option<(String, Option<i64>, bool)>| {
            let bound = bound.as_ref();
            bound.map(|(text, number, inclusive)| {
                let texts = texts(std::slice::from_ref(text));
                let numbers = number.map(|number| ints(&[number]));
                (
                    [Some(texts), numbers].into_iter().flatten().collect(),
                    *inclusive,
                )
            })
        };
        let from_arrays: Option<(Vec<_>, bool)> = arrays(&from);
        let to_arrays: Option<(Vec<_>, bool)> = arrays(&to);
        let range = SortedRange {
            from: from_arrays.as_ref().map(|(values, inclusive)| SortBound {
                values,
                row: 0,
                inclusive: *inclusive,
            }),
            to: to_arrays.as_ref().map(|(values, inclusive)| SortBound {
                values,
                row: 0,
                inclusive: *inclusive,
            }),
            reverse,
        };
        // A row against a bound: below, within its prefix, or above.
        let compare = |row: &(std::cmp::Reverse<String>, i64),
                       bound: &(String, Option<i64>, bool)| {
            let text = row.0.cmp(&std::cmp::Reverse(bound.0.clone()));
            text.then(
                bound
                    .1
                    .map_or(std::cmp::Ordering::Equal, |number| row.1.cmp(&number)),
            )
        };
        let inside = |row: &(std::cmp::Reverse<String>, i64)| {
            let after = from.as_ref().is_none_or(|bound| match compare(row, bound) {
                std::cmp::Ordering::Equal => bound.2,
                order => order.is_gt(),
            });
            let before = to.as_ref().is_none_or(|bound| match compare(row, bound) {
                std::cmp::Ordering::Equal => bound.2,
                order => order.is_lt(),
            });
            after && before
        };
        let empty = Sorted::new();
        let model = self.model.sorted.get(&key).unwrap_or(&empty);
        let all = model.iter().filter(|(row, _)| inside(row));
        let mut expected: Vec<(i64, String, i64)> = all
            .map(|((b, a), count)| (*a, b.0.clone(), *count))
            .collect();
        if reverse {
            expected.reverse();
        }
        expected.truncate(limit);
        let keys = [ints(&[-1, key])];
        let hashes = weir_types::hash::hash_columns(&keys, 2);
        let (rows, counts) = table.range(&keys, 1, hashes[1], &range, limit).unwrap();
        let found: Vec<(i64, String, i64)> = (0..rows.num_rows())
            .map(|row| {
                let single = rows.slice(row, 1);
                (int(&single, 0), text(&single, 1), counts[row])
            })
            .collect();
        assert_eq!(
            found, expected,
            "key {key} from {from:?} to {to:?}, reverse {reverse}"
        );
    }

    /// Everything that the state holds, by scans.
    fn content(&self) -> Model {
        let mut model = Model::default();
        for state in &self.states {
            let table = state.map_table(&operator(), "ints");
            scan(&table, |row| {
                assert!(
                    model
                        .ints
                        .insert(int(row, 0), (int(row, 1), text(row, 2)))
                        .is_none()
                );
            });
            let table = state.map_table(&operator(), "texts");
            scan(&table, |row| {
                assert!(
                    model
                        .texts
                        .insert((text(row, 0), int(row, 1)), int(row, 2))
                        .is_none()
                );
            });
            let slices = state.slice_table(&operator(), "slices");
            for end in slices.ends() {
                scan(&slices.slice(end).unwrap(), |row| {
                    assert!(
                        model
                            .slices
                            .insert((end, int(row, 0)), int(row, 1))
                            .is_none()
                    );
                });
            }
            let table = state.sorted_table(&operator(), "sorted");
            table
                .scan(&mut |batch, counts| {
                    let sorted = model.sorted.entry(0).or_default();
                    for (row, count) in counts.iter().enumerate() {
                        let single = batch.slice(row, 1);
                        let name = (std::cmp::Reverse(text(&single, 1)), int(&single, 0));
                        *sorted.entry(name).or_default() += count;
                    }
                    Ok(())
                })
                .unwrap();
            let table = state.multi_map_table(&operator(), "rows");
            table
                .scan(&mut |batch, counts| {
                    // A scan gives no keys: all keys together.
                    add_rows(&mut model.rows, 0, &batch, &counts);
                    Ok(())
                })
                .unwrap();
        }
        model
    }

    fn check(&self) {
        let mut expected = self.model.clone();
        expected.rows.clear();
        for ((_, a, b), count) in &self.model.rows {
            *expected.rows.entry((0, *a, b.clone())).or_default() += count;
        }
        expected.sorted = BTreeMap::from([(0, Sorted::new())]);
        for (name, count) in self.model.sorted.values().flatten() {
            let sorted = expected.sorted.entry(0).or_default();
            *sorted.entry(name.clone()).or_default() += count;
        }
        let mut content = self.content();
        content.sorted.entry(0).or_default();
        assert_eq!(content, expected);
    }
}

fn add_rows(rows: &mut Rows, key: i64, batch: &arrow::array::RecordBatch, counts: &[i64]) {
    for (row, count) in counts.iter().enumerate() {
        assert!(*count > 0);
        let single = batch.slice(row, 1);
        *rows
            .entry((key, int(&single, 0), text(&single, 1)))
            .or_default() += count;
    }
}

fn scan(table: &MapTable, mut f: impl FnMut(&arrow::array::RecordBatch)) {
    table
        .scan(&mut |batch| {
            (0..batch.num_rows()).for_each(|row| f(&batch.slice(row, 1)));
            Ok(())
        })
        .unwrap();
}

fn int(row: &arrow::array::RecordBatch, column: usize) -> i64 {
    use arrow::array::AsArray;
    row.column(column)
        .as_primitive::<arrow::datatypes::Int64Type>()
        .value(0)
}

fn text(row: &arrow::array::RecordBatch, column: usize) -> String {
    use arrow::array::AsArray;
    row.column(column).as_string_view().value(0).to_owned()
}

/// Runs random steps, takes checkpoints at random moments, and restores each at the end into every backend and
/// parallelism: it must hold what the model held at the freeze.
fn run(seed: u64, kind: BackendKind, memory: usize, inline: bool) {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("checkpoints")).unwrap();
    let setup = Setup {
        kind,
        memory,
        inline,
    };
    let workers = 1 + (seed % 3) as u32;
    let (shared, states) = setup.open(folder.path(), 1, workers, None);
    let rng = SmallRng::seed_from_u64(seed);
    let mut job = Job {
        workers,
        states,
        model: Model::default(),
        rng,
        keys: 600,
    };
    let mut frozen = Vec::new();
    for number in 1..=4 {
        (0..60).for_each(|_| job.step());
        let pending: Vec<_> = job
            .states
            .iter()
            .map(|state| {
                state
                    .freeze(weir_types::CheckpointId(number), &store)
                    .unwrap()
            })
            .collect();
        let model = job.model.clone();
        // The writer is at work while these go on.
        (0..40).for_each(|_| job.step());
        frozen.push((publish(number, kind, pending, &store), model));
        job.check();
    }
    if memory < 1 << 20 {
        assert!(
            shared.statistics().entries_spilled > 0,
            "a tiny budget spills"
        );
        assert!(shared.statistics().entries_reloaded > 0, "and reloads");
    }
    drop(job);
    let (mut generation, mut restores) = (2, 0);
    for (manifest, model) in frozen {
        wait(store.verify(&manifest)).unwrap();
        for kind in [BackendKind::Rocksdb, BackendKind::Memory] {
            let workers = 1 + (restores % 4);
            restores += 1;
            let setup = Setup {
                kind,
                memory,
                inline: true,
            };
            let (_, states) = setup.open(
                folder.path(),
                generation,
                workers,
                Some(&manifest.restore_from(&store)),
            );
            let rng = SmallRng::seed_from_u64(seed);
            let mut job = Job {
                workers,
                states,
                model: model.clone(),
                rng,
                keys: 600,
            };
            job.check();
            // It goes on like any other.
            (0..30).for_each(|_| job.step());
            job.check();
            generation += 1;
        }
    }
}

#[test]
fn random_operations_match_the_model_with_memory_to_spare() {
    run(1, BackendKind::Rocksdb, 64 << 20, false);
    run(2, BackendKind::Memory, 64 << 20, false);
}

#[test]
fn random_operations_match_the_model_under_a_tiny_budget() {
    for seed in 3..7 {
        run(seed, BackendKind::Rocksdb, 96 << 10, false);
        run(seed + 100, BackendKind::Memory, 96 << 10, false);
    }
}

#[test]
fn random_operations_match_the_model_when_snapshots_are_written_inline() {
    run(7, BackendKind::Rocksdb, 96 << 10, true);
    run(8, BackendKind::Memory, 96 << 10, true);
}
