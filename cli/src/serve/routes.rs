//! What can be asked of a server: one table, from which requests are answered and the OpenAPI description is made.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use serde_json::{Value, json};
use weir_connectors::{PrintFormat, row_encoder};
use weir_engine::{statistics, view_rows};
use weir_types::ChangeBatch;

use super::problem::{ApiError, Place};
use super::requests::{self, SavepointRequest, StopRequest, SubmitRequest};
use super::server::{Server, io};
use super::store::prepare;
use super::{metrics, openapi};

/// Bytes of a log in one answer.
const LOG_BYTES: u64 = 256 << 10;
/// Bytes of a log in which the last lines are looked for.
const TAIL_BYTES: u64 = 1 << 20;

/// A request, as a handler sees it.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// The job of the path.
    pub(crate) id: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    /// Where the next bytes of a log are.
    pub(crate) next_offset: Option<u64>,
}

/// How a request is answered; it may block.
pub(crate) type Handler = fn(&Server, &Call) -> Result<Reply, ApiError>;

/// The two methods that change something, and the one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

/// One thing that can be asked.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Its name in the OpenAPI description.
    pub(crate) id: &'static str,
    pub(crate) about: &'static str,
    /// Whether it is answered without the token.
    pub(crate) open: bool,
    /// Parameters behind the `?`.
    pub(crate) query: &'static [(&'static str, &'static str)],
    /// The schema of its body.
    pub(crate) body: Option<&'static str>,
    /// The status of a good answer.
    pub(crate) status: u16,
    /// What a good answer is.
    pub(crate) content_type: &'static str,
    pub(crate) handler: Handler,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// What Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const fn get(path: &'static str, id: &'static str, about: &'static str, handler: Handler) -> Route {
    Route {
        method: Method::Get,
        path,
        id,
        about,
        open: false,
        query: &[],
        body: None,
        status: 200,
        content_type: JSON,
        handler,
    }
}

const fn post(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    body: Option<&'static str>,
    handler: Handler,
) -> Route {
    Route {
        method: Method::Post,
        body,
        ..get(path, id, about, handler)
    }
}

/// Everything that can be asked.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        open: true,
        ..get("/healthz", "health", "Whether the server is there.", health)
    },
    Route {
        open: true,
        ..get("/openapi.json", "openapi", "This description.", describe)
    },
    Route {
        content_type: METRICS,
        ..get(
            "/metrics",
            "metrics",
            "Figures of the server and its jobs, for Prometheus.",
            figures,
        )
    },
    Route {
        status: 201,
        ..post(
            "/v1/jobs",
            "submit",
            "Takes a new job and starts it.",
            Some("Submit"),
            submit,
        )
    },
    get("/v1/jobs", "jobs", "All jobs.", jobs),
    get(
        "/v1/jobs/{id}",
        "job",
        "A job: its state, its text, its settings.",
        job,
    ),
    Route {
        method: Method::Delete,
        ..get(
            "/v1/jobs/{id}",
            "delete",
            "Forgets a job that is not running, with its state, checkpoints and savepoints. What its sinks wrote stays.",
            delete,
        )
    },
    get(
        "/v1/jobs/{id}/status",
        "status",
        "How far a job is.",
        status,
    ),
    Route {
        query: &[("format", "`json` (the default), `text`, `dot` or `mermaid`")],
        ..get(
            "/v1/jobs/{id}/plan",
            "plan",
            "The plan: operators, what flows between them, what each keeps.",
            plan,
        )
    },
    get(
        "/v1/jobs/{id}/errors",
        "errors",
        "Why a job, or its last upgrade, failed, and what it warns of.",
        errors,
    ),
    get(
        "/v1/jobs/{id}/checkpoints",
        "checkpoints",
        "What each of the newest checkpoints cost.",
        checkpoints,
    ),
    get(
        "/v1/jobs/{id}/savepoints",
        "savepoints",
        "The savepoints in the job's folder.",
        savepoints,
    ),
    Route {
        content_type: TEXT,
        query: &[
            (
                "offset",
                "from this byte on; the header `weir-next-offset` of an answer says where the next one begins",
            ),
            (
                "tail",
                "so many of the last lines (100 unless `offset` is given)",
            ),
        ],
        ..get(
            "/v1/jobs/{id}/logs",
            "logs",
            "What the job's process says.",
            logs,
        )
    },
    Route {
        query: &[("name", "the view; it has to be given")],
        ..get(
            "/v1/jobs/{id}/view",
            "view",
            "The rows of a materialized view: of a job that runs at its newest epoch, of another at its newest checkpoint.",
            view,
        )
    },
    post(
        "/v1/jobs/{id}/stop",
        "stop",
        "Stops a job with a last checkpoint; with a savepoint of it, or as if all input had ended.",
        Some("Stop"),
        stop,
    ),
    post(
        "/v1/jobs/{id}/start",
        "start",
        "Lets a job go on that was stopped or has failed.",
        None,
        start,
    ),
    post(
        "/v1/jobs/{id}/savepoint",
        "savepoint",
        "Makes a savepoint: of the job as it runs, or of the newest checkpoint that it left.",
        Some("Savepoint"),
        savepoint,
    ),
    post(
        "/v1/jobs/{id}/upgrade",
        "upgrade",
        "Goes on with an edited query; says what that does to the job's state, and does nothing unless that is let through.",
        Some("Upgrade"),
        upgrade,
    ),
];

fn reply(status: u16, value: &Value) -> Result<Reply, ApiError> {
    Ok(Reply {
        status,
        content_type: JSON,
        body: format!("{value}\n").into_bytes(),
        next_offset: None,
    })
}

fn text(content_type: &'static str, body: String) -> Result<Reply, ApiError> {
    Ok(Reply {
        status: 200,
        content_type,
        body: body.into_bytes(),
        next_offset: None,
    })
}

fn health(_: &Server, _: &Call) -> Result<Reply, ApiError> {
    reply(
        200,
        &json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}),
    )
}

fn describe(_: &Server, _: &Call) -> Result<Reply, ApiError> {
    reply(200, &openapi::description())
}

fn figures(server: &Server, _: &Call) -> Result<Reply, ApiError> {
    text(METRICS, metrics::page(server))
}

fn submit(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    server.check_open()?;
    let request: SubmitRequest = requests::read(&call.body)?;
    reply(201, &server.submit(request)?)
}

fn jobs(server: &Server, _: &Call) -> Result<Reply, ApiError> {
    let all: Vec<Value> = server
        .all_with_progress()
        .into_iter()
        .map(|(job, progress)| {
            let mut described = job.describe(progress);
            described["inexact"] = json!(job.inexact());
            described
        })
        .collect();
    reply(200, &json!({"jobs": all}))
}

fn job(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    let job = server.job(&call.id)?;
    let mut described = job.describe(job.progress());
    let spec = job.spec();
    described["inexact"] = json!(job.inexact());
    described["sql"] = spec.text.sql.into();
    described["settings"] = json!(spec.text.settings);
    // Their values may be passwords.
    described["variables"] = spec.text.variables.keys().cloned().collect();
    described["folder"] = json!(spec.folder);
    reply(200, &described)
}

fn delete(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    server.check_open()?;
    reply(200, &server.delete(&*server.job(&call.id)?)?)
}

fn status(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    let job = server.job(&call.id)?;
    reply(200, &job.describe(job.progress()))
}

fn plan(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    let job = server.job(&call.id)?;
    let spec = job.spec();
    let planned = prepare(&job.home, &job.name, &spec.text, &spec.folder)?;
    match call.query.get("format").map_or("json", String::as_str) {
        "json" => {
            let plan = serde_json::to_value(&planned.plan)
                .map_err(|error| ApiError::mistake(format!("a plan has no JSON: {error}")))?;
            reply(200, &plan)
        }
        "text" => text(TEXT, weir_planner::explain(&planned.plan)),
        "dot" => text(TEXT, crate::graph::dot(&planned.plan)),
        "mermaid" => text(TEXT, crate::graph::mermaid(&planned.plan)),
        other => Err(ApiError::malformed(
            Place::named("query", "format"),
            format!("a plan cannot be shown as `{other}`"),
            "json, text, dot or mermaid",
        )),
    }
}

fn errors(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    let job = server.job(&call.id)?;
    let failure: Vec<Value> = job
        .spec()
        .failure
        .iter()
        .map(|problem| json!(problem))
        .collect();
    let warnings = job
        .progress()
        .map_or(json!([]), |said| said["warnings"].clone());
    reply(200, &json!({"errors": failure, "warnings": warnings}))
}

fn checkpoints(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    let job = server.job(&call.id)?;
    let records = statistics::read(&job.home.state())
        .map_err(|error| io("cannot read the figures of the checkpoints", &error))?;
    reply(200, &json!({"checkpoints": records}))
}

fn savepoints(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    reply(200, &server.savepoints(&*server.job(&call.id)?)?)
}

fn view(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    let job = server.job(&call.id)?;
    let name = call.query.get("name").ok_or_else(|| {
        ApiError::malformed(
            Place::named("query", "name"),
            "the request does not say which view",
            "add ?name=VIEW",
        )
    })?;
    let found = view_rows(&job.home.state(), &job.name, name)
        .map_err(|error| ApiError::engine(&job.name, &error))?;
    let mut encoder = row_encoder(PrintFormat::Json, &found.info.columns);
    let mut lines = Vec::new();
    for rows in found.rows {
        let mut each = |_: usize, line: &[u8]| {
            lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
        };
        encoder.encode(&ChangeBatch::append_only(rows), &[], &mut each);
    }
    let columns: Vec<Value> = found
        .info
        .columns
        .iter()
        .map(|column| json!({"name": column.name, "type": column.data_type.to_string()}))
        .collect();
    let head = json!({"view": name, "as_of_micros": found.info.as_of, "columns": columns});
    // The rows are JSON already, with numbers as they are in files.
    let head = head.to_string();
    let head = head.trim_end_matches('}');
    text(JSON, format!("{head},\"rows\":[{}]}}\n", lines.join(",")))
}

fn stop(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    server.check_open()?;
    let job = server.job(&call.id)?;
    let request: StopRequest = requests::read(&call.body)?;
    request.check()?;
    reply(200, &server.stop(&job, &request)?)
}

fn start(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    server.check_open()?;
    reply(200, &server.start(&*server.job(&call.id)?)?)
}

fn savepoint(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    server.check_open()?;
    let job = server.job(&call.id)?;
    let request: SavepointRequest = requests::read(&call.body)?;
    request.check()?;
    reply(200, &server.savepoint(&job, &request)?)
}

fn upgrade(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    server.check_open()?;
    let job = server.job(&call.id)?;
    reply(200, &server.upgrade(&job, requests::read(&call.body)?)?)
}

/// A whole number behind the `?`.
fn number(call: &Call, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = call.query.get(name) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        ApiError::malformed(
            Place::named("query", name),
            format!("`{text}` is no whole number"),
            "write it in digits, without a sign",
        )
    })
}

fn logs(server: &Server, call: &Call) -> Result<Reply, ApiError> {
    let job = server.job(&call.id)?;
    let (offset, tail) = (number(call, "offset")?, number(call, "tail")?);
    let failed = |error: std::io::Error| io("cannot read the log", &error);
    let mut file = match std::fs::File::open(job.home.log()) {
        Ok(file) => file,
        // It has not begun.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Reply {
                next_offset: Some(0),
                ..text(TEXT, String::new())?
            });
        }
        Err(error) => return Err(failed(error)),
    };
    let size = file.metadata().map_err(failed)?.len();
    let (from, limit) = match offset {
        // A log that was put aside begins again.
        Some(offset) if offset > size => (0, LOG_BYTES),
        Some(offset) => (offset, LOG_BYTES),
        None => (size.saturating_sub(TAIL_BYTES), TAIL_BYTES),
    };
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut body = Vec::new();
    file.take(limit).read_to_end(&mut body).map_err(failed)?;
    let next = from + body.len() as u64;
    if offset.is_none() {
        body = last_lines(&body, tail.unwrap_or(100));
    }
    Ok(Reply {
        status: 200,
        content_type: TEXT,
        body,
        next_offset: Some(next),
    })
}

fn last_lines(text: &[u8], count: u64) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let from = lines
        .len()
        .saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    lines.drain(..from);
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb", 1), b"b");
        assert_eq!(last_lines(b"", 5), b"");
        assert_eq!(last_lines(b"a\n", 0), b"");
    }
}
