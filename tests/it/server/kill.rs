//! A server with 20 jobs is killed; another one goes on with all of them.

use serde_json::json;

use super::place::{Place, assert_counted, copied, counting, signal, until};

const JOBS: u64 = 20;

/// The processes of all jobs, when each of them has read more rows than it had at `before` and has taken a checkpoint; and the rows.
fn under_way(place: &Place, before: &[u64]) -> (Vec<u32>, Vec<u64>) {
    until("every job has read rows and taken a checkpoint", || {
        let all = place.get("/v1/jobs");
        let all = all["jobs"].as_array().unwrap();
        assert_eq!(all.len() as u64, JOBS);
        let (mut pids, mut rows) = (Vec::new(), Vec::new());
        for (job, before) in all.iter().zip(before) {
            assert!(job["error"].is_null(), "{job}");
            let progress = &job["progress"];
            progress["last_checkpoint"].as_u64()?;
            rows.push(progress["rows_in"].as_u64().filter(|rows| rows > before)?);
            pids.push(job["pid"].as_u64()? as u32);
        }
        Some((pids, rows))
    })
}

/// SIGKILL for the server alone, then for the server and every process of its jobs at once; and in the end the results.
#[test]
fn a_server_with_twenty_jobs_is_killed_and_all_of_them_go_on() {
    let root = tempfile::tempdir().unwrap();
    let mut place = Place::new(root.path());
    for job in 0..JOBS {
        let sql = counting(None, 100 + job, &format!("out/job-{job:02}"));
        let body = json!({"sql": sql, "name": format!("job-{job:02}"), "folder": root.path()});
        place.post("/v1/jobs", &body);
    }
    let (left_behind, rows) = under_way(&place, &[100; JOBS as usize]);
    place.kill();
    // Its processes are about to stop; whether they have or not, another server may come.
    place.serve();
    let (pids, rows) = under_way(&place, &rows);
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
    let (_, rows) = under_way(&place, &rows);
    // SIGTERM: each job stops with a last checkpoint, which commits what it has read.
    place.end();
    for (job, rows) in rows.iter().enumerate() {
        let out = root.path().join(format!("out/job-{job:02}"));
        let all = copied(&out).len() as u64;
        assert!(all >= *rows, "{}: {all} rows of {rows}", out.display());
        assert_counted(&out, all, || place.log());
        // No start began at the beginning: each went on from a checkpoint of the one before.
        let statistics = place.data().join(format!(
            "jobs/job-{job:02}/state/statistics/checkpoints.jsonl"
        ));
        let text = std::fs::read_to_string(statistics).unwrap();
        let newest: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert!(newest["generation"].as_u64().unwrap() >= 3, "{newest}");
    }
}

#[test]
fn a_process_of_a_job_that_dies_is_started_again_and_a_stopped_server_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let mut place = Place::new(root.path());
    const ROWS: u64 = 6_000;
    let body = json!({"sql": counting(Some(ROWS), 400, "out"), "name": "j", "folder": root.path()});
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
