//! A disk that is really full, beside the errors that other tests only pretend.
//!
//! ```text
//!   user namespace ─▶ tmpfs of 4 MB ─▶ filled while the job runs ─▶ emptied again ─▶ the job ends well
//!   anywhere       ─▶ files that may not grow (RLIMIT_FSIZE) ─▶ the job fails and says so ─▶ the same command goes on
//! ```

use weir_tests::process::{Place, folded_changelog, text_of};
use weir_tests::value::{Multiset, Value};

use super::sql;

/// Runs `weir` in a file system of four megabytes, of which another file takes most until the test says so. Where no file
/// system can be had (no user namespaces), files of the process may not grow instead: the system refuses the same writes, by
/// another name.
const FULL_DISK: &str = r#"
set -e
if unshare -Urm true 2>/dev/null && [ "$1" = mount ]; then
  exec unshare -Urm sh "$0" inside "$2" "$3"
fi
if [ "$1" = inside ]; then
  mkdir -p full && mount -t tmpfs -o size=4m none full
  "$2" run job.sql --no-progress -p 2 --checkpoint-storage full --set checkpoint.tolerable-failures=unlimited &
  pid=$!
  while [ ! -e full/job/manifests/00000002.json ]; do sleep 0.02; done
  dd if=/dev/zero of=full/filler bs=64k 2>/dev/null || true
  sleep 1
  rm full/filler
  wait $pid
else
  trap '' XFSZ
  ulimit -f 4
  exec "$2" run job.sql --no-progress -p 2 --set checkpoint.tolerable-failures=3
fi
"#;

fn on_a_full_disk(place: &Place, how: &str) -> std::process::Output {
    std::fs::write(place.folder.join("full.sh"), FULL_DISK).unwrap();
    std::process::Command::new("sh")
        .args(["full.sh", how])
        .arg(weir_tests::process::binary())
        .current_dir(&place.folder)
        .output()
        .unwrap()
}

#[test]
fn a_disk_that_is_really_full_fails_checkpoints_and_when_there_is_space_the_output_is_exact() {
    let wide = |settings: &[(&str, &str)]| {
        // Checkpoints that are larger than a block.
        sql(6000, settings).replace("% 100", "% 5000")
    };
    let exact = |place: &Place, text: &str| {
        let expected = Multiset::of((0..5000).map(|key: i64| {
            let ids: Vec<i64> = (0..6000).filter(|id| id % 5000 == key).collect();
            let sum = ids.iter().sum();
            vec![
                Value::Int(key),
                Value::Int(ids.len() as i64),
                Value::Int(sum),
            ]
        }));
        let found = folded_changelog(&place.folder.join("out"));
        if let Some(difference) = found.difference(&expected) {
            panic!("{difference}\n{text}");
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(
        folder.path(),
        "job",
        &wide(&[("checkpoint.interval", "50ms")]),
    );
    let output = on_a_full_disk(&place, "mount");
    let text = text_of(&output);
    if text.contains("taken up by the next one") {
        // A file system of its own was filled, and emptied again while the job ran.
        assert!(output.status.success(), "{text}");
        assert!(text.contains("No space left on device"), "{text}");
        exact(&place, &text);
    }
    // And without root or namespaces, anywhere: files that may not grow.
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("checkpoint.interval", "50ms"),
        ("restart.strategy", "none"),
    ];
    let place = Place::new(folder.path(), "job", &wide(&settings));
    let output = on_a_full_disk(&place, "limit");
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("File too large"), "{text}");
    place.must_run(&[]);
    exact(&place, &text);
}
