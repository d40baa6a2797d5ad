//! The contract of `StateBackend`, on every implementation.

use std::sync::Arc;

use super::*;

fn backends(folder: &Path) -> Vec<Arc<dyn StateBackend>> {
    let names = vec!["a@t".to_owned(), "b%2Fc@t".to_owned()];
    let shared = RocksShared::new(1 << 20, 256 << 10);
    vec![
        Arc::new(MemoryBackend::new(names.clone())),
        Arc::new(RocksBackend::open(&shared, &folder.join("db"), names).unwrap()),
    ]
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
            writes.clear();
            for i in (1000..3000).map(|i| i * 7919 % 2000 + 1000) {
                if i % 2 == 0 {
                    let row = format!("{round} {}", "n".repeat(300));
                    writes.put(0, key(i).as_bytes(), row.as_bytes());
                } else {
                    writes.bytes.extend_from_slice(key(i).as_bytes());
                    writes.end_key();
                    writes.end_delete(0);
                }
            }
            backend.write_frozen(&writes).unwrap();
        }
        writes.clear();
        writes.put(0, key(1001).as_bytes(), b"later");
        backend.write_frozen(&writes).unwrap();
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
