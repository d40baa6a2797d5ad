//! Damaged checkpoints: the newest whole one is used, what later ones published is withdrawn, and a warning says why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_tests::process::{Place, text_of};

use crate::orders::{Orders, Results, SQL};

/// The checkpoints of the only job below `folder`: number → manifest.
pub(crate) fn manifests(folder: &Path) -> BTreeMap<u64, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.join(".weir")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let in_manifests = folder.file_name().is_some_and(|name| name == "manifests");
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_string_lossy().parse().ok());
            match number {
                _ if path.is_dir() => folders.push(path),
                Some(number) if in_manifests => drop(found.insert(number, path)),
                _ => {}
            }
        }
    }
    assert!(
        !found.is_empty(),
        "there is a checkpoint below {}",
        folder.display()
    );
    found
}

/// The state files that a manifest names.
fn files_of(manifest: &Path) -> Vec<PathBuf> {
    let store = manifest
        .ancestors()
        .nth(2)
        .expect("manifests lie in a folder of the store");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let workers = json["workers"]
        .as_array()
        .expect("a manifest lists its workers");
    workers
        .iter()
        .flat_map(|worker| {
            worker["files"]
                .as_array()
                .expect("a worker lists its files")
        })
        .map(|file| store.join(file["path"].as_str().expect("a file has a path")))
        .collect()
}

/// Changes one byte in the middle.
pub(crate) fn flip_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    assert!(!bytes.is_empty(), "{} is empty", path.display());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    replace(path, &bytes);
}

/// Hard links may share the file's bytes with a live database: the damaged file is a new one.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Damages a state file that the newest checkpoint alone has. There is one if rows came since the one before: so checkpoints must be
/// those of stops alone, and not one more that a timer had taken just before.
pub(crate) fn damage_newest(folder: &Path, damage: fn(&Path)) {
    let manifests = manifests(folder);
    let (&number, newest) = manifests.iter().next_back().expect("a checkpoint");
    let others: Vec<_> = manifests
        .range(..number)
        .flat_map(|(_, path)| files_of(path))
        .collect();
    let own = files_of(newest)
        .into_iter()
        .find(|file| !others.contains(file) && std::fs::metadata(file).unwrap().len() > 0);
    damage(&own.expect("the newest checkpoint has a file of its own"));
}

/// A job with three checkpoints, each a stop further on; not finished.
fn stopped_thrice(root: &Path, name: &str) -> Place {
    let place = Place::new(&root.join(name), "orders", &SQL.replace("200ms", "1h"));
    for rows in ["8000", "16000", "30000"] {
        place.must_run(&[
            "--parallelism",
            "2",
            "--stop-after",
            &format!("orders={rows}"),
        ]);
    }
    assert!(
        manifests(&place.folder).len() >= 3,
        "three stops leave three checkpoints"
    );
    place
}

fn orders(root: &Path) -> (Orders, Results) {
    let orders = Orders {
        rows: 40_000,
        customers: 5_000,
    };
    orders.write(root);
    (orders, orders.expected())
}

/// Damages, resumes, and looks at the warning and at the files.
fn resumes_after(name: &str, damage: impl Fn(&Place)) {
    let root = tempfile::tempdir().unwrap();
    let (_, expected) = orders(root.path());
    let place = stopped_thrice(root.path(), name);
    damage(&place);
    let output = place.must_run(&["--parallelism", "2"]);
    let text = text_of(&output);
    assert!(
        text.to_lowercase().contains("warning"),
        "a warning says what was passed over:\n{text}"
    );
    Results::assert(&place.folder, &expected, name);
}

#[test]
fn a_truncated_manifest_is_passed_over() {
    resumes_after("truncated", |place| {
        let manifests = manifests(&place.folder);
        let (_, newest) = manifests.iter().next_back().expect("a checkpoint");
        let bytes = std::fs::read(newest).unwrap();
        replace(newest, &bytes[..bytes.len() / 2]);
    });
}

#[test]
fn a_flipped_byte_in_the_newest_checkpoint_is_found() {
    resumes_after("flipped", |place| damage_newest(&place.folder, flip_byte));
}

#[test]
fn a_missing_state_file_is_found() {
    resumes_after("missing", |place| {
        damage_newest(&place.folder, |file| std::fs::remove_file(file).unwrap())
    });
}

/// Which checkpoints are still whole after a file that two of them share was damaged decides what happens: the newest of those is
/// used; if there is none, the job says so.
#[test]
fn a_flipped_byte_in_a_shared_file_damages_all_that_share_it() {
    let root = tempfile::tempdir().unwrap();
    let (_, expected) = orders(root.path());
    let place = stopped_thrice(root.path(), "shared");
    let manifests = manifests(&place.folder);
    let lists: Vec<Vec<PathBuf>> = manifests.values().map(|path| files_of(path)).collect();
    let [.., before, newest] = lists.as_slice() else {
        panic!("there are checkpoints")
    };
    let shared: Vec<_> = newest.iter().filter(|file| before.contains(file)).collect();
    assert!(
        !shared.is_empty(),
        "checkpoints are incremental: they share files"
    );
    // One that the fewest name, so that as many checkpoints as possible stay whole.
    let named_by = |file: &&&PathBuf| lists.iter().filter(|list| list.contains(file)).count();
    let file = shared.iter().min_by_key(named_by).expect("a shared file");
    let whole = lists.iter().filter(|list| !list.contains(file)).count();
    flip_byte(file);
    let output = place.run(&["--parallelism", "2"]).output().unwrap();
    let text = text_of(&output);
    if whole > 0 {
        assert!(output.status.success(), "{text}");
        assert!(text.to_lowercase().contains("warning"), "{text}");
        Results::assert(&place.folder, &expected, "shared");
    } else {
        assert!(!output.status.success(), "no checkpoint is whole:\n{text}");
        assert!(
            text.contains("--fresh"),
            "the error says the way out:\n{text}"
        );
    }
}

#[test]
fn without_a_whole_checkpoint_the_error_is_clear() {
    let root = tempfile::tempdir().unwrap();
    orders(root.path());
    let place = stopped_thrice(root.path(), "none");
    for manifest in manifests(&place.folder).values() {
        files_of(manifest)
            .iter()
            .filter(|file| file.exists())
            .for_each(|file| std::fs::remove_file(file).unwrap());
    }
    let output = place.run(&[]).output().unwrap();
    let text = text_of(&output);
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("checkpoint") && text.contains("--fresh"),
        "what is wrong and the way out:\n{text}"
    );
    assert!(!text.contains("panicked"), "{text}");
}
