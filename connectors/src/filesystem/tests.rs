//! What the contract suite does not say: listings that change, files that grow, what is on disk.

mod writing;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use weir_types::{Column, DataType};

use crate::testing::{read, read_all, request};
use crate::{Error, Source, TableRequest, open_source};

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
