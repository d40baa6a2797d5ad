//! The contract of sources and sinks, tested on each of them: positions and cuts, crashes at any step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use weir_types::{ChangeBatch, CheckpointId, Column, DataType, WorkerId, hash};

use crate::testing::{environment, read, request};
use crate::{Sink, SinkWriter, Source, TableRequest, open_sink, open_source};

// ------------------------------------------------------------------------------------------------------- sources

/// A source to test: its options, and the files that it reads.
struct Case {
    name: &'static str,
    options: Vec<(&'static str, &'static str)>,
    files: Vec<(&'static str, Vec<u8>)>,
    rows: usize,
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn json_lines(from: i64, to: i64) -> Vec<u8> {
    (from..to)
        .map(|n| {
            format!(
                "{{\"n\":{n},\"s\":\"text {}\"}}\n",
                "x".repeat((n % 40) as usize)
            )
        })
        .collect::<String>()
        .into()
}

/// A file whose columns are of other Arrow types than the table's, in small row groups.
fn parquet_file(from: i64, to: i64) -> Vec<u8> {
    use arrow::array::{ArrayRef, Int32Array, StringArray};
    let numbers = (from..to).map(|n| i32::try_from(n).unwrap());
    let texts = (from..to).map(|n| (n % 7 > 0).then(|| format!("text {n}")));
    let columns: [(&str, ArrayRef); 3] = [
        ("s", Arc::new(StringArray::from_iter(texts))),
        (
            "not read",
            Arc::new(Int32Array::from_iter_values(numbers.clone())),
        ),
        ("n", Arc::new(Int32Array::from_iter_values(numbers))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let properties = ::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(16))
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties))
            .unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    bytes
}

fn cases() -> Vec<Case> {
    let csv = |from: i64, to: i64| -> Vec<u8> {
        let rows = (from..to).map(|n| {
            format!(
                "\"line\n{}, \"\"q\"\"\",{n}\r\n\r\n",
                "y".repeat((n % 30) as usize)
            )
        });
        format!("\u{FEFF}s,n\r\n{}", rows.collect::<String>()).into()
    };
    let mut no_last_newline = json_lines(40, 60);
    no_last_newline.pop();
    let mut members = gzip(&json_lines(0, 20));
    members.extend(gzip(&json_lines(20, 50)));
    vec![
        Case {
            name: "json files",
            options: vec![
                ("connector", "filesystem"),
                ("path", "in"),
                ("format", "json"),
            ],
            files: vec![
                ("in/b.json", no_last_newline),
                ("in/a.json", json_lines(0, 40)),
                ("in/empty.json", Vec::new()),
                ("in/_hidden.json", b"no".to_vec()),
                ("in/deeper/c.json", json_lines(60, 70)),
            ],
            rows: 70,
        },
        Case {
            name: "csv files, each a split",
            options: vec![
                ("connector", "filesystem"),
                ("path", "in/*.csv"),
                ("format", "csv"),
                ("split", "file"),
            ],
            files: vec![
                ("in/1.csv", csv(0, 30)),
                ("in/2.csv", csv(30, 50)),
                ("in/3.csv", b"s,n\n".to_vec()),
            ],
            rows: 50,
        },
        Case {
            name: "gzip and zstd",
            options: vec![
                ("connector", "filesystem"),
                ("path", "in"),
                ("format", "json"),
            ],
            files: vec![
                ("in/a.json.gz", members),
                (
                    "in/b.json.zst",
                    zstd::encode_all(&json_lines(50, 80)[..], 1).unwrap(),
                ),
                ("in/c.json", json_lines(80, 90)),
            ],
            rows: 90,
        },
        Case {
            name: "followed files",
            options: vec![
                ("connector", "filesystem"),
                ("path", "in"),
                ("format", "json"),
                ("mode", "continuous"),
            ],
            files: vec![
                ("in/a.json", json_lines(0, 30)),
                ("in/b.json.gz", gzip(&json_lines(30, 60))),
            ],
            rows: 60,
        },
        Case {
            name: "followed csv",
            options: vec![
                ("connector", "filesystem"),
                ("path", "in/*"),
                ("format", "csv"),
                ("mode", "continuous"),
            ],
            files: vec![("in/a.csv", csv(0, 20)), ("in/b.csv", csv(20, 35))],
            rows: 35,
        },
        Case {
            name: "lines cut by a pattern",
            options: vec![
                ("connector", "filesystem"),
                ("path", "in/*.log"),
                ("format", "text"),
                ("text.pattern", r"^(?<n>\d+) (?<s>.*)$"),
            ],
            files: vec![
                ("in/a.log", b"1 one\n2 two words\n\n3 \n".repeat(10)),
                ("in/b.log", b"4 four\n5 five".to_vec()),
            ],
            rows: 32,
        },
        Case {
            name: "parquet files",
            options: vec![
                ("connector", "filesystem"),
                ("path", "in"),
                ("format", "parquet"),
            ],
            files: vec![
                ("in/a.parquet", parquet_file(0, 50)),
                ("in/b.parquet", parquet_file(50, 50)),
                ("in/c.parquet", parquet_file(50, 90)),
            ],
            rows: 90,
        },
        Case {
            name: "generated rows",
            options: vec![("connector", "datagen"), ("rows", "20000"), ("splits", "2")],
            files: Vec::new(),
            rows: 20_000,
        },
        Case {
            name: "generated auctions",
            options: vec![
                ("connector", "nexmark"),
                ("table", "auction"),
                ("events", "40000"),
                ("splits", "3"),
            ],
            files: Vec::new(),
            rows: 2400,
        },
    ]
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("n", DataType::Int64),
        Column::new("s", DataType::String),
    ]
}

/// The columns in the order of the request, with all metadata.
fn source_request(base: &Path, case: &Case) -> TableRequest {
    let columns = if case.options.contains(&("connector", "nexmark")) {
        vec![
            Column::new("id", DataType::Int64),
            Column::new("item_name", DataType::String),
        ]
    } else {
        columns()
    };
    let mut request = request(base, &case.options, &columns);
    for key in ["file", "offset", "line"] {
        if let Some(data_type) = crate::metadata_type(&request.options, key) {
            request
                .metadata
                .push((key.to_owned(), Column::new(key, data_type)));
        }
    }
    request
}

fn write_files(base: &Path, case: &Case) {
    for (name, text) in &case.files {
        let path = base.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn cuts_and_positions_do_not_change_what_a_source_gives() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &case);
        let source = open_source(source_request(folder.path(), &case)).unwrap();
        let splits = source.splits(&BTreeMap::new()).unwrap().splits;
        let mut total = 0;
        for split in &splits {
            let whole = read(&*source, split, None, 1 << 22, u64::MAX).unwrap();
            total += whole.rows.len();
            for (bytes, records) in [
                (1, 1),
                (1, u64::MAX),
                (100, 3),
                (64, u64::MAX),
                (1 << 20, 7),
            ] {
                if case.rows > 1000 && bytes < 64 {
                    continue; // A generator has no bytes; a row a chunk takes too long.
                }
                let cut = read(&*source, split, None, bytes, records).unwrap();
                assert_eq!(
                    cut.rows, whole.rows,
                    "{}, {split}: {bytes} bytes, {records} records",
                    case.name
                );
                let step = cut.positions.len() / 40 + 1;
                for (rows, _, position) in cut.positions.iter().step_by(step) {
                    // Positions live in a manifest: as JSON text, read by another process.
                    let position = serde_json::from_str(&position.to_string()).unwrap();
                    let restored = BTreeMap::from([(split.clone(), position)]);
                    let again = open_source(source_request(folder.path(), &case)).unwrap();
                    if splits.len() == 1 {
                        assert_eq!(
                            again.splits(&restored).unwrap().splits,
                            splits,
                            "{}",
                            case.name
                        );
                    }
                    let rest =
                        read(&*again, split, Some(&restored[split]), 1 << 20, u64::MAX).unwrap();
                    assert_eq!(
                        rest.rows,
                        whole.rows[*rows..],
                        "{}, {split}, from row {rows}",
                        case.name
                    );
                }
            }
        }
        assert_eq!(total, case.rows, "{}", case.name);
    }
}

#[test]
fn a_source_stops_at_exactly_the_records_asked_for() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &case);
        let source = open_source(source_request(folder.path(), &case)).unwrap();
        let split = &source.splits(&BTreeMap::new()).unwrap().splits[0];
        let whole = read(&*source, split, None, 1 << 22, u64::MAX).unwrap().rows;
        let mut dealer = source.dealer(split, None).unwrap();
        let mut left = 17;
        while left > 0 {
            let crate::Deal::Chunk(chunk) = dealer.deal(1 << 20, left).unwrap() else {
                panic!("{}", case.name)
            };
            left -= chunk.records;
        }
        let position = dealer.position();
        let rest = read(&*source, split, Some(&position), 1 << 20, u64::MAX)
            .unwrap()
            .rows;
        assert_eq!(rest, whole[17..], "{}", case.name);
    }
}

// --------------------------------------------------------------------------------------------------------- sinks

/// A job that counts up: checkpoint by checkpoint, with two writers, killed at random steps.
struct Job<'a> {
    base: &'a Path,
    request: TableRequest,
    generation: u64,
    random: u64,
    /// Checkpoints with a manifest, oldest first.
    manifests: Vec<Manifest>,
    /// The highest checkpoint number that was ever tried.
    highest: u64,
}

#[derive(Clone)]
struct Manifest {
    checkpoint: CheckpointId,
    prepared: Vec<serde_json::Value>,
    /// The next number.
    position: i64,
}

const END: i64 = 40;

impl Job<'_> {
    fn random(&mut self, below: u64) -> u64 {
        self.random = hash::mix(self.random.wrapping_add(0x9E37_79B9_7F4A_7C15));
        self.random % below
    }

    fn crash(&mut self) -> bool {
        self.random(12) == 0
    }

    /// One start of the job: restore, go on, perhaps crash (`None`).
    fn run(&mut self, check: &dyn Fn(&Path, i64)) -> Option<()> {
        self.generation += 1;
        let sink = open_sink(
            self.request.clone(),
            &environment(self.base, self.generation),
        )
        .unwrap();
        let mut committer = sink.committer().unwrap();
        // Sometimes the newest manifest is corrupt, and the one before it is taken.
        if self.manifests.len() > 1 && self.random(4) == 0 {
            self.manifests.pop();
        }
        let manifest = self.manifests.last().cloned();
        if let Some(manifest) = &manifest {
            committer
                .commit(manifest.checkpoint, &manifest.prepared)
                .unwrap();
            if self.crash() {
                return None;
            }
        }
        let warnings = committer
            .rollback_to(manifest.as_ref().map(|manifest| manifest.checkpoint))
            .unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let mut position = manifest.map_or(0, |manifest| manifest.position);
        check(self.base, position);
        let mut writers: Vec<_> = (0..2)
            .map(|worker| sink.writer(WorkerId(worker)).unwrap())
            .collect();
        while position < END {
            position = self.epochs(&*sink, &mut writers, position)?;
            self.highest += 1;
            let checkpoint = CheckpointId(self.highest);
            let mut prepared = Vec::new();
            for writer in &mut writers {
                prepared.extend(writer.prepare(checkpoint).unwrap());
                if self.crash() {
                    return None;
                }
            }
            self.manifests.push(Manifest {
                checkpoint,
                prepared: prepared.clone(),
                position,
            });
            if self.crash() {
                return None;
            }
            self.tear(checkpoint, &prepared)?;
            committer.commit(checkpoint, &prepared).unwrap();
            committer.commit(checkpoint, &prepared).unwrap();
            check(self.base, position);
            if self.crash() {
                return None;
            }
        }
        Some(())
    }

    fn epochs(
        &mut self,
        sink: &dyn Sink,
        writers: &mut [Box<dyn SinkWriter>],
        mut position: i64,
    ) -> Option<i64> {
        for _ in 0..self.random(3) {
            let count = self.random(5) as i64;
            for number in position..(position + count).min(END) {
                if !sink.wants_snapshot() {
                    writers[number as usize % 2]
                        .write(&numbers([number]))
                        .unwrap();
                }
            }
            position = (position + count).min(END);
            writers
                .iter_mut()
                .for_each(|writer| writer.end_epoch().unwrap());
            if self.crash() {
                return None;
            }
        }
        if sink.wants_snapshot() {
            for (worker, writer) in (0..).zip(writers.iter_mut()) {
                // Worker 1's result changes every ten numbers only.
                let of = |position: i64| {
                    if worker == 0 {
                        position
                    } else {
                        position / 10 * 10
                    }
                };
                writer
                    .write(&numbers((0..of(position)).filter(|n| n % 2 == worker)))
                    .unwrap();
            }
        }
        Some(position)
    }

    /// Does a part of what a commit does and crashes: some parts are in place, and no list.
    fn tear(&mut self, _checkpoint: CheckpointId, prepared: &[serde_json::Value]) -> Option<()> {
        if self.random(10) > 0 {
            return Some(());
        }
        let target = self.base.join(&self.request.options["path"]);
        for part in prepared
            .iter()
            .filter_map(|value| value["parts"].as_array())
            .flatten()
        {
            if self.random(2) == 0 {
                let place = target.join(part["path"].as_str().unwrap());
                std::fs::create_dir_all(place.parent().unwrap()).unwrap();
                std::fs::rename(
                    target.join("_staging").join(place.file_name().unwrap()),
                    place,
                )
                .unwrap();
            }
        }
        None
    }
}

fn numbers(numbers: impl IntoIterator<Item = i64>) -> ChangeBatch {
    let numbers = Int64Array::from_iter_values(numbers);
    let folder =
        arrow::compute::kernels::numeric::rem(&numbers, &Int64Array::new_scalar(3)).unwrap();
    let schema = DataType::arrow_schema(&sink_columns());
    ChangeBatch::append_only(RecordBatch::try_new(schema, vec![Arc::new(numbers), folder]).unwrap())
}

fn sink_columns() -> Vec<Column> {
    vec![
        Column::new("n", DataType::Int64),
        Column::new("folder", DataType::Int64),
    ]
}

/// Runs the job to its end through crashes, for many seeds.
fn crash_at_random(options: &[(&str, &str)], partitioned: bool, check: &dyn Fn(&Path, i64)) {
    for seed in 0..25 {
        let folder = tempfile::tempdir().unwrap();
        let mut request = request(folder.path(), options, &sink_columns());
        if partitioned {
            request.partitioned_by = vec![1];
        }
        // Another job's leftovers and files of nobody are not touched.
        let other = folder
            .path()
            .join("out/_staging/part-job%2E1-t%2Fsink2-1-0-0.json");
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::write(&other, "other").unwrap();
        let mut job = Job {
            base: folder.path(),
            request: request.clone(),
            generation: 0,
            random: seed,
            manifests: Vec::new(),
            highest: 0,
        };
        while job.run(check).is_none() {}
        check(folder.path(), END);
        assert!(other.exists(), "seed {seed}");
        let sink = open_sink(request, &environment(folder.path(), job.generation + 1)).unwrap();
        let mut committer = sink.committer().unwrap();
        assert!(committer.holds_output().unwrap());
        committer.remove_output().unwrap();
        assert!(!committer.holds_output().unwrap());
        check(folder.path(), 0);
        assert!(other.exists(), "seed {seed}");
    }
}

/// Every published number, in order.
fn published(folder: &Path) -> Vec<i64> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with('_') {
            continue;
        }
        if path.is_dir() {
            let value: i64 = name.strip_prefix("folder=").unwrap().parse().unwrap();
            let inside = published(&path);
            assert!(inside.iter().all(|number| number % 3 == value));
            found.extend(inside);
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            found.push(
                serde_json::from_str::<serde_json::Value>(line).unwrap()["n"]
                    .as_i64()
                    .unwrap(),
            );
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_crash_at_any_step_neither_loses_nor_doubles_a_row_of_appended_parts() {
    let options = [
        ("connector", "filesystem"),
        ("path", "out"),
        ("format", "json"),
    ];
    let check = |base: &Path, position: i64| {
        assert_eq!(
            published(&base.join("out")),
            (0..position).collect::<Vec<_>>()
        );
    };
    crash_at_random(&options, false, &check);
    crash_at_random(&options, true, &check);
}

#[test]
fn a_crash_at_any_step_leaves_a_snapshot_of_the_restored_checkpoint() {
    let options = [
        ("connector", "filesystem"),
        ("path", "out/now.json"),
        ("format", "json"),
        ("mode", "snapshot"),
        ("sink.snapshot.keep", "1000"),
    ];
    let check = |base: &Path, position: i64| {
        let text = std::fs::read_to_string(base.join("out/now.json")).unwrap_or_default();
        let mut found: Vec<i64> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["n"]
                    .as_i64()
                    .unwrap()
            })
            .collect();
        found.sort_unstable();
        let worker_1 = position / 10 * 10;
        let expected: Vec<i64> = (0..position)
            .filter(|n| n % 2 == 0 || *n < worker_1)
            .collect();
        assert_eq!(found, expected);
    };
    crash_at_random(&options, false, &check);
}

/// Sources and sinks can be shared by threads: the engine relies on it.
#[test]
fn sources_and_sinks_can_be_shared() {
    fn shared<T: Send + Sync + ?Sized>() {}
    shared::<dyn Source>();
    shared::<dyn Sink>();
}
