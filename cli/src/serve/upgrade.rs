//! An edited query for a job of the server: judged, refused with its report or carried out.
//!
//! ```text
//!   plan ─▶ compare ─▶ let through? ─▶ stop with a savepoint ─▶ job.json: new text, savepoint, old text ─▶ start
//!                          │ no: 409 with the report                        │ it fails before it has saved something
//!                          ▼                                                └─▶ job.json: old text, savepoint ─▶ start
//!                     nothing has changed
//! ```
//!
//! A server that is killed before the new text is on disk goes on with the old one; after that, with the new one from the savepoint.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_engine::{Before, ControlClient, StopOrder, check_edit, sources_to_replay, wait_for_end};
use weir_planner::compare::advice;
use weir_state::Savepoint;

use super::job::Job;
use super::problem::{ApiError, Place, Problem};
use super::requests::UpgradeRequest;
use super::server::{START_PATIENCE, STOP_PATIENCE, Server, io, not_so, one_at_a_time};
use super::store::{Edit, Text, Wanted, prepare};
use crate::diff::{judge, replayed};
use crate::exit::Failure;

/// How long the answer waits for the new query to come up; after that it says how far it is.
const PATIENCE: Duration = Duration::from_secs(60);
/// A query that runs for so long without a word has started.
const RUNS_FOR: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

impl Server {
    /// Judges an edit, and unless only the report is wanted, carries it out.
    pub(crate) fn upgrade(&self, job: &Job, request: UpgradeRequest) -> Result<Value, ApiError> {
        let _one = one_at_a_time(job);
        let spec = job.spec();
        let text = Text {
            sql: request.sql,
            settings: request
                .settings
                .unwrap_or_else(|| spec.text.settings.clone()),
            variables: request
                .variables
                .unwrap_or_else(|| spec.text.variables.clone()),
        };
        let failed = |error: weir_engine::Error| ApiError::engine(&job.name, &error);
        let flags = request.flags.evolution()?;
        let prepared = prepare(&job.home, &job.name, &text, &spec.folder)?;
        let before = Before::of_job(&job.name, &job.home.state(), None).map_err(failed)?;
        let report = judge(&before.plan, &prepared.plan, &before.past, &flags)
            .map_err(|failure| ApiError::failure(&job.name, failure))?;
        let replayed = replayed(&report);
        let mut read_again = Vec::new();
        if !replayed.is_empty() {
            let tables =
                sources_to_replay(&prepared.plan, &replayed, &before.manifest, &spec.folder);
            for table in tables.map_err(failed)? {
                read_again.push(json!({"table": table.table, "records": table.records}));
            }
        }
        let mut told = json!({
            "operators": report.operators,
            "sinks": report.sinks,
            "sources": report.sources,
            "read_again": read_again,
            "text": advice(&report),
        });
        let mut options = prepared.options;
        options.evolution = flags.options();
        let refused = check_edit(&job.name, &prepared.plan, &options, &before.manifest).err();
        told["let_through"] = json!(refused.is_none());
        if request.report_only {
            return Ok(json!({"job": job.name, "upgraded": false, "report": told}));
        }
        if let Some(error) = refused {
            let mut refusal = ApiError::new(
                409,
                Problem::new(
                    "J0091",
                    Place::named("job", job.name.clone()),
                    format!("the edit is not let through: {error}"),
                    "the report says what it would do; `flags` of the request accept it (docs/evolution.md)",
                ),
            );
            refusal.report = Some(told);
            return Err(refusal);
        }
        let carried = self.carry_out(job, text, request.flags);
        let mut answer = carried.map_err(|mut error| {
            error.report = Some(told.clone());
            error
        })?;
        answer["report"] = told;
        Ok(answer)
    }

    fn carry_out(
        &self,
        job: &Job,
        text: Text,
        flags: super::flags::EditFlags,
    ) -> Result<Value, ApiError> {
        // From here on nothing starts by itself until the new text is on disk.
        job.hold(true);
        if job.runs() {
            // It may be about to start: from here on it can be asked.
            drop(job.connect(START_PATIENCE));
        }
        let stopped = stopped(job);
        let saved = match stopped {
            Ok(saved) if job.wait_for_rest(STOP_PATIENCE) => saved,
            Ok(_) => {
                job.hold(false);
                return Err(not_so(job, "has not stopped yet, though it was asked to"));
            }
            Err(failure) => {
                job.hold(false);
                return Err(ApiError::failure(&job.name, failure));
            }
        };
        let written = job.change(|spec| {
            let old = std::mem::replace(&mut spec.text, text);
            spec.edit = Some(Edit {
                savepoint: saved.folder.clone(),
                flags,
                old: Some(old),
            });
            spec.wanted = Wanted::Running;
            spec.failure = None;
        });
        job.hold(false);
        written.map_err(|error| io("cannot keep the new text", &error))?;
        let settled = self.wait_for_the_new(job)?;
        Ok(json!({
            "job": job.name,
            "upgraded": true,
            "settled": settled,
            "savepoint": saved.folder,
            "state": job.state(),
        }))
    }

    /// Waits until the new query has saved something, has finished, or runs without a word; an error if it went back.
    fn wait_for_the_new(&self, job: &Job) -> Result<bool, ApiError> {
        let started = Instant::now();
        let mut running_since = None;
        while started.elapsed() < PATIENCE {
            let spec = job.spec();
            // There was none when the new text was written.
            if let Some(problem) = spec.failure {
                let mut error = ApiError::new(
                    409,
                    Problem::new(
                        "J0092",
                        Place::named("job", job.name.clone()),
                        "the new query did not come up; the job goes back to the one that ran before",
                        "mend the query by the error beside this one, and ask again",
                    ),
                );
                error.problems.push(problem);
                return Err(error);
            }
            if spec.edit.is_none() {
                return Ok(true);
            }
            if job.progress().is_some() {
                let since = *running_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= RUNS_FOR {
                    return Ok(false);
                }
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(false)
    }
}

/// Stops the job, if it runs, with a savepoint; else makes one of its newest checkpoint.
fn stopped(job: &Job) -> Result<Savepoint, Failure> {
    let plain = |error: weir_engine::Error| Failure::plain(&error);
    let state = job.home.state();
    let Some(client) = ControlClient::connect(&state).map_err(plain)? else {
        let newest = Before::of_job(&job.name, &state, None).map_err(plain)?;
        return crate::upgrade::saved_of(&job.name, &state, newest.manifest.checkpoint);
    };
    let order = StopOrder {
        savepoint: Some(crate::upgrade::order()),
        drain: false,
    };
    let written = client.stop(order).map_err(plain)?;
    wait_for_end(&state).map_err(plain)?;
    let written = written.ok_or_else(|| Failure::failed("the job stopped without a savepoint"))?;
    Savepoint::open(&written).map_err(|error| plain(error.into()))
}
