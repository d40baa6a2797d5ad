//! The commands that ask a server.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Client, ServerFlags, path_of};
use crate::arguments::key_and_value;
use crate::evolution::EvolutionFlags;
use crate::exit::{Code, Failure};
use crate::inexact::{InexactPart, print_inexact};
use crate::print::is_closed_pipe;
use crate::query_file::QueryFile;
use crate::signals::StopRequest;
use crate::text::grouped;
use crate::variables::is_variable;

/// Between two looks at a log that grows.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);

/// `weir submit`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir submit orders.sql
  weir submit orders.sql --server https://weir.example.com --token-file token --name orders-eu --set REGION=eu")]
pub(crate) struct SubmitOptions {
    /// The query file.
    file: PathBuf,
    /// The job's name [default: SET 'job.name' of the file, or its stem].
    #[arg(long)]
    name: Option<String>,
    /// Any setting, as `SET 'key' = 'value'` in the file would; NAME=VALUE in upper case fills in `${NAME}`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Where relative paths of the query start, on the server's machine [default: the current folder, if the server is on this machine].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// A savepoint to go on from, on the server's machine.
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    #[command(flatten)]
    server: ServerFlags,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// `weir logs`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir logs orders
  weir logs orders --follow")]
pub(crate) struct LogsOptions {
    /// The job.
    job: String,
    /// So many of the last lines.
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: u64,
    /// Goes on with what comes, until Ctrl-C.
    #[arg(long, short = 'f')]
    follow: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// `weir start`, `weir delete`.
#[derive(Args)]
pub(crate) struct NamedOptions {
    /// The job.
    job: String,
    #[command(flatten)]
    server: ServerFlags,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Prints an answer, or a sentence about it.
fn tell(answer: &Value, as_json: bool, sentence: &str) -> Result<Code, Failure> {
    if as_json {
        println!("{answer}");
    } else {
        println!("{sentence}");
    }
    Ok(Code::Done)
}

/// Variables of a text that this machine knows: of `--set`, else of the environment.
fn variables_of(sql: &str, set: &[(String, String)]) -> BTreeMap<String, String> {
    let given = |name: &str| {
        let set = set.iter().rev().find(|(key, _)| key == name);
        set.map(|(_, value)| value.clone())
            .or_else(|| std::env::var(name).ok())
    };
    let mut found = BTreeMap::new();
    for part in sql.split("${").skip(1) {
        let name: String = part
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if let Some(value) = given(&name) {
            found.insert(name, value);
        }
    }
    found
}

fn settings_of(set: &[(String, String)]) -> BTreeMap<String, String> {
    set.iter()
        .filter(|(key, _)| !is_variable(key))
        .cloned()
        .collect()
}

/// A folder that the server is to find.
fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    if crate::target::is_url(&folder.to_string_lossy()) {
        return Ok(folder.to_owned());
    }
    std::path::absolute(folder)
        .map_err(|error| Failure::failed(format!("cannot find {}: {error}", folder.display())))
}

/// Hands a query file to the server.
pub(crate) fn submit(options: &SubmitOptions) -> Result<Code, Failure> {
    let client = options.server.client()?;
    let file = QueryFile::read_source(&options.file)?;
    let folder = match &options.folder {
        Some(folder) => Some(folder.clone()),
        None if client.near => Some(
            std::env::current_dir()
                .map_err(|error| Failure::failed(format!("no current folder: {error}")))?,
        ),
        None => None,
    };
    let from = options.from.as_deref().map(absolute).transpose()?;
    let mut body = json!({
        "sql": file.source,
        "settings": settings_of(&options.set),
        "variables": variables_of(&file.source, &options.set),
    });
    for (field, value) in [("folder", folder), ("from", from)] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    if let Some(name) = &options.name {
        body["name"] = json!(name);
    } else if !file.source.to_lowercase().contains("job.name") {
        body["name"] = json!(file.stem());
    }
    let text = Some((file.shown.as_str(), file.source.as_str()));
    let answer = client.post_text("/v1/jobs", Some(&body), text)?.json()?;
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        eprintln!(
            "warning: {}",
            warning["message"].as_str().unwrap_or_default()
        );
    }
    let name = answer["id"].as_str().unwrap_or_default();
    tell(&answer, options.json, &format!("job {name} was submitted"))
}

/// Lists the server's jobs.
pub(crate) fn jobs(client: &Client, as_json: bool) -> Result<Code, Failure> {
    let answer = client.get("/v1/jobs")?.json()?;
    if as_json {
        println!("{}", answer["jobs"]);
        return Ok(Code::Done);
    }
    let jobs: Vec<&Value> = answer["jobs"].as_array().into_iter().flatten().collect();
    if jobs.is_empty() {
        println!("the server has no job");
        return Ok(Code::Done);
    }
    let text = |job: &Value, field: &str| job[field].as_str().unwrap_or("-").to_owned();
    let width = jobs
        .iter()
        .map(|job| text(job, "id").len())
        .max()
        .unwrap_or(0)
        .max(3);
    println!(
        "{:width$}  state       checkpoint        rows in       rows out",
        "job"
    );
    for job in &jobs {
        let figure = |name: &str| {
            job["progress"][name]
                .as_u64()
                .map_or_else(|| "-".to_owned(), grouped)
        };
        println!(
            "{:width$}  {:10}  {:>10}  {:>13}  {:>13}",
            text(job, "id"),
            text(job, "state"),
            figure("last_checkpoint"),
            figure("rows_in"),
            figure("rows_out"),
        );
        if let Some(message) = job["error"]["message"].as_str() {
            println!(
                "{:width$}  error[{}]: {message}",
                "",
                text(&job["error"], "code")
            );
        }
    }
    for job in jobs {
        // A server of an earlier release does not say it.
        let parts = serde_json::from_value(job["inexact"].clone()).unwrap_or_default();
        let parts: Vec<InexactPart> = parts;
        print_inexact(&text(job, "id"), &parts);
    }
    Ok(Code::Done)
}

/// Prints the log of a job.
pub(crate) fn logs(options: &LogsOptions) -> Result<Code, Failure> {
    let client = options.server.client()?;
    let stop = StopRequest::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let path = path_of(&options.job, "/logs")?;
    let mut answer = client.get(&format!("{path}?tail={}", options.tail))?;
    loop {
        let mut out = std::io::stdout().lock();
        match out.write_all(&answer.body).and_then(|()| out.flush()) {
            Err(error) if is_closed_pipe(&error) => return Ok(Code::Done),
            Err(error) => return Err(Failure::failed(format!("cannot print: {error}"))),
            Ok(()) => {}
        }
        if !options.follow || stop.asked() {
            return Ok(Code::Done);
        }
        std::thread::park_timeout(FOLLOW_INTERVAL);
        let offset = answer.next_offset.unwrap_or(0);
        answer = client.get(&format!("{path}?offset={offset}"))?;
    }
}

/// Lets a job go on.
pub(crate) fn start(options: &NamedOptions) -> Result<Code, Failure> {
    let client = options.server.client()?;
    let answer = client
        .post(&path_of(&options.job, "/start")?, None)?
        .json()?;
    tell(
        &answer,
        options.json,
        &format!("job {} goes on", options.job),
    )
}

/// Forgets a job.
pub(crate) fn delete(options: &NamedOptions) -> Result<Code, Failure> {
    let client = options.server.client()?;
    let answer = client.delete(&path_of(&options.job, "")?)?.json()?;
    tell(
        &answer,
        options.json,
        &format!("job {} was deleted", options.job),
    )
}

/// A savepoint, as flags name it.
fn order(
    folder: Option<&PathBuf>,
    name: Option<&String>,
    note: Option<&String>,
) -> Result<Value, Failure> {
    let mut order = json!({});
    if let Some(folder) = folder {
        order["folder"] = json!(absolute(folder)?);
    }
    for (field, value) in [("name", name), ("note", note)] {
        if let Some(value) = value {
            order[field] = json!(value);
        }
    }
    Ok(order)
}

/// `weir stop JOB` of a server.
pub(crate) fn stop(client: &Client, options: &crate::stop::StopOptions) -> Result<Code, Failure> {
    let mut body = match &options.savepoint {
        Some(folder) => order(
            folder.as_ref(),
            options.name.as_ref(),
            options.note.as_ref(),
        )?,
        None => json!({}),
    };
    body["savepoint"] = options.savepoint.is_some().into();
    body["drain"] = options.drain.into();
    let answer = client
        .post(&path_of(&options.job, "/stop")?, Some(&body))?
        .json()?;
    let mut sentence = format!(
        "job {} is {}",
        options.job,
        answer["state"].as_str().unwrap_or("stopped")
    );
    if let Some(folder) = answer["savepoint"].as_str() {
        sentence.push_str(&format!(", with a savepoint in {folder}"));
    }
    tell(&answer, options.json, &sentence)
}

/// `weir savepoint create JOB` of a server.
pub(crate) fn savepoint(
    client: &Client,
    job: &str,
    (folder, name, note): (Option<&PathBuf>, Option<&String>, Option<&String>),
    as_json: bool,
) -> Result<Code, Failure> {
    let body = order(folder, name, note)?;
    let answer = client
        .post(&path_of(job, "/savepoint")?, Some(&body))?
        .json()?;
    let sentence = format!(
        "savepoint {}: {} rows in {}",
        answer["name"].as_str().unwrap_or_default(),
        grouped(answer["rows"].as_u64().unwrap_or(0)),
        answer["folder"].as_str().unwrap_or_default()
    );
    tell(&answer, as_json, &sentence)
}

/// `weir upgrade JOB FILE` of a server: the report, a question, the upgrade.
pub(crate) fn upgrade(
    client: &Client,
    job: &str,
    file: &Path,
    set: &[(String, String)],
    flags: &EvolutionFlags,
    agreed: impl FnOnce(&str) -> Result<bool, Failure>,
) -> Result<Code, Failure> {
    let file = QueryFile::read_source(file)?;
    let path = path_of(job, "/upgrade")?;
    let text = Some((file.shown.as_str(), file.source.as_str()));
    let mut body = json!({"sql": file.source, "report_only": true, "flags": flags.as_json()});
    let (settings, variables) = (settings_of(set), variables_of(&file.source, set));
    if !settings.is_empty() {
        body["settings"] = json!(settings);
    }
    if !variables.is_empty() {
        body["variables"] = json!(variables);
    }
    let report = client.post_text(&path, Some(&body), text)?.json()?;
    eprint!("{}", report["report"]["text"].as_str().unwrap_or_default());
    let let_through = report["report"]["let_through"] == true;
    if let_through && !agreed(&file.shown)? {
        return Ok(Code::Done);
    }
    // One that is not let through is asked for all the same: the server says why.
    body["report_only"] = false.into();
    let answer = client.post_text(&path, Some(&body), text)?.json()?;
    let how = match answer["settled"] == true {
        true => "runs the new query",
        false => "runs the new query, which has not saved anything yet",
    };
    println!(
        "job {job} {how}; the savepoint before it is {}",
        answer["savepoint"].as_str().unwrap_or("-")
    );
    Ok(Code::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_stand_in_the_text_go_along() {
        let set = [
            ("REGION".to_owned(), "eu".to_owned()),
            ("OTHER".to_owned(), "x".to_owned()),
            ("parallelism".to_owned(), "2".to_owned()),
        ];
        let found = variables_of("SELECT '${REGION}', '${NOT_SET_ANYWHERE:-1}'", &set);
        assert_eq!(
            found,
            BTreeMap::from([("REGION".to_owned(), "eu".to_owned())])
        );
        assert_eq!(
            settings_of(&set),
            BTreeMap::from([("parallelism".to_owned(), "2".to_owned())])
        );
    }
}
