//! What is told of one job, in the process that runs it.
//!
//! ```text
//!   weir.job ──────────────────────────────────────────────────────────────── from the start of the process's job to its end
//!     ├ weir.job.start                                                         until its workers run
//!     │   └ weir.upgrade                                                       of an edited query
//!     └ weir.job.restart                                                       from a failure until workers run again
//!   weir.checkpoint (a trace of its own, linked to weir.job)
//!     ├ weir.checkpoint.align, weir.checkpoint.store, weir.checkpoint.commit
//! ```
//!
//! A checkpoint has a trace of its own because a job lives for months, and a trace that never ends shows nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_engine::statistics::{CheckpointRecord, Ending};
use weir_engine::{Error, JobEvent, JobHandle, JobListener, JobMetrics, JobSummary, Outcome};
use weir_planner::compare::Report;

use super::exporter::{Complain, Exporter};
use super::metrics::of_job;
use super::options::Settings;
use super::span::{Attributes, Context, Event, Span};
use crate::serve::log::now_micros;

/// Tells a collector of one job.
pub(crate) struct JobTelemetry {
    told: Arc<Told>,
}

struct Told {
    exporter: Exporter,
    job: String,
    root: Context,
    parent: Option<Context>,
    began_micros: i64,
    /// `weir.job.start`, until the job runs: edits are part of it.
    start: Context,
    /// Of the failure that the next start comes after.
    failure: Mutex<Option<String>>,
}

impl JobTelemetry {
    /// Begins; call it before the job starts.
    pub(crate) fn begin(
        settings: Settings,
        job: &str,
        complain: Complain,
    ) -> std::io::Result<Self> {
        let parent = settings.parent;
        let root = Context::below(parent);
        let told = Told {
            exporter: Exporter::start(settings, complain)?,
            job: job.to_owned(),
            root,
            parent,
            began_micros: now_micros(),
            start: Context::below(Some(root)),
            failure: Mutex::new(None),
        };
        Ok(Self {
            told: Arc::new(told),
        })
    }

    /// What the job is to call.
    pub(crate) fn listener(&self) -> JobListener {
        let told = self.told.clone();
        JobListener(Some(Arc::new(move |event| told.hear(event))))
    }

    /// The job has started: its figures can be asked for.
    pub(crate) fn follow(&self, handle: &JobHandle) {
        let observer = handle.observer();
        let job = self.told.job.clone();
        let before = of_job(&job, &observer.metrics());
        self.told.exporter.sample(
            before,
            Box::new(move || {
                let metrics = observer.metrics();
                match metrics.operators.is_empty() {
                    // It is over, and has told its last figures.
                    true => Vec::new(),
                    false => of_job(&job, &metrics),
                }
            }),
        );
    }

    /// The job is over, or could not start; what was told is sent, if the collector takes it at once.
    pub(crate) fn finish(self, ended: &Result<JobSummary, Error>) {
        let told = &self.told;
        let mut span = Span::new("weir.job", told.parent, told.began_micros, now_micros());
        span.context = told.root;
        span.attributes = told.attributes();
        match ended {
            Ok(summary) => {
                let progress = &summary.progress;
                span.attributes.extend([
                    ("weir.job.outcome", outcome(summary.outcome).into()),
                    ("weir.job.rows_in", progress.rows_in.into()),
                    ("weir.job.rows_out", progress.rows_out.into()),
                    ("weir.job.checkpoints", summary.checkpoints.into()),
                ]);
                if let Some(checkpoint) = summary.resumed_from {
                    let resumed = ("weir.job.resumed_from", checkpoint.0.into());
                    span.attributes.push(resumed);
                }
                told.exporter.last_figures(of_job(
                    &told.job,
                    &JobMetrics {
                        progress: progress.clone(),
                        operators: summary.operators.clone(),
                        ..JobMetrics::default()
                    },
                ));
            }
            Err(error) => span.error = Some(error.to_string()),
        }
        told.exporter.span(span);
        told.exporter.finish();
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Drained => "finished",
        Outcome::AlreadyDrained => "finished before",
        Outcome::Stopped => "stopped",
    }
}

impl Told {
    fn attributes(&self) -> Attributes {
        vec![("weir.job", self.job.as_str().into())]
    }

    fn hear(&self, event: &JobEvent<'_>) {
        match event {
            JobEvent::Running {
                generation,
                restored,
                attempt,
                took,
            } => {
                let now = now_micros();
                let began = now - took.as_micros() as i64;
                let name = match attempt {
                    Some(_) => "weir.job.restart",
                    None => "weir.job.start",
                };
                let mut span = Span::new(name, Some(self.root), began, now);
                span.attributes = self.attributes();
                let generation = ("weir.generation", generation.0.into());
                span.attributes.push(generation);
                if let Some(checkpoint) = restored {
                    let restored = ("weir.checkpoint.restored", checkpoint.0.into());
                    span.attributes.push(restored);
                }
                match attempt {
                    Some(attempt) => {
                        span.attributes
                            .push(("weir.restart.attempt", (*attempt).into()));
                        let why = self.failure.lock();
                        let why = why.unwrap_or_else(PoisonError::into_inner).take();
                        span.events.extend(why.map(|why| Event {
                            name: "exception",
                            at_micros: began,
                            attributes: vec![("exception.message", why.into())],
                        }));
                    }
                    None => span.context = self.start,
                }
                self.exporter.span(span);
            }
            JobEvent::Upgraded { report, took } => {
                let now = now_micros();
                let began = now - took.as_micros() as i64;
                let mut span = Span::new("weir.upgrade", Some(self.start), began, now);
                span.attributes = self.attributes();
                span.attributes.extend(verdicts(report));
                self.exporter.span(span);
            }
            JobEvent::Checkpoint(record) => self.checkpoint(record),
            JobEvent::Failed { error, .. } => {
                let why = error.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            }
            // What is told one day is not asked for.
            _ => {}
        }
    }

    fn checkpoint(&self, record: &CheckpointRecord) {
        let began = record.triggered_micros;
        let after = |micros: u64| began + micros as i64;
        let mut span = Span::new("weir.checkpoint", None, began, after(record.total_micros));
        span.link = Some(self.root);
        span.attributes = self.attributes();
        span.attributes.extend([
            ("weir.checkpoint", record.checkpoint.into()),
            ("weir.generation", record.generation.into()),
            ("weir.checkpoint.ending", ending(record.ending).into()),
            ("weir.checkpoint.bytes", record.bytes_total.into()),
            ("weir.checkpoint.bytes_uploaded", record.bytes_new.into()),
            ("weir.checkpoint.entries", record.entries.into()),
            ("weir.checkpoint.frozen_us", record.frozen_micros.into()),
        ]);
        if record.ending != Ending::Completed {
            let why = record.reason.clone();
            span.error = Some(why.unwrap_or_else(|| ending(record.ending).to_owned()));
        }
        // A phase that it did not come to has no end.
        let phases = [
            ("weir.checkpoint.align", 0, record.barrier_micros),
            (
                "weir.checkpoint.store",
                record.barrier_micros,
                record.ready_micros,
            ),
            (
                "weir.checkpoint.commit",
                record.ready_micros,
                record.total_micros,
            ),
        ];
        let of = span.context;
        for (name, from, to) in phases {
            if to < from || (from == 0 && name != "weir.checkpoint.align") || to == 0 {
                break;
            }
            self.exporter
                .span(Span::new(name, Some(of), after(from), after(to)));
        }
        let operators = record.operators.iter();
        span.events = operators
            .filter(|operator| operator.entries > 0 || operator.sink)
            .map(|operator| Event {
                name: "operator",
                at_micros: after(record.barrier_micros),
                attributes: vec![
                    ("weir.operator", operator.id.as_str().into()),
                    (
                        "weir.operator.alignment_us",
                        operator.alignment_micros.into(),
                    ),
                    ("weir.operator.flush_us", operator.flush_micros.into()),
                    ("weir.operator.frozen_us", operator.frozen_micros.into()),
                    ("weir.operator.write_us", operator.write_micros.into()),
                    ("weir.operator.entries", operator.entries.into()),
                    ("weir.operator.bytes", operator.bytes.into()),
                ],
            })
            .take(EVENTS_MAX)
            .collect();
        self.exporter.span(span);
    }
}

/// Events of one span: what collectors take by default.
const EVENTS_MAX: usize = 128;

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Completed => "completed",
        Ending::Failed => "failed",
        Ending::Expired => "expired",
    }
}

/// How many operators each verdict has, and those that are not as they were.
fn verdicts(report: &Report) -> Attributes {
    let mut changed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut unchanged = 0u64;
    for operator in &report.operators {
        match operator.verdict.word() {
            "unchanged" => unchanged += 1,
            word => changed.entry(word).or_default().push(operator.id.as_str()),
        }
    }
    let told = changed
        .iter()
        .map(|(verdict, ids)| format!("{verdict}: {}", ids.join(", ")));
    vec![
        ("weir.upgrade.unchanged", unchanged.into()),
        (
            "weir.upgrade.changed",
            told.collect::<Vec<_>>().join("; ").into(),
        ),
    ]
}
