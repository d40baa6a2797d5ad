//! Exit codes, and what stands on standard error with them (docs/cli.md).

use crate::weir::Folder;

/// Three trips, one of them of no length.
const TRIPS: &str = "id,km,minutes\n1,12,20\n2,3,0\n3,8,10\n";

const TABLE: &str = "CREATE TABLE trips (id INT, km INT, minutes INT)
WITH ('connector' = 'filesystem', 'path' = 'trips.csv', 'format' = 'csv');
";

fn folder(query: &str) -> Folder {
    let folder = Folder::new();
    folder
        .write("trips.csv", TRIPS)
        .write("q.sql", &format!("{TABLE}{query}"));
    folder
}

#[test]
fn a_wrong_argument_is_2() {
    let folder = Folder::new();
    for arguments in [
        &["walk"][..],
        &["run"],
        &["run", "q.sql", "--parallelism", "many"],
        &["run", "q.sql", "--replace-output"],
    ] {
        let ended = folder.weir(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_file_that_is_not_there_is_2() {
    let ended = Folder::new().weir(&["run", "nowhere.sql"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("cannot read nowhere.sql"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_file_without_a_query_is_2() {
    let ended = folder("").weir(&["run", "q.sql"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("neither an INSERT nor a SELECT"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_mistake_in_the_sql_is_2_and_shows_its_line() {
    let folder = folder("SELECT id, kms FROM trips;\n");
    for command in ["run", "check", "explain"] {
        let ended = folder.weir(&[command, "q.sql"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{command}");
        assert!(ended.stderr.starts_with("error[P"), "{}", ended.stderr);
        assert!(ended.stderr.contains("--> q.sql:3:12"), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("SELECT id, kms FROM trips;"),
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("did you mean `km`?"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_wrong_setting_is_2_and_says_which() {
    let folder = folder("SELECT id FROM trips;\n");
    for (arguments, named) in [
        (["--set", "paralelism=2"], "paralelism"),
        (["--set", "parallelism=two"], "parallelism"),
        (["--checkpoint-interval", "often"], "checkpoint.interval"),
        (["--state-memory", "64 lots"], "state.memory"),
    ] {
        let ended = folder.weir(&["run", "q.sql", arguments[0], arguments[1]]);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(named),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
}

#[test]
fn a_row_that_cannot_be_computed_is_1_and_named() {
    let ended = folder("SELECT id, km / minutes AS pace FROM trips;\n").weir(&["run", "q.sql"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("--> q.sql:3:12"), "{}", ended.stderr);
    assert!(ended.stderr.contains("minutes = 0"), "{}", ended.stderr);
}

#[test]
fn a_malformed_record_is_1_and_named() {
    let folder = folder("SELECT id FROM trips;\n");
    folder.write("trips.csv", "id,km,minutes\n1,12,20\ntwo,3,4\n");
    let ended = folder.weir(&["run", "q.sql"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("trips.csv") && ended.stderr.contains('3'),
        "{}",
        ended.stderr
    );
}

#[test]
fn check_counts_what_it_found_and_is_0() {
    let ended =
        folder("SELECT id, count(*) AS n FROM trips GROUP BY id;\n").weir(&["check", "q.sql"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.starts_with("q.sql: ok, 1 query, 1 source, "),
        "{}",
        ended.stdout
    );
    // What bounds each state table, and where it stands.
    let words: Vec<Vec<&str>> = ended
        .stdout
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[0], ["operator", "state", "bounded", "by", "line"]);
    assert_eq!(words[1][..4], ["select/aggregate", "groups", "its", "keys"]);
    assert!(!ended.stdout.contains("by the clock"), "{}", ended.stdout);
}

#[test]
fn check_names_the_results_that_hang_on_the_clock() {
    for query in [
        "SELECT id, now() AS seen FROM trips;\n",
        "SELECT count(*) AS n FROM (SELECT PROCTIME() AS at FROM trips) AS t WHERE at < now();\n",
    ] {
        let ended = folder(query).weir(&["check", "q.sql"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let last = ended.stdout.lines().last().unwrap_or_default();
        assert!(
            last.contains("by the clock") && last.ends_with("select/output"),
            "{query}{}",
            ended.stdout
        );
    }
}

#[test]
fn explain_shows_ids_as_a_tree_or_as_json() {
    let folder = folder("SELECT id, count(*) AS n FROM trips GROUP BY id;\n");
    let tree = folder.weir(&["explain", "q.sql"]);
    assert_eq!(tree.code, 0, "{}", tree.stderr);
    assert!(tree.stdout.contains("select/aggregate"), "{}", tree.stdout);
    let json = folder.weir(&["explain", "q.sql", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let ids: Vec<_> = plan["operators"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operator| operator["id"].as_str().unwrap())
        .collect();
    assert!(
        ids.contains(&"select/aggregate") && ids.contains(&"trips/source"),
        "{ids:?}"
    );
}

#[test]
fn stop_after_names_a_source_of_the_job() {
    let ended =
        folder("SELECT id FROM trips;\n").weir(&["run", "q.sql", "--stop-after", "rides=1"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("no source `rides`") && ended.stderr.contains("trips"),
        "{}",
        ended.stderr
    );
}
