//! A server with 20 jobs is killed; another one goes on with all of them.

use serde_json::json;

use super::place::{Place, assert_counted, counting, signal, until};

const JOBS: u64 = 20;
const ROWS: u64 = 3_000;

/// SIGKILL for the server alone, then for the server and every process of its jobs at once; and in the end the results.
#[test]
fn a_server_with_twenty_jobs_is_killed_and_all_of_them_go_on() {
    let root = tempfile::tempdir().unwrap();
    let mut place = Place::new(root.path());
    let rows = |job: u64| ROWS + 10 * job;
    for job in 0..JOBS {
        let sql = counting(rows(job), 150, &format!("out/{job}"));
        let body = json!({"sql": sql, "name": format!("job-{job}"), "folder": root.path()});
        place.post("/v1/jobs", &body);
    }
    let under_way = |place: &Place, beyond: u64| {
        until("every job has read rows and taken a checkpoint", || {
            let all = place.get("/v1/jobs");
            let all = all["jobs"].as_array().unwrap();
            assert_eq!(all.len() as u64, JOBS);
            let ready = all.iter().all(|job| {
                let progress = &job["progress"];
                progress["rows_in"]
                    .as_u64()
                    .is_some_and(|rows| rows > beyond)
                    && progress["last_checkpoint"].is_u64()
            });
            ready.then(|| {
                let pids = all.iter().map(|job| job["pid"].as_u64().unwrap() as u32);
                pids.collect::<Vec<u32>>()
            })
        })
    };
    let left_behind = under_way(&place, 100);
    place.kill();
    // Its processes are about to stop; whether they have or not, another server may come.
    place.serve();
    let pids = under_way(&place, 100);
    assert!(pids.iter().all(|pid| !left_behind.contains(pid)));
    place.kill();
    for pid in pids {
        // One may have noticed by now that its server is gone, and have ended.
        drop(
            std::process::Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .stderr(std::process::Stdio::null())
                .status(),
        );
    }
    place.serve();
    let jobs: Vec<String> = (0..JOBS).map(|job| format!("job-{job}")).collect();
    for (number, job) in jobs.iter().enumerate() {
        place.until_state(job, "finished");
        let out = root.path().join(format!("out/{number}"));
        assert_counted(&out, rows(number as u64), || place.log());
        // No start began at the beginning: each went on from a checkpoint of the one before.
        let records = place.get(&format!("/v1/jobs/{job}/checkpoints"));
        let records = records["checkpoints"].as_array().unwrap().clone();
        let newest = records.last().unwrap();
        assert!(newest["generation"].as_u64().unwrap() >= 2, "{newest}");
    }
    // What has finished stays so.
    place.end();
    place.serve();
    for job in &jobs {
        assert_eq!(place.state(job), "finished");
    }
}

#[test]
fn a_process_of_a_job_that_dies_is_started_again_and_a_stopped_server_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let mut place = Place::new(root.path());
    const ROWS: u64 = 4_000;
    let body = json!({"sql": counting(ROWS, 400, "out"), "name": "j", "folder": root.path()});
    place.post("/v1/jobs", &body);
    place.until_rows("j", 100);
    let pid = place.get("/v1/jobs/j/status")["pid"].as_u64().unwrap() as u32;
    signal(pid, libc::SIGKILL);
    until("it was started again", || {
        let status = place.get("/v1/jobs/j/status");
        let again = status["restarts"] == 1 && status["pid"].as_u64()? as u32 != pid;
        again.then_some(())
    });
    place.until_rows("j", 200);
    // SIGTERM: a last checkpoint, and then the next server goes on.
    place.end();
    let records = std::fs::read_to_string(
        place
            .data()
            .join("jobs/j/state/statistics/checkpoints.jsonl"),
    );
    assert!(records.unwrap().lines().count() > 1);
    assert!(
        !place.data().join("jobs/j/state/control.json").exists(),
        "no process is left"
    );
    place.serve();
    place.until_state("j", "finished");
    assert_counted(&root.path().join("out"), ROWS, || place.log());
}
