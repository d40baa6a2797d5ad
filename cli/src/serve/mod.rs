//! `weir serve`: keeps jobs in a folder, each in a process of its own, and is asked over HTTP.
//!
//! ```text
//!   HTTP ─▶ http.rs: token, size ─▶ routes.rs ─▶ server.rs, upgrade.rs ─▶ job.rs: a thread for each job
//!                                                                            │ starts, watches, starts again
//!                                                                            ▼
//!                                                       weir serve-job DATA/jobs/NAME   (child.rs)
//! ```
//!
//! # Invariants
//! 1. The folder is all that a server needs: what is wanted of each job stands there before anything is done about it.
//! 2. A job runs once: its process takes the lock of the job's folder, and nobody starts one while it is taken.
//! 3. Nothing but `/healthz` and `/openapi.json` is answered without the token.
//! 4. A job that fails harms neither the server nor another job: they share no memory.
//!
//! Why processes: docs/decisions/0014-jobs-of-a-server.md.

pub(crate) mod child;
mod decide;
pub(crate) mod flags;
mod http;
mod job;
pub(crate) mod log;
mod metrics;
mod openapi;
mod own_file;
pub(crate) mod problem;
mod requests;
mod routes;
mod server;
pub(crate) mod store;
pub(crate) mod token;
mod upgrade;

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use serde_json::json;

use self::job::Launcher;
use self::log::LogFormat;
use self::server::Server;
use self::store::write_json;
use self::token::Token;
use crate::exit::{Code, Failure};
use crate::signals::StopRequest;
use crate::telemetry::{ServerTelemetry, TelemetryOptions, figures};

/// Where a server keeps its jobs, and a client of the same folder looks for it.
pub(crate) const DATA: &str = ".weir-server";
/// Where a server listens unless it is told otherwise.
pub(crate) const LISTEN: &str = "127.0.0.1:7717";

/// `weir serve`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir serve
  weir serve --data-dir /var/lib/weir --log-format json
  weir serve --listen 0.0.0.0:7717 --token-file /etc/weir/token
  weir serve --otlp-endpoint http://localhost:4318
  curl -H \"Authorization: Bearer $(cat .weir-server/token)\" http://127.0.0.1:7717/v1/jobs")]
pub(crate) struct ServeOptions {
    /// The folder that holds the jobs; nothing else is needed.
    #[arg(long, value_name = "FOLDER", default_value = DATA)]
    data_dir: PathBuf,
    /// Where to listen; port 0 takes a free one and says which.
    #[arg(long, value_name = "ADDRESS", default_value = LISTEN)]
    listen: SocketAddr,
    /// The file with the token that requests carry [default: WEIR_TOKEN, or FOLDER/token, which is made].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How logs are written; WEIR_LOG says how much.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Who is told of spans and metrics, by the server and by its jobs.
    #[command(flatten)]
    telemetry: TelemetryOptions,
}

/// Runs the command.
pub(crate) fn serve(options: &ServeOptions) -> Result<Code, Failure> {
    let stop = StopRequest::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let told = options.telemetry.resolve()?;
    let data = std::path::absolute(&options.data_dir).map_err(|error| {
        Failure::failed(format!(
            "cannot find {}: {error}",
            options.data_dir.display()
        ))
    })?;
    let _lock = take(&data)?;
    let public = !options.listen.ip().is_loopback();
    let (token, made) = Token::of_server(&data, options.token_file.as_deref(), public)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find the program itself: {error}")))?;
    let listener = std::net::TcpListener::bind(options.listen).map_err(|error| {
        Failure::failed(format!("cannot listen at {}: {error}", options.listen))
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("cannot tell where it listens: {error}")))?;
    let complain = Box::new(|what: &str| tracing::warn!("{what}"));
    let telemetry = ServerTelemetry::start(told, complain)
        .map_err(|error| Failure::failed(format!("cannot start telemetry: {error}")))?;
    let launcher = Launcher {
        program,
        log_format: options.log_format,
        telemetry: telemetry.clone(),
        environment: options.telemetry.for_children(),
    };
    let server = Server::open(&data, token, launcher).map_err(|error| {
        Failure::failed(format!(
            "cannot open the jobs in {}: {error}",
            data.display()
        ))
    })?;
    let looked_at = Arc::downgrade(&server);
    telemetry.sample(Box::new(move || {
        looked_at.upgrade().map_or_else(Vec::new, |server| {
            let jobs = server.all();
            let jobs = jobs
                .iter()
                .map(|job| (job.name.clone(), job.state(), job.restarts()));
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let jobs: Vec<_> = jobs.collect();
            figures(&jobs, count(&server.requests), count(&server.refused))
        })
    }));
    let place = data.join("server.json");
    let url = format!("http://{address}");
    write_json(&place, &json!({"url": url, "pid": std::process::id()}))
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", place.display())))?;
    println!("weir serves at {url}");
    if made {
        println!("a token was made in {}", data.join("token").display());
    }
    tracing::info!(%address, data = %data.display(), jobs = server.all().len(), "the server listens");
    let ended = http::run(&server, listener, &stop);
    // Whoever looks for a server finds none.
    drop(std::fs::remove_file(&place));
    telemetry.finish();
    ended.map_err(|error| Failure::failed(format!("the server ended: {error}")))?;
    tracing::info!("the server has ended");
    Ok(Code::Done)
}

/// Makes the folder, and takes it for this process alone.
fn take(data: &Path) -> Result<File, Failure> {
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot open {}: {error}", data.display()));
    let make = |folder: &Path| {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
    };
    make(data).map_err(failed)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data.join("lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Failure::refused(format!(
                "[J0080] another server keeps its jobs in {}: stop it, or name another folder with --data-dir",
                data.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    make(&data.join("jobs")).map_err(failed)?;
    make(&data.join("files")).map_err(failed)?;
    Ok(lock)
}
