//! What a server tells: of each process of a job, from its start to its end; of upgrades; and a few figures of its own.
//!
//! A process hands its span on as `TRACEPARENT`, so that what the job itself tells (job.rs) stands below it.

use std::sync::Arc;
use std::time::Duration;

use super::exporter::{Complain, Exporter, Sampler};
use super::metrics::{Figure, Kind};
use super::options::Settings;
use super::span::{Attributes, Context, Span};
use crate::serve::log::now_micros;

/// Tells a collector of a server's jobs; of one without a collector, nobody.
#[derive(Clone, Default)]
pub(crate) struct ServerTelemetry(Option<Arc<Exporter>>);

impl std::fmt::Debug for ServerTelemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTelemetry")
    }
}

/// A process of a job that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessSpan {
    context: Context,
    began_micros: i64,
}

impl ProcessSpan {
    /// For the process's environment.
    pub(crate) fn traceparent(&self) -> String {
        self.context.traceparent()
    }
}

impl ServerTelemetry {
    /// Starts to tell, if there is a collector.
    pub(crate) fn start(settings: Option<Settings>, complain: Complain) -> std::io::Result<Self> {
        let exporter = settings.map(|settings| Exporter::start(settings, complain));
        Ok(Self(exporter.transpose()?.map(Arc::new)))
    }

    /// Who gives the server's figures.
    pub(crate) fn sample(&self, sampler: Sampler) {
        if let Some(exporter) = &self.0 {
            exporter.sample(Vec::new(), sampler);
        }
    }

    /// A process is about to start.
    pub(crate) fn process(&self) -> Option<ProcessSpan> {
        self.0.as_ref().map(|_| ProcessSpan {
            context: Context::below(None),
            began_micros: now_micros(),
        })
    }

    /// It has ended. `next`: what becomes of the job; `error`: why it is not well.
    pub(crate) fn process_ended(
        &self,
        process: Option<ProcessSpan>,
        job: &str,
        status: &str,
        next: &str,
        error: Option<String>,
    ) {
        let (Some(exporter), Some(process)) = (&self.0, process) else {
            return;
        };
        let mut span = Span::new("weir.job.process", None, process.began_micros, now_micros());
        span.context = process.context;
        span.attributes = of(job);
        span.attributes.extend([
            ("weir.process.status", status.into()),
            ("weir.process.next", next.into()),
        ]);
        span.error = error;
        exporter.span(span);
    }

    /// Somebody has asked for something of a job, which took so long.
    pub(crate) fn asked(
        &self,
        name: &'static str,
        job: &str,
        took: Duration,
        attributes: Attributes,
        error: Option<String>,
    ) {
        let Some(exporter) = &self.0 else { return };
        let now = now_micros();
        let mut span = Span::new(name, None, now - took.as_micros() as i64, now);
        span.attributes = of(job);
        span.attributes.extend(attributes);
        span.error = error;
        exporter.span(span);
    }

    /// The server ends: what waits is sent, if the collector takes it at once.
    pub(crate) fn finish(&self) {
        if let Some(exporter) = &self.0 {
            exporter.finish();
        }
    }
}

fn of(job: &str) -> Attributes {
    vec![("weir.job", job.into())]
}

/// The figures of a server: jobs by state, requests, restarts of each job.
pub(crate) fn figures(
    jobs: &[(String, &'static str, u64)],
    requests: u64,
    refused: u64,
) -> Vec<Figure> {
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut figures = Vec::new();
    let mut states: Vec<(&'static str, i64)> = Vec::new();
    for (job, state, restarts) in jobs {
        match states.iter_mut().find(|(known, _)| known == state) {
            Some((_, count)) => *count += 1,
            None => states.push((state, 1)),
        }
        figures.push(Figure {
            name: "weir.server.job_restarts",
            unit: "{restart}",
            about: "Processes of the job that were started again.",
            kind: Kind::Sum,
            attributes: of(job),
            value: count(*restarts),
        });
    }
    for (state, jobs) in states {
        figures.push(Figure {
            name: "weir.server.jobs",
            unit: "{job}",
            about: "Jobs by the state that they are in.",
            kind: Kind::Gauge,
            attributes: vec![("weir.job.state", state.into())],
            value: jobs,
        });
    }
    for (name, about, value) in [
        (
            "weir.server.requests",
            "Requests that were answered.",
            requests,
        ),
        (
            "weir.server.requests_unauthorized",
            "Requests without the token.",
            refused,
        ),
    ] {
        figures.push(Figure {
            name,
            unit: "{request}",
            about,
            kind: Kind::Sum,
            attributes: Vec::new(),
            value: count(value),
        });
    }
    figures
}
