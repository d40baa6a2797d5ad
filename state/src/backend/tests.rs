//! The contract of `StateBackend`, on every implementation.

use std::sync::Arc;

use super::*;

fn backends(folder: &Path) -> Vec<Arc<dyn StateBackend>> {
    let names = vec!["a@t".to_owned(), "b%2Fc@t".to_owned()];
    let shared = RocksShared::new(1 << 20, 256 << 10);
    vec![
        Arc::new(MemoryBackend::new(names.clone())),
        Arc::new(RocksBackend::open(&shared, &folder.join("db"), names.clone()).unwrap()),
        Arc::new(spilling(&shared, folder, names)),
    ]
}

fn spilling(shared: &RocksShared, folder: &Path, names: Vec<String>) -> SpillingBackend {
    let database = RocksBackend::open(shared, &folder.join("spilling"), names).unwrap();
    SpillingBackend::new(database, shared, &folder.join("spilled"), &[true, true], 1).unwrap()
}

fn all(
    backend: &dyn StateBackend,
    table: TableIndex,
    from: &[u8],
    to: &[u8],
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    backend
        .scan(table, from, to, &mut |key, row| {
            entries.push((key.to_vec(), row.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    entries
}

fn pair(key: &str, row: &str) -> (Vec<u8>, Vec<u8>) {
    (key.into(), row.into())
}

#[test]
fn writes_are_read_back_in_order_and_ranges_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    for backend in backends(folder.path()) {
        let mut writes = Writes::default();
        for key in ["b", "a", "c", "ab"] {
            writes.put(0, key.as_bytes(), format!("row {key}").as_bytes());
        }
        writes.put(1, b"a", b"other table");
        backend.write(&writes).unwrap();
        let entries = all(&*backend, 0, b"a", b"c");
        assert_eq!(
            entries,
            [pair("a", "row a"), pair("ab", "row ab"), pair("b", "row b")]
        );
        assert_eq!(all(&*backend, 0, b"c", b"a"), []);
        for (from, to, expected) in [
            ("a", "c", &["b", "ab", "a"][..]),
            ("aa", "b", &["ab"]),
            ("", "z", &["c", "b", "ab", "a"]),
            ("c", "a", &[]),
            ("d", "e", &[]),
        ] {
            let mut found = Vec::new();
            let visit = &mut |key: &[u8], _: &[u8]| {
                found.push(String::from_utf8(key.to_vec()).unwrap());
                Ok(ControlFlow::Continue(()))
            };
            backend
                .scan_back(0, from.as_bytes(), to.as_bytes(), visit)
                .unwrap();
            assert_eq!(found, expected, "back from {to} to {from}");
        }

        let mut keys = Keys::default();
        for key in ["c", "missing", "a"] {
            keys.bytes.extend_from_slice(key.as_bytes());
            keys.end_key();
        }
        let mut found = Vec::new();
        backend
            .get_many(0, &keys, &mut |index, row| {
                found.push((index, row.to_vec()));
                Ok(())
            })
            .unwrap();
        found.sort();
        assert_eq!(found, [(0, b"row c".to_vec()), (2, b"row a".to_vec())]);

        writes.clear();
        writes.bytes.extend_from_slice(b"a");
        writes.end_key();
        writes.bytes.extend_from_slice(b"b");
        writes.end_delete_range(0);
        writes.bytes.extend_from_slice(b"c");
        writes.end_key();
        writes.end_delete(0);
        backend.write(&writes).unwrap();
        assert_eq!(all(&*backend, 0, b"", b"z"), [pair("b", "row b")]);
        assert_eq!(all(&*backend, 1, b"", b"z"), [pair("a", "other table")]);
    }
}

/// Keys of table 0 with their rows; `None` is a deletion.
pub(super) struct Puts(pub(super) Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl FrozenEntries for Puts {
    fn table(&self) -> TableIndex {
        0
    }

    fn memory(&self) -> usize {
        let rows = self
            .0
            .iter()
            .map(|(_, row)| row.as_ref().map_or(0, Vec::len));
        rows.sum()
    }

    fn places(&self) -> Vec<u32> {
        (0..self.0.len() as u32).collect()
    }

    fn put_key(&self, place: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[place as usize].0);
    }

    fn put_row(&self, place: u32, out: &mut Vec<u8>) -> bool {
        let row = &self.0[place as usize].1;
        row.iter().for_each(|row| out.extend_from_slice(row));
        row.is_some()
    }
}

#[test]
fn entries_of_a_freeze_hide_what_was_written_before_and_are_hidden_by_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let key = |i: usize| format!("key {i:05}");
    for backend in backends(folder.path()) {
        let mut writes = Writes::default();
        let old = "o".repeat(100);
        (0..4000).for_each(|i| writes.put(0, key(i).as_bytes(), old.as_bytes()));
        writes.put(1, key(7).as_bytes(), b"other table");
        backend.write(&writes).unwrap();
        // Large enough for a file of its own, in no order; twice, so that the second one lies over the first.
        for round in ["first", "second"] {
            let entry = |i: usize| {
                let row = format!("{round} {}", "n".repeat(300));
                (
                    key(i).into_bytes(),
                    i.is_multiple_of(2).then(|| row.into_bytes()),
                )
            };
            let numbers = (1000..3000).map(|i| i * 7919 % 2000 + 1000);
            backend
                .write_frozen(&Puts(numbers.map(entry).collect()))
                .unwrap();
        }
        let later = (key(1001).into_bytes(), Some(b"later".to_vec()));
        let bytes = backend.write_frozen(&Puts(vec![later])).unwrap();
        assert_eq!(bytes, 14);
        let entries = all(&*backend, 0, b"", b"z");
        assert_eq!(entries.len(), 3001);
        let row = |i: usize| {
            let found = entries.iter().find(|entry| entry.0 == key(i).as_bytes());
            found.map(|entry| String::from_utf8(entry.1[..5].to_vec()).unwrap())
        };
        let some = |row: &str| Some(row.to_owned());
        assert_eq!(
            [
                row(999),
                row(1000),
                row(1001),
                row(1003),
                row(2998),
                row(3000)
            ],
            [
                some("ooooo"),
                some("secon"),
                some("later"),
                None,
                some("secon"),
                some("ooooo")
            ]
        );
        assert_eq!(all(&*backend, 1, b"", b"z").len(), 1);
        let files = backend.link(&folder.path().join("links")).unwrap();
        assert!(!files.is_empty());
        std::fs::remove_dir_all(folder.path().join("links")).unwrap();
    }
}

#[test]
fn links_hold_what_was_written_before_them_and_nothing_later() {
    let folder = tempfile::tempdir().unwrap();
    for (number, backend) in backends(folder.path()).into_iter().enumerate() {
        let mut writes = Writes::default();
        writes.put(0, b"k", b"before");
        backend.write(&writes).unwrap();
        let links = folder.path().join(format!("links-{number}"));
        let files = backend.link(&links).unwrap();
        writes.clear();
        writes.put(0, b"k", b"after");
        backend.write(&writes).unwrap();
        drop(backend);
        let mut found = Vec::new();
        if number == 0 {
            read_snapshot(&files[0].path, &mut |table, key, row| {
                found.push((table.to_owned(), pair("", "").0, key.to_vec(), row.to_vec()));
                Ok(())
            })
            .unwrap();
            assert_eq!(
                found,
                [("a@t".to_owned(), vec![], b"k".to_vec(), b"before".to_vec())]
            );
        } else {
            let shared = RocksShared::new(1 << 20, 256 << 10);
            let reader = RocksBackend::open_for_reading(&shared, &links).unwrap();
            let mut rows = Vec::new();
            let mut visit = |_: &[u8], row: &[u8]| {
                rows.push(row.to_vec());
                Ok(ControlFlow::Continue(()))
            };
            reader.scan("a@t", b"", b"z", &mut visit).unwrap();
            reader.scan("no such table", b"", b"z", &mut visit).unwrap();
            assert_eq!(rows, [b"before".to_vec()]);
        }
    }
}

#[test]
fn a_damaged_snapshot_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let backend = MemoryBackend::new(vec!["t".to_owned()]);
    let mut writes = Writes::default();
    writes.put(0, b"key", b"row");
    backend.write(&writes).unwrap();
    let file = backend
        .link(&folder.path().join("links"))
        .unwrap()
        .remove(0)
        .path;
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(
        whole[..whole.len() - 8],
        [
            b"WEIRSTAT".as_slice(),
            &[1, 1, 1],
            b"t",
            &[1, 3],
            b"key",
            &[3],
            b"row"
        ]
        .concat()
    );
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x10;
        std::fs::write(&file, damaged).unwrap();
        assert!(matches!(
            read_snapshot(&file, &mut |_, _, _| Ok(())),
            Err(crate::Error::Corrupt(_))
        ));
        std::fs::write(&file, &whole[..position]).unwrap();
        assert!(matches!(
            read_snapshot(&file, &mut |_, _, _| Ok(())),
            Err(crate::Error::Corrupt(_))
        ));
    }
}

#[test]
fn the_end_of_a_prefix_is_the_next_prefix() {
    assert_eq!(after_prefix(&[1, 2]), [1, 3]);
    assert_eq!(after_prefix(&[1, 0xFF]), [2]);
    assert_eq!(after_prefix(&[0xFF]), [0u8; 0]);
}

#[test]
fn writes_are_sorted_by_their_whole_keys_equal_ones_as_they_came() {
    let mut writes = Writes::default();
    let keys: [&[u8]; 7] = [
        b"0123456789abcdefz",
        b"b",
        b"0123456789abcdef",
        b"",
        b"b\0",
        b"0123456789abcdefa",
        b"b",
    ];
    for key in keys {
        writes.put(0, key, b"row");
    }
    assert_eq!(writes.sorted(), [3, 2, 5, 0, 1, 6, 4]);
    // What a range covers hangs on what came before it.
    writes.end_key();
    writes.end_delete_range(0);
    assert_eq!(writes.sorted(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test that watches a thread of the database"
)]
fn what_is_written_at_every_checkpoint_is_at_rest_a_few_times_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let shared = RocksShared::new(8 << 20, 1 << 20);
    let backend =
        RocksBackend::open(&shared, &folder.path().join("db"), vec!["t".to_owned()]).unwrap();
    let (keys, row) = (2048_u32, [7; 240]);
    for checkpoint in 0..48_u64 {
        let entry = |key: u32| (key.to_be_bytes().to_vec(), Some(row.to_vec()));
        backend
            .write_frozen(&Puts((0..keys).map(entry).collect()))
            .unwrap();
        let links = folder.path().join(format!("links-{checkpoint}"));
        backend.link(&links).unwrap();
        std::fs::remove_dir_all(&links).unwrap();
        backend.tidy(checkpoint).unwrap();
    }
    // The database merges in its own time.
    let most = 2 * super::rocksdb::TURNS * u64::from(keys);
    for _ in 0..600 {
        if backend.size(0).0 <= most {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{} entries of {keys} keys are at rest", backend.size(0).0);
}
