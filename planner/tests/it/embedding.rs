//! The planner alone: what it depends on, and a crate outside of the workspace that uses nothing else of Weir.
//!
//! The crate `tests/outside/planner` is resolved as a workspace of its own, with the versions of our lock file: what comes with the
//! planner there is what comes with it for everybody. It is compiled by the compiler itself, with the planner that was built for this
//! test, and not by cargo: of the 276 units of a build of its own (same profile, same lock file, our target folder) cargo takes 201
//! from ours and compiles 75 again, every crate of Arrow and DataFusion among them. They are the same code with fewer features of what
//! is below them: chrono without `serde`, serde_json without `raw_value`, object_store without its clouds, tokio without `net`, zstd
//! without its defaults. That is ten minutes of compiling for what `rustc` says in a second; whether the planner's own list of
//! features is enough is seen when that list changes, by the test of what is resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Crates with a `links` key that come with the planner, and who brings them.
const LINKS: &[(&str, &str)] = &[
    // datafusion-common has Arrow's IPC with compression: zstd is compiled from its own C source.
    ("zstd-sys", "zstd"),
];

/// What must never come with the planner: stores, and what needs libclang or a system library.
const NEVER: &[&str] = &[
    "rocksdb",
    "librocksdb-sys",
    "bindgen",
    "clang-sys",
    "openssl-sys",
    "cmake",
    "parquet",
    "datafusion",
];

#[test]
fn nothing_comes_with_the_planner_that_needs_a_system_package() {
    let folder = tempdir("metadata");
    let manifest =
        std::fs::read_to_string(root().join("tests/outside/planner/Cargo.toml")).unwrap();
    let planner = root().join("planner");
    let manifest = manifest.replace("../../../planner", &planner.to_string_lossy());
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    std::fs::create_dir_all(folder.join("src")).unwrap();
    std::fs::write(folder.join("src/main.rs"), "").unwrap();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--offline", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let edges: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), &node["deps"]))
        .collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![text(&metadata["resolve"]["root"])];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for edge in list(edges[id]) {
            let is_used = list(&edge["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"] != "dev");
            if is_used {
                open.push(text(&edge["pkg"]));
            }
        }
    }
    let names: BTreeSet<&str> = seen.iter().map(|id| text(&packages[id]["name"])).collect();
    assert!(
        names.contains("weir-planner") && names.contains("datafusion-sql"),
        "{names:?}"
    );
    let linked: Vec<(&str, &str)> = seen
        .iter()
        .filter_map(|id| Some((text(&packages[id]["name"]), packages[id]["links"].as_str()?)))
        .collect();
    assert_eq!(linked, LINKS);
    let never: Vec<&&str> = NEVER.iter().filter(|name| names.contains(*name)).collect();
    assert!(never.is_empty(), "{never:?}");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_crate_outside_of_the_workspace_compiles_with_the_planner_and_runs() {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap();
    let newest = std::fs::read_dir(built)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libweir_planner-") && name.ends_with(".rlib")
        })
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .expect("the planner was built for this test");
    let folder = tempdir("outside");
    let program = folder.join("outside-planner");
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg(root().join("tests/outside/planner/src/main.rs"))
        .args(["--edition", "2024", "--crate-name", "outside_planner", "-o"])
        .arg(&program)
        .arg("--extern")
        .arg(format!("weir_planner={}", newest.display()))
        .arg("-L")
        .arg(format!("dependency={}", built.display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let ran = Command::new(&program).output().unwrap();
    let shown = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{shown}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(
        shown.contains("fees/view: MaterializedView fees"),
        "{shown}"
    );
    let _ = std::fs::remove_dir_all(folder);
}

fn tempdir(what: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("weir-{what}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
