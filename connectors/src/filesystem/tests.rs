//! What the contract suite does not say: listings that change, files that grow, what is on disk.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use weir_types::{ChangeBatch, CheckpointId, Column, DataType, WorkerId};

use crate::testing::{environment, read, read_all, request};
use crate::{Error, SinkEnvironment, Source, TableRequest, open_sink, open_source};

fn number() -> Vec<Column> {
    vec![Column::new("n", DataType::Int64)]
}

fn lines(base: &Path, extra: &[(&str, &str)]) -> TableRequest {
    let mut options = vec![
        ("connector", "filesystem"),
        ("path", "in"),
        ("format", "json"),
    ];
    options.extend_from_slice(extra);
    request(base, &options, &number())
}

fn write(base: &Path, name: &str, text: &str) {
    let path = base.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn append(base: &Path, name: &str, text: &str) {
    OpenOptions::new()
        .append(true)
        .open(base.join(name))
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

#[test]
fn a_listing_is_fixed_at_the_first_start() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/b.json", "{\"n\":2}\n{\"n\":3}\n");
    write(folder.path(), "in/a.json", "{\"n\":1}\n");
    let source = open_source(lines(folder.path(), &[])).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let reading = read(&*source, &split, None, 1, 1).unwrap();
    assert_eq!(reading.rows, ["+1", "+2", "+3"]);
    let restored = BTreeMap::from([(split.clone(), reading.positions[2].2.clone())]);
    let again = || {
        open_source(lines(folder.path(), &[]))
            .unwrap()
            .splits(&restored)
    };

    write(folder.path(), "in/aa.json", "{\"n\":9}\n");
    let listing = again().unwrap();
    assert_eq!(listing.warnings.len(), 1);
    assert!(
        listing.warnings[0].starts_with("in/aa.json was added"),
        "{:?}",
        listing.warnings
    );
    let rest = read(&*source, &split, restored.get(&split), 100, 100).unwrap();
    assert_eq!(rest.rows, ["+3"]);

    // The same size, other first bytes; then longer; then gone. Also of a file that was read already.
    write(folder.path(), "in/a.json", "{\"n\":5}\n");
    assert!(
        matches!(again(), Err(Error::Inconsistent(text)) if text.contains("in/a.json has other contents"))
    );
    append(folder.path(), "in/a.json", "{\"n\":6}\n");
    assert!(
        matches!(again(), Err(Error::Inconsistent(text)) if text.contains("in/a.json has 16 bytes, and had 8"))
    );
    fs::remove_file(folder.path().join("in/a.json")).unwrap();
    assert!(
        matches!(again(), Err(Error::Inconsistent(text)) if text.contains("in/a.json is missing"))
    );
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/a.json", "{\"n\":1}\n{\"n\":2}\n");
    let source = open_source(lines(folder.path(), &[])).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    write(folder.path(), "in/a.json", "{\"n\":1}\n");
    let error = read(&*source, &split, None, 100, 100)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "in/a.json ends at byte 8, and had 16 when it was listed"
    );
}

#[test]
fn a_pattern_finds_what_it_says_and_no_hidden_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "in/1.json",
        "in/x/2.json",
        "in/x/y/3.json",
        "in/x/4.txt",
        "in/_5.json",
        "in/.git/6.json",
        "in/[7].json",
    ] {
        write(
            folder.path(),
            name,
            &format!(
                "{{\"n\":{}}}",
                name.chars().find(char::is_ascii_digit).unwrap()
            ),
        );
    }
    for (path, expected) in [
        ("in/*.json", &["+1", "+7"][..]),
        ("in/*/*.json", &["+2"]),
        ("in/**/*.json", &["+1", "+7", "+2", "+3"]),
        ("i?/x/{2,9}.json", &["+2"]),
        ("in/[7].json", &["+7"]),
        ("in/x", &["+2", "+4", "+3"]),
    ] {
        let mut request = lines(folder.path(), &[]);
        request.options.insert("path".to_owned(), path.to_owned());
        assert_eq!(
            read_all(&*open_source(request).unwrap()).unwrap().rows,
            expected,
            "{path}"
        );
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_are_not_entered_again() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/1.json", "{\"n\":1}");
    write(folder.path(), "in/x/2.json", "{\"n\":2}");
    write(folder.path(), "beside/3.json", "{\"n\":3}");
    let link = |to: &str, from: &str| {
        std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
    };
    link("..", "in/x/up");
    link("../beside", "in/other");
    link("../in", "beside/back");
    for path in ["in", "in/**/*.json"] {
        let mut request = lines(folder.path(), &[]);
        request.options.insert("path".to_owned(), path.to_owned());
        assert_eq!(
            read_all(&*open_source(request).unwrap()).unwrap().rows,
            ["+1", "+3", "+2"],
            "{path}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_file_whose_name_is_not_text_is_an_error_and_not_passed_over() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/1.json", "{\"n\":1}");
    let name = std::ffi::OsStr::from_bytes(b"2\xff.json");
    std::fs::write(folder.path().join("in").join(name), "{\"n\":2}").unwrap();
    for (path, meant) in [("in", true), ("in/*.json", true), ("in/1*", false)] {
        let mut request = lines(folder.path(), &[]);
        request.options.insert("path".to_owned(), path.to_owned());
        let read = open_source(request).and_then(|source| read_all(&*source));
        match read.map_err(|error| error.to_string()) {
            Err(error) => assert!(meant && error.contains("is not UTF-8"), "{path}: {error}"),
            Ok(_) => assert!(!meant, "{path}"),
        }
    }
}

#[cfg(unix)]
#[test]
fn a_device_is_refused_instead_of_read_for_ever() {
    let mut request = lines(Path::new("/"), &[]);
    request
        .options
        .insert("path".to_owned(), "/dev/zero".to_owned());
    let read = open_source(request).and_then(|source| read_all(&*source));
    let error = read.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("is a pipe or a device"), "{error}");
}

#[test]
fn a_path_without_files_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["in", "in/*.json"] {
        let mut request = lines(folder.path(), &[]);
        request.options.insert("path".to_owned(), path.to_owned());
        let error = open_source(request)
            .unwrap()
            .splits(&BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("[C0011]") && error.contains(path),
            "{error}"
        );
    }
}

#[test]
fn a_corrupt_compressed_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/a.json.gz", "no gzip at all");
    let error = read_all(&*open_source(lines(folder.path(), &[])).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("in/a.json.gz"), "{error}");
}

#[test]
fn the_progress_of_compressed_input_moves_with_what_was_read_of_it() {
    // Numbers that do not compress to nothing: some hundred kilobytes remain.
    let text: String = (0..60_000u64)
        .map(|row| format!("{{\"n\":{}}}\n", weir_types::hash::mix(row) >> 2))
        .collect();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, compressed) in [("in/a.json.gz", gzip), ("in/a.json.zst", zstd)] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "in/b.json", "{\"n\":1}\n");
        fs::write(folder.path().join(name), &compressed).unwrap();
        let size = compressed.len() as u64;
        let source = open_source(lines(folder.path(), &[])).unwrap();
        let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
        let mut dealer = source.dealer(&split, None).unwrap();
        assert_eq!(dealer.progress(), (0, Some(size + 8)));
        let (mut seen, mut middle) = (vec![0], None);
        while let crate::Deal::Chunk(_) = dealer.deal(32 << 10, u64::MAX).unwrap() {
            let done = dealer.progress().0;
            assert!(done >= seen[seen.len() - 1], "{name}: {seen:?}, {done}");
            seen.push(done);
            if middle.is_none() && done > size / 2 {
                middle = Some((dealer.position(), done));
            }
        }
        assert_eq!(seen.last(), Some(&(size + 8)));
        let inside = seen.iter().filter(|&&done| 0 < done && done < size);
        assert!(inside.count() > 10, "{name}: {seen:?}");
        // After a resume it does not start from nothing.
        let (position, done) = middle.unwrap();
        let mut resumed = source.dealer(&split, Some(&position)).unwrap();
        resumed.deal(32 << 10, 1).unwrap();
        assert!(resumed.progress().0 >= done.min(size), "{name}");
    }
}

fn followed(source: &dyn Source, dealer: &mut dyn crate::Dealer) -> Vec<String> {
    let mut rows = Vec::new();
    let mut decoder = source.decoder().unwrap();
    while let crate::Deal::Chunk(chunk) = dealer.deal(1 << 20, u64::MAX).unwrap() {
        rows.extend(crate::testing::texts(
            &decoder.decode(&chunk).unwrap().batches,
        ));
    }
    rows
}

#[test]
fn a_followed_folder_gives_appended_lines_and_new_files_in_the_order_of_discovery() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/b.json", "{\"n\":1}\n{\"n\":2}\n{\"n\"");
    let source = open_source(lines(
        folder.path(),
        &[("mode", "continuous"), ("source.scan.interval", "0 s")],
    ))
    .unwrap();
    assert!(!source.bounded());
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let mut dealer = source.dealer(&split, None).unwrap();
    assert_eq!(followed(&*source, &mut *dealer), ["+1", "+2"]);
    append(folder.path(), "in/b.json", ":3}");
    assert!(
        followed(&*source, &mut *dealer).is_empty(),
        "an unfinished line waits"
    );
    write(folder.path(), "in/c.json", "{\"n\":5}\n");
    write(folder.path(), "in/a.json", "{\"n\":4}\n");
    append(folder.path(), "in/b.json", "\n");
    assert_eq!(followed(&*source, &mut *dealer), ["+4", "+3", "+5"]);
    append(folder.path(), "in/c.json", "{\"n\":6}\n");
    let position = dealer.position();
    assert_eq!(followed(&*source, &mut *dealer), ["+6"]);
    // A segment was merged with its neighbour, and a dealer at the old position reads the same again.
    let segments = dealer.position()["segments"].as_array().unwrap().clone();
    let places: Vec<_> = segments
        .iter()
        .map(|s| {
            (
                s["file"].as_str().unwrap(),
                s["from"].as_u64().unwrap(),
                s["to"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("in/b.json", 0, 16),
            ("in/a.json", 0, 8),
            ("in/b.json", 16, 24),
            ("in/c.json", 0, 16)
        ]
    );
    let mut restored = source.dealer(&split, Some(&position)).unwrap();
    assert_eq!(followed(&*source, &mut *restored), ["+6"]);

    write(folder.path(), "in/b.json", "{\"n\":1}\n");
    let error = dealer.deal(100, 100).unwrap_err().to_string();
    assert!(
        error.starts_with("in/b.json has 8 bytes now, and 24 were read"),
        "{error}"
    );
}

#[test]
fn a_followed_csv_file_keeps_its_header_and_line_numbers() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/a.csv", "x,n\n1,1\n");
    let mut table = lines(
        folder.path(),
        &[("mode", "continuous"), ("source.scan.interval", "0 s")],
    );
    table.options.insert("format".to_owned(), "csv".to_owned());
    table
        .metadata
        .push(("line".to_owned(), Column::new("line", DataType::Int64)));
    let source = open_source(table).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let mut dealer = source.dealer(&split, None).unwrap();
    assert_eq!(followed(&*source, &mut *dealer), ["+1|2"]);
    append(folder.path(), "in/a.csv", "2,22\n");
    assert_eq!(followed(&*source, &mut *dealer), ["+22|3"]);
}

fn batch(numbers: &[i64], names: &[Option<&str>]) -> ChangeBatch {
    let schema = DataType::arrow_schema(&both());
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(numbers.to_vec())),
        Arc::new(StringViewArray::from(names.to_vec())),
    ];
    ChangeBatch::append_only(RecordBatch::try_new(schema, arrays).unwrap())
}

fn both() -> Vec<Column> {
    vec![
        Column::new("n", DataType::Int64),
        Column {
            external_name: Some("Name".to_owned()),
            ..Column::new("name", DataType::String)
        },
    ]
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn partitions_are_folders_with_encoded_values() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "out"),
        ("format", "csv"),
    ];
    let mut table = request(folder.path(), &options, &both());
    table.partitioned_by = vec![1];
    let sink = open_sink(table.clone(), &environment(folder.path(), 3)).unwrap();
    let mut writer = sink.writer(WorkerId(1)).unwrap();
    writer
        .write(&batch(
            &[1, 2, 3, 4, 5],
            &[Some("a/b"), None, Some("a/b"), Some("__null__"), Some("")],
        ))
        .unwrap();
    writer.end_epoch().unwrap();
    let prepared = writer.prepare(CheckpointId(7)).unwrap().unwrap();
    sink.committer()
        .unwrap()
        .commit(CheckpointId(7), &[prepared])
        .unwrap();
    let found = files(&folder.path().join("out"));
    // Which part has which number does not matter here.
    let published: Vec<_> = found
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .collect();
    let folders: Vec<_> = published
        .iter()
        .map(|(name, text)| {
            let (partition, part) = name.split_once('/').unwrap();
            assert!(
                part.starts_with("part-job%2E1-t%2Fsink-3-1-") && part.ends_with(".csv"),
                "{part}"
            );
            (partition, text.as_str())
        })
        .collect();
    assert_eq!(
        folders,
        [
            ("Name=%5F_null__", "n\n4\n"),
            ("Name=", "n\n5\n"),
            ("Name=__null__", "n\n2\n"),
            ("Name=a%2Fb", "n\n1\n3\n"),
        ]
    );
    let list = found
        .iter()
        .find(|(name, _)| name == "_commits/job%2E1.t%2Fsink.7.json")
        .unwrap();
    assert_eq!(list.1.matches("part-job%2E1").count(), 4);
    assert!(!found.iter().any(|(name, _)| name.starts_with("_staging")));
}

#[test]
fn a_part_that_is_gone_is_told_and_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "out"),
        ("format", "json"),
    ];
    let sink = open_sink(
        request(folder.path(), &options, &both()),
        &environment(folder.path(), 1),
    )
    .unwrap();
    let mut writer = sink.writer(WorkerId(0)).unwrap();
    writer.write(&batch(&[1], &[None])).unwrap();
    let prepared = writer.prepare(CheckpointId(1)).unwrap().unwrap();
    fs::remove_dir_all(folder.path().join("out/_staging")).unwrap();
    let outcome = sink
        .committer()
        .unwrap()
        .commit(CheckpointId(1), &[prepared]);
    assert!(matches!(outcome, Err(Error::Inconsistent(text)) if text.contains("neither in")));
}

#[test]
fn at_least_once_publishes_at_epochs_but_not_more_often_than_the_interval() {
    for (interval, expected) in [("0 s", [1, 2, 3]), ("1 h", [1, 1, 1])] {
        publish_at_epochs(interval, expected);
    }
}

fn publish_at_epochs(interval: &str, expected: [usize; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "out"),
        ("format", "json"),
        ("sink.publish.interval", interval),
    ];
    let env = SinkEnvironment {
        exactly_once: false,
        ..environment(folder.path(), 1)
    };
    let sink = open_sink(request(folder.path(), &options, &both()), &env).unwrap();
    assert_eq!(sink.visibility(), crate::Visibility::Epoch);
    let mut writer = sink.writer(WorkerId(0)).unwrap();
    let published = || {
        files(&folder.path().join("out"))
            .iter()
            .filter(|(name, _)| !name.starts_with('_'))
            .count()
    };
    let counts = [(); 3].map(|()| {
        writer.write(&batch(&[1], &[None])).unwrap();
        writer.end_epoch().unwrap();
        published()
    });
    assert_eq!(counts, expected);
    writer.write(&batch(&[1], &[None])).unwrap();
    assert_eq!(writer.prepare(CheckpointId(1)).unwrap(), None);
    let all = expected[2] + 1;
    assert_eq!(published(), all);
    // What was published so is never withdrawn: a repeated row is allowed, a lost one is not.
    let mut committer = sink.committer().unwrap();
    committer.rollback_to(None).unwrap();
    assert_eq!(
        (published(), committer.holds_output().unwrap()),
        (all, true)
    );
    committer.remove_output().unwrap();
    assert_eq!(published(), 0);
}

#[test]
fn a_snapshot_is_sorted_replaced_only_when_it_changed_and_does_not_take_a_strangers_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("connector", "filesystem"),
        ("path", "now.csv"),
        ("format", "csv"),
        ("mode", "snapshot"),
        ("sink.snapshot.keep", "3"),
    ];
    let table = request(folder.path(), &options, &both());
    write(folder.path(), "now.csv", "mine");
    let error = open_sink(table.clone(), &environment(folder.path(), 1))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("[C0012] `now.csv` is there already"),
        "{error}"
    );
    fs::remove_file(folder.path().join("now.csv")).unwrap();

    let sink = open_sink(table.clone(), &environment(folder.path(), 1)).unwrap();
    let mut committer = sink.committer().unwrap();
    let mut writers = [
        sink.writer(WorkerId(0)).unwrap(),
        sink.writer(WorkerId(1)).unwrap(),
    ];
    let show = || fs::read_to_string(folder.path().join("now.csv")).unwrap();
    let mut prepared = Vec::new();
    for checkpoint in 1..=4 {
        writers[1]
            .write(&batch(&[2, 1], &[Some("x\ny"), Some("b")]))
            .unwrap();
        // The third result is the second one.
        writers[0]
            .write(&batch(
                &[if checkpoint == 3 { 12 } else { checkpoint + 10 }],
                &[None],
            ))
            .unwrap();
        let all: Vec<_> = writers
            .iter_mut()
            .filter_map(|writer| writer.prepare(CheckpointId(checkpoint as u64)).unwrap())
            .collect();
        let before = fs::metadata(folder.path().join("now.csv"))
            .and_then(|file| file.modified())
            .ok();
        committer
            .commit(CheckpointId(checkpoint as u64), &all)
            .unwrap();
        let after = fs::metadata(folder.path().join("now.csv"))
            .and_then(|file| file.modified())
            .ok();
        assert_eq!(before == after, checkpoint == 3);
        prepared.push(all);
    }
    assert_eq!(show(), "n,Name\n1,b\n14,\n2,\"x\ny\"\n");

    // A worker that writes nothing has nothing: only the other one's rows are left.
    writers[0].write(&batch(&[7], &[None])).unwrap();
    let all: Vec<_> = writers
        .iter_mut()
        .filter_map(|writer| writer.prepare(CheckpointId(5)).unwrap())
        .collect();
    committer.commit(CheckpointId(5), &all).unwrap();
    assert_eq!(show(), "n,Name\n7,\n");
    committer.rollback_to(Some(CheckpointId(4))).unwrap();
    assert_eq!(show(), "n,Name\n1,b\n14,\n2,\"x\ny\"\n");

    // Checkpoint 3 is kept, and shown again; checkpoint 1 is not, and the file stays with a warning.
    let restore = |checkpoint: usize| {
        let sink = open_sink(table.clone(), &environment(folder.path(), 2)).unwrap();
        let mut committer = sink.committer().unwrap();
        committer
            .commit(CheckpointId(checkpoint as u64), &prepared[checkpoint - 1])
            .unwrap();
        committer
            .rollback_to(Some(CheckpointId(checkpoint as u64)))
            .unwrap()
    };
    assert!(restore(3).is_empty());
    assert_eq!(show(), "n,Name\n1,b\n12,\n2,\"x\ny\"\n");
    let warnings = restore(1);
    assert!(
        warnings.len() == 1 && warnings[0].contains("still shows the result of checkpoint 3"),
        "{warnings:?}"
    );
    assert_eq!(show(), "n,Name\n1,b\n12,\n2,\"x\ny\"\n");
}

/// What a dealer gives from a beginning, `records` of them.
fn again(
    source: &dyn Source,
    split: &weir_types::SplitId,
    position: &crate::Position,
) -> Vec<String> {
    let crate::Beginning::At(from) = source.beginning(split, position).unwrap() else {
        panic!("files are read again from a position");
    };
    let mut dealer = source.dealer(split, Some(&from)).unwrap();
    followed(source, &mut *dealer)
}

#[test]
fn what_was_followed_is_read_again_in_the_order_of_discovery_and_then_what_has_come() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/b.json", "{\"n\":1}\n");
    let options = [("mode", "continuous"), ("source.scan.interval", "0 s")];
    let source = open_source(lines(folder.path(), &options)).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let mut dealer = source.dealer(&split, None).unwrap();
    assert_eq!(followed(&*source, &mut *dealer), ["+1"]);
    write(folder.path(), "in/a.json", "{\"n\":2}\n{\"n\":3}\n");
    assert_eq!(followed(&*source, &mut *dealer), ["+2", "+3"]);
    append(folder.path(), "in/b.json", "{\"n\":4}\n");
    assert_eq!(followed(&*source, &mut *dealer), ["+4"]);
    let position = dealer.position();
    append(folder.path(), "in/a.json", "{\"n\":5}\n");
    assert_eq!(
        again(&*source, &split, &position),
        ["+1", "+2", "+3", "+4", "+5"]
    );
    // As far as it was read it ends where it ended.
    let crate::Beginning::At(from) = source.beginning(&split, &position).unwrap() else {
        panic!("files are read again from a position");
    };
    let mut dealer = source.dealer(&split, Some(&from)).unwrap();
    for _ in 0..4 {
        assert!(matches!(dealer.deal(1, 1).unwrap(), crate::Deal::Chunk(_)));
    }
    let mut restored = source.dealer(&split, Some(&dealer.position())).unwrap();
    assert_eq!(followed(&*source, &mut *restored), ["+5"]);
    fs::remove_file(folder.path().join("in/b.json")).unwrap();
    let gone = source.beginning(&split, &position).unwrap_err().to_string();
    assert!(gone.contains("in/b.json"), "{gone}");
}

#[test]
fn a_listing_is_read_again_if_its_files_are_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/a.json", "{\"n\":1}\n{\"n\":2}\n");
    let source = open_source(lines(folder.path(), &[])).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let mut dealer = source.dealer(&split, None).unwrap();
    dealer.deal(1, 1).unwrap();
    let position = dealer.position();
    write(folder.path(), "in/b.json", "{\"n\":9}\n");
    assert_eq!(again(&*source, &split, &position), ["+1", "+2"]);
    write(folder.path(), "in/a.json", "{\"n\":1}\n{\"n\":7}\n");
    let changed = source.beginning(&split, &position).unwrap_err().to_string();
    assert!(changed.contains("other contents"), "{changed}");
}

#[test]
fn the_end_of_what_is_there_is_behind_every_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/a.json", "{\"n\":1}\n{\"n\":2}\n{\"n\"");
    let options = [("mode", "continuous"), ("source.scan.interval", "0 s")];
    let source = open_source(lines(folder.path(), &options)).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let end = source.end_of(&split).unwrap().unwrap();
    append(folder.path(), "in/a.json", ":3}\n");
    let mut dealer = source.dealer(&split, Some(&end)).unwrap();
    assert_eq!(followed(&*source, &mut *dealer), ["+3"]);
}
