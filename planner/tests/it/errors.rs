//! The exact text of every diagnostic: `errors/NAME.sql` and, beside it, what a user sees, `errors/NAME.txt`.

use std::path::Path;

use crate::{check_snapshot, diagnose};

#[test]
fn every_mistake_is_told_in_the_words_of_its_snapshot() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/errors"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    assert!(
        files.len() >= 20,
        "only {} files in {}",
        files.len(),
        folder.display()
    );
    let mut failures = Vec::new();
    for file in files {
        let sql = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let problems = diagnose(&sql);
        let actual = if problems.0.is_empty() {
            "no error\n".to_owned()
        } else {
            problems.render(&name, &sql)
        };
        failures.extend(check_snapshot(&file.with_extension("txt"), &actual).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
