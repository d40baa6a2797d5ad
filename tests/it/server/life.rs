//! A job's life at a server, by the commands and by requests.

use serde_json::json;
use weir_tests::process::text_of;

use super::place::{Place, assert_counted, counting, until};

/// An endless job; what is selected is to be edited.
fn endless(select: &str) -> String {
    format!(
        "SET 'checkpoint.interval' = '200ms';
SET 'parallelism' = '1';
CREATE TABLE clicks (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500');
CREATE TABLE seen (bucket BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/seen', 'format' = 'changelog-json');
INSERT INTO seen {select};
"
    )
}

const OLD: &str = "SELECT id % 3 AS bucket, sum(id) AS total FROM clicks GROUP BY id % 3";

#[test]
fn a_job_is_submitted_watched_stopped_and_started_by_the_commands() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    const ROWS: u64 = 8_000;
    let sql = counting(Some(ROWS), 500, "${OUT:-nowhere}");
    std::fs::write(root.path().join("clicks.sql"), &sql).unwrap();
    let said = place.must(&["submit", "clicks.sql", "--set", "OUT=out"]);
    assert!(said.contains("job clicks was submitted"), "{said}");
    let again = place.weir(&["submit", "clicks.sql"]);
    assert_eq!(again.status.code(), Some(3));
    assert!(text_of(&again).contains("J0087"), "{}", text_of(&again));
    place.until_rows("clicks", 200);
    assert!(place.must(&["jobs"]).contains("running"));
    let jobs: serde_json::Value = serde_json::from_str(&place.must(&["jobs", "--json"])).unwrap();
    assert_eq!(
        (&jobs[0]["id"], &jobs[0]["state"]),
        (&json!("clicks"), &json!("running"))
    );
    let made = place.must(&["savepoint", "create", "clicks", "--name", "first"]);
    assert!(made.contains("savepoint first"), "{made}");
    assert!(place.must(&["logs", "clicks"]).contains("the job runs"));
    let metrics = place.ask("GET", "/metrics", "").body;
    for figure in [
        "weir_job_state{job=\"clicks\",state=\"running\"} 1",
        "weir_job_rows_in_total{job=\"clicks\"}",
        "weir_job_state_memory_bytes{job=\"clicks\"}",
        "weir_job_checkpoint_duration_seconds{job=\"clicks\"}",
        "weir_operator_rows_in_total{job=\"clicks\",operator=\"seen/aggregate\"}",
        "weir_operator_state_entries{job=\"clicks\",operator=\"seen/aggregate\"}",
    ] {
        assert!(metrics.contains(figure), "{figure}\n{metrics}");
    }
    let stopped = place.must(&["stop", "clicks", "--savepoint", "--name", "second"]);
    assert!(
        stopped.contains("stopped") && stopped.contains("second"),
        "{stopped}"
    );
    assert_eq!(place.state("clicks"), "stopped");
    assert_eq!(
        place.ask("POST", "/v1/jobs/clicks/stop", "").code(),
        "J0090"
    );
    let savepoints = place.get("/v1/jobs/clicks/savepoints");
    let names: Vec<&str> = savepoints["savepoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["first", "second"]);
    place.must(&["start", "clicks"]);
    let refused = place.weir(&["delete", "clicks"]);
    assert!(text_of(&refused).contains("J0090"), "{}", text_of(&refused));
    place.until_state("clicks", "finished");
    assert_counted(&root.path().join("out"), ROWS, || place.log());
    assert_eq!(
        place.ask("POST", "/v1/jobs/clicks/start", "").code(),
        "J0090"
    );
    place.must(&["delete", "clicks"]);
    assert_eq!(place.get("/v1/jobs"), json!({"jobs": []}));
    assert!(!place.data().join("jobs/clicks").exists());
    assert!(root.path().join("out").exists(), "what was written stays");
}

#[test]
fn an_upgrade_is_judged_first_and_one_that_does_not_come_up_goes_back() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    let body = json!({"sql": endless(OLD), "name": "j", "folder": root.path()});
    place.post("/v1/jobs", &body);
    place.until_rows("j", 300);
    let pid = || place.get("/v1/jobs/j/status")["pid"].clone();
    let first = pid();
    // A filter below the aggregate: what was summed up does not come back.
    let edit = endless(
        "SELECT id % 3 AS bucket, sum(id) AS total FROM clicks WHERE id > 0 GROUP BY id % 3",
    );
    let report = place.post(
        "/v1/jobs/j/upgrade",
        &json!({"sql": edit, "report_only": true}),
    );
    assert_eq!(report["report"]["let_through"], false, "{report}");
    let refused = place.ask(
        "POST",
        "/v1/jobs/j/upgrade",
        &json!({"sql": edit}).to_string(),
    );
    assert_eq!((refused.status, refused.code().as_str()), (409, "J0091"));
    assert!(refused.json()["report"]["operators"].is_array());
    assert_eq!(pid(), first, "nothing has stopped");
    // Accepted.
    let accepted = json!({"sql": edit, "flags": {"accept": ["all"]}});
    let done = place.post("/v1/jobs/j/upgrade", &accepted);
    assert_eq!(done["upgraded"], true, "{done}");
    until("the upgrade has come up", || {
        let job = place.get("/v1/jobs/j");
        let settled = job["upgrading"] == false && job["state"] == "running";
        settled.then(|| assert!(job["sql"].as_str().unwrap().contains("WHERE id > 0")))
    });
    // The server says what it left inexact, as soon as a checkpoint does.
    until("the marks of the edit are told", || {
        let parts = place.get("/v1/jobs/j")["inexact"].clone();
        (!parts.as_array()?.is_empty()).then(|| {
            assert_eq!(parts[0]["id"], "seen/aggregate", "{parts}");
            assert_eq!(place.get("/v1/jobs")["jobs"][0]["inexact"], parts);
        })
    });
    // One that fails on its first row.
    let broken = endless(
        "SELECT id % 3 AS bucket, sum(id) / (count(*) - count(*)) AS total FROM clicks WHERE id > 0 GROUP BY id % 3",
    );
    let broken = json!({"sql": broken, "flags": {"accept": ["all"], "allow_dropped_state": true, "start_empty": ["seen/aggregate"]}});
    let answer = place.ask("POST", "/v1/jobs/j/upgrade", &broken.to_string());
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "J0092"),
        "{answer:?}\n{}",
        place.log()
    );
    assert_eq!(answer.json()["errors"][1]["code"], "R0001", "{answer:?}");
    until("the text before runs again", || {
        let job = place.get("/v1/jobs/j");
        let back = job["state"] == "running" && job["progress"].is_object();
        back.then(|| assert_eq!(job["sql"].as_str().unwrap(), edit))
    });
    let plan = place.ask("GET", "/v1/jobs/j/plan?format=text", "");
    assert!(plan.body.contains("seen/aggregate"), "{plan:?}");
    // A drain ends it for good.
    let drained = place.post("/v1/jobs/j/stop", &json!({"drain": true}));
    assert_eq!(drained["state"], "finished", "{drained}");
}

#[test]
fn a_materialized_view_is_read_while_its_job_runs_and_afterwards() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(root.path());
    let sql = "SET 'checkpoint.interval' = '200ms';
CREATE TABLE clicks (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500');
CREATE MATERIALIZED VIEW totals AS SELECT id % 3 AS bucket, count(*) AS clicks FROM clicks GROUP BY id % 3;";
    place.post("/v1/jobs", &json!({"sql": sql, "name": "j"}));
    place.until_rows("j", 100);
    let read = || {
        let view = place.get("/v1/jobs/j/view?name=totals");
        assert_eq!(
            view["columns"][1],
            json!({"name": "clicks", "type": "BIGINT"}),
            "{view}"
        );
        let rows = view["rows"].as_array().unwrap().clone();
        assert_eq!(rows.len(), 3, "{view}");
        rows.iter()
            .map(|row| row["clicks"].as_u64().unwrap())
            .sum::<u64>()
    };
    let first = read();
    until("the view goes on", || (read() > first).then_some(()));
    place.post("/v1/jobs/j/stop", &json!({}));
    let last = read();
    assert!(last > first);
    assert_eq!(read(), last);
    assert_eq!(place.ask("GET", "/v1/jobs/j/view", "").code(), "J0085");
    assert_ne!(
        place.ask("GET", "/v1/jobs/j/view?name=nothing", "").status,
        200
    );
}

#[test]
fn a_job_that_fails_says_why_and_is_not_started_again_by_itself() {
    let root = tempfile::tempdir().unwrap();
    let mut place = Place::new(root.path());
    let sql = endless("SELECT id AS bucket, 1 / (id - 700) AS total FROM clicks");
    place.post(
        "/v1/jobs",
        &json!({"sql": sql, "name": "j", "folder": root.path()}),
    );
    place.until_state("j", "failed");
    let errors = place.get("/v1/jobs/j/errors");
    assert_eq!(errors["errors"][0]["code"], "R0001", "{errors}");
    assert_eq!(errors["errors"][0]["where"]["line"], 6, "{errors}");
    place.kill();
    place.serve();
    assert_eq!(place.state("j"), "failed");
    assert!(place.must(&["logs", "j"]).contains("R0001"));
    place.must(&["start", "j"]);
    place.until_state("j", "failed");
}
