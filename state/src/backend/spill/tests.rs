//! Spilled entries against a model, and what makes them up.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::record::{Record, put};
use super::run::{Extent, Records, RunWriter};
use super::space::Space;
use super::*;
use crate::backend::tests::Puts;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(folder: &Path) -> SpillingBackend {
    let shared = RocksShared::new(1 << 20, 256 << 10);
    let names = vec!["a".to_owned(), "b".to_owned()];
    let database = RocksBackend::open(&shared, &folder.join("db"), names).unwrap();
    let spills = [true, false];
    SpillingBackend::new(database, &shared, &folder.join("spilled"), &spills, 2).unwrap()
}

/// One of 4000 keys in five key groups.
fn key(random: &mut SmallRng) -> Vec<u8> {
    let number: u16 = random.random_range(0..4000);
    let mut key = (7 + number % 5).to_be_bytes().to_vec();
    key.extend_from_slice(number.to_string().as_bytes());
    key
}

fn row(random: &mut SmallRng) -> Vec<u8> {
    let length = match random.random_range(0..1000) {
        0 => 100_000,
        1..100 => 0,
        _ => random.random_range(1..300),
    };
    vec![random.random(); length]
}

fn all(backend: &SpillingBackend) -> Model {
    let mut entries = Model::new();
    let mut visit = |key: &[u8], row: &[u8]| {
        entries.insert(key.to_vec(), row.to_vec());
        Ok(ControlFlow::Continue(()))
    };
    backend.scan(0, &[0], &[0xFF], &mut visit).unwrap();
    entries
}

fn check(backend: &SpillingBackend, model: &Model, random: &mut SmallRng) {
    let asked: Vec<Vec<u8>> = (0..300).map(|_| key(random)).collect();
    let mut keys = Keys::default();
    for key in &asked {
        keys.bytes.extend_from_slice(key);
        keys.end_key();
    }
    let mut found = vec![None; asked.len()];
    let mut note = |number: usize, row: &[u8]| {
        found[number] = Some(row.to_vec());
        Ok(())
    };
    backend.get_many(0, &keys, &mut note).unwrap();
    for (key, found) in asked.iter().zip(found) {
        assert_eq!(found.as_ref(), model.get(key), "{key:?}");
    }
}

#[test]
fn what_is_settled_is_in_the_database_and_what_comes_later_waits() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    let settled = |backend: &SpillingBackend| {
        let mut keys = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            keys.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        };
        backend.scan_settled(0, &[0], &[0xFF], &mut visit).unwrap();
        keys
    };
    let put = |key: &[u8]| {
        let mut writes = Writes::default();
        writes.put(0, key, b"row");
        backend.write(&writes).unwrap();
    };
    put(b"\0\x01a");
    assert!(settled(&backend).is_empty());
    backend.settle(0).unwrap();
    put(b"\0\x01b");
    assert_eq!(settled(&backend), [b"\0\x01a"]);
    assert_eq!(all(&backend).len(), 2);
}

#[test]
fn what_is_spilled_is_read_back_whatever_came_between() {
    for seed in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let backend = open(folder.path());
        let mut random = SmallRng::seed_from_u64(seed);
        let mut model = Model::new();
        for step in 0..120 {
            let mut writes = Writes::default();
            for _ in 0..random.random_range(1..1000) {
                let key = key(&mut random);
                if random.random_bool(0.2) {
                    writes.bytes.extend_from_slice(&key);
                    writes.end_key();
                    writes.end_delete(0);
                    model.remove(&key);
                } else {
                    let row = row(&mut random);
                    writes.put(0, &key, &row);
                    model.insert(key, row);
                }
            }
            backend.write(&writes).unwrap();
            check(&backend, &model, &mut random);
            match random.random_range(0..30) {
                0 => assert_eq!(all(&backend), model),
                1 => {
                    let key = key(&mut random);
                    model.insert(key.clone(), b"frozen".to_vec());
                    let entries = Puts(vec![(key, Some(b"frozen".to_vec()))]);
                    backend.write_frozen(&entries).unwrap();
                }
                2 => {
                    let links = folder.path().join(format!("links-{step}"));
                    backend.link(&links).unwrap();
                    let reader = RocksBackend::open_for_reading(&backend.shared, &links).unwrap();
                    let mut entries = Model::new();
                    let mut visit = |key: &[u8], row: &[u8]| {
                        entries.insert(key.to_vec(), row.to_vec());
                        Ok(ControlFlow::Continue(()))
                    };
                    reader.scan("a", &[0], &[0xFF], &mut visit).unwrap();
                    assert_eq!(entries, model);
                }
                3 => {
                    let mut writes = Writes::default();
                    writes.bytes.extend_from_slice(&8_u16.to_be_bytes());
                    writes.end_key();
                    writes.bytes.extend_from_slice(&9_u16.to_be_bytes());
                    writes.end_delete_range(0);
                    backend.write(&writes).unwrap();
                    model.retain(|key, _| !key.starts_with(&8_u16.to_be_bytes()));
                }
                _ => {}
            }
        }
        assert_eq!(all(&backend), model);
        assert_eq!(backend.shared.spilled_memory.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_table_that_is_settled_meanwhile_is_read_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    let key = |number: u32| [&[0, (number % 3) as u8][..], &number.to_be_bytes()].concat();
    for round in 0_u32..5 {
        let mut writes = Writes::default();
        for number in 0..5000 {
            writes.put(
                0,
                &key(number),
                &[&round.to_be_bytes()[..], &[1; 200]].concat(),
            );
        }
        backend.write(&writes).unwrap();
        let mut keys = Keys::default();
        for number in (0..5000).step_by(7) {
            keys.bytes.extend_from_slice(&key(number));
            keys.end_key();
        }
        let links = folder.path().join(format!("links-{round}"));
        std::thread::scope(|scope| {
            let linked = scope.spawn(|| backend.link(&links).map(drop));
            loop {
                let is_last = linked.is_finished();
                let mut found = 0;
                let mut visit = |_: usize, row: &[u8]| {
                    assert_eq!(row[..4], round.to_be_bytes());
                    found += 1;
                    Ok(())
                };
                backend.get_many(0, &keys, &mut visit).unwrap();
                assert_eq!(found, keys.len());
                if is_last {
                    break;
                }
            }
            linked.join().unwrap().unwrap();
        });
    }
}

#[test]
fn stretches_that_overlap_are_all_in_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    let mut random = SmallRng::seed_from_u64(3);
    let mut model = Model::new();
    for round in 0_u32..6 {
        let mut keys: Vec<u32> = (0..3000).collect();
        keys.shuffle(&mut random);
        let mut files = SortedFiles::new(&backend.database, 0);
        let mut rest = keys.as_mut_slice();
        while !rest.is_empty() {
            let length = random.random_range(1..=rest.len().min(400));
            let (stretch, behind) = rest.split_at_mut(length);
            stretch.sort_unstable();
            let key = |number: u32| [&[0, 7][..], &number.to_be_bytes()].concat();
            files.begin(&key(stretch[0])).unwrap();
            for &number in stretch.iter() {
                let row = random
                    .random_bool(0.8)
                    .then(|| vec![round as u8; number as usize % 150]);
                files.put(&key(number), row.as_deref()).unwrap();
                match row {
                    Some(row) => model.insert(key(number), row),
                    None => model.remove(&key(number)),
                };
            }
            rest = behind;
        }
        files.finish().unwrap();
        assert_eq!(all(&backend), model);
    }
}

/// A run of records with these hashes.
fn run(space: &Arc<Space>, records: &[(u64, &str, Option<&str>)]) -> Records {
    let mut bytes = Vec::new();
    let mut ends = vec![0];
    for (hash, key, row) in records {
        put(*hash, key.as_bytes(), row.map(str::as_bytes), &mut bytes);
        ends.push(bytes.len());
    }
    let all: Vec<Record<'_>> = ends
        .windows(2)
        .map(|range| Record::first(&bytes[range[0]..range[1]]).unwrap())
        .collect();
    let extent = Extent {
        places: Some((all[0].place(), all[all.len() - 1].place())),
        records: all.len() as u64,
        bytes: bytes.len() as u64,
    };
    let held = Held::new(&Arc::new(AtomicUsize::new(0)));
    let mut writer = RunWriter::new(space, &extent, held);
    all.iter().for_each(|record| writer.push(record).unwrap());
    writer.finish().unwrap().records().clone()
}

#[test]
fn keys_in_the_same_place_are_told_apart_and_the_newest_record_counts() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::create(&folder.path().join("run")).unwrap();
    let new = [
        (1 << 20, "gga", Some("new a")),
        (1 << 20, "ggc", None),
        (u64::MAX, "ggz", Some("new z")),
    ];
    let old = [
        (1 << 20, "gga", Some("old a")),
        (1 << 20, "ggb", Some("old b")),
        (1 << 20, "ggc", Some("old c")),
        (u64::MAX, "ggy", Some("old y")),
    ];
    let runs = [run(&space, &new), run(&space, &old)];
    let mut merged = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    merge(&runs, &mut |record| {
        merged.push((text(record.key), record.row.map(text)));
        record.check()
    })
    .unwrap();
    let expected = [
        ("gga", Some("new a")),
        ("ggb", Some("old b")),
        ("ggc", None),
        ("ggy", Some("old y")),
        ("ggz", Some("new z")),
    ];
    let expected = expected.map(|(key, row)| (key.to_owned(), row.map(str::to_owned)));
    assert_eq!(merged, expected);
}

#[test]
fn a_record_that_is_not_what_was_written_is_an_error() {
    let mut bytes = Vec::new();
    put(7, b"key", Some(b"row"), &mut bytes);
    Record::first(&bytes).unwrap().check().unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert!(Record::first(&damaged).is_none_or(|record| record.check().is_err()));
    }
    for length in 0..bytes.len() {
        assert!(Record::first(&bytes[..length]).is_none());
    }
}
