//! OpenTelemetry, if somebody asks for it: spans and figures of jobs, sent to a collector as OTLP over HTTP, in JSON.
//!
//! ```text
//!   job's threads ── JobEvent ──▶ Spans (job.rs, server.rs) ──┐ bounded queue; what does not fit is dropped and counted
//!                                                             ▼
//!   sampler (metrics.rs) ◀── every 60 s ── exporter thread (exporter.rs) ── POST /v1/traces, /v1/metrics ──▶ collector
//! ```
//!
//! Written by hand: why, is in docs/decisions/0016-otlp-by-hand.md. What is sent is described in docs/telemetry.md.
//!
//! # Invariants
//! 1. Nobody waits for a collector: whatever a job tells goes into a queue that takes it at once or drops it. The end of a
//!    process waits for the last things to be sent, [`exporter::LAST_PATIENCE`] at most.
//! 2. Nothing is sent, and no thread runs, unless a flag or the environment names an endpoint.
//! 3. Headers, which may hold keys, are in no log, no argument of a child and no message.

mod exporter;
mod job;
mod metrics;
mod options;
mod server;
mod span;

pub(crate) use self::job::JobTelemetry;
pub(crate) use self::options::TelemetryOptions;
pub(crate) use self::server::{ProcessSpan, ServerTelemetry, figures};
