//! OpenTelemetry: what a collector gets of runs, restarts, edits and a server's jobs; and that nobody waits for one.

mod collector;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use collector::{Answers, Collector, Span};
use serde_json::Value;
use weir_tests::process::{Place, binary, text_of, wait_for};

use super::place::until;

/// The variables that OpenTelemetry knows: those of whoever runs the tests are not for them.
const VARIABLES: [&str; 12] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
    "TRACEPARENT",
];

fn sql(rows: u64, group: &str) -> String {
    format!(
        "SET 'checkpoint.interval' = '50ms';
SET 'restart.delay' = '10ms';
CREATE TABLE clicks (id BIGINT, page BIGINT)
WITH ('connector' = 'datagen', 'rows' = '{rows}', 'rows-per-second' = '5000', 'fields.page.cardinality' = '7');
CREATE TABLE seen (page BIGINT, clicks BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'seen', 'format' = 'changelog-json');
INSERT INTO seen SELECT {group} AS page, count(*) AS clicks FROM clicks GROUP BY {group};
"
    )
}

fn plain(command: &mut Command) -> &mut Command {
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.env_remove("WEIR_SERVER").env_remove("WEIR_TOKEN")
}

fn run(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = place.run(arguments);
    plain(&mut command).envs(variables.iter().copied());
    command.output().unwrap()
}

fn well(output: &Output) -> String {
    let text = text_of(output);
    assert!(output.status.success(), "{}\n{text}", output.status);
    text
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "several {name}");
    span
}

#[test]
fn a_run_tells_of_its_start_its_checkpoints_and_its_end_and_of_every_row() {
    let collector = Collector::start(Answers::Takes);
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "clicks", &sql(3000, "page"));
    let arguments = [
        "--otlp-endpoint",
        &collector.url,
        "--otlp-header",
        "x-tenant=rivers",
        "--otlp-service",
        "clicks-of-a-test",
    ];
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20secret"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a"),
    ];
    let text = well(&run(&place, &arguments, &variables));
    assert!(!text.contains("telemetry"), "{text}");

    for request in collector.requests() {
        assert!(request.headers.contains("content-type: application/json"));
        assert!(request.headers.contains("x-tenant: rivers"));
        assert!(request.headers.contains("api-key: a secret"));
        let of = match request.path.as_str() {
            "/v1/traces" => "resourceSpans",
            path => {
                assert_eq!(path, "/v1/metrics");
                "resourceMetrics"
            }
        };
        let attributes = request.body[of][0]["resource"]["attributes"].to_string();
        assert!(attributes.contains("clicks-of-a-test") && attributes.contains("team"));
    }

    let spans = collector.spans();
    let job = one(&spans, "weir.job");
    assert_eq!(job.parent, None);
    assert_eq!(job.error, None);
    assert_eq!(job.attribute("weir.job").as_deref(), Some("clicks"));
    assert_eq!(
        job.attribute("weir.job.outcome").as_deref(),
        Some("finished")
    );
    assert_eq!(job.attribute("weir.job.rows_in").as_deref(), Some("3000"));
    let start = one(&spans, "weir.job.start");
    assert_eq!(
        (&start.trace, start.parent.as_ref()),
        (&job.trace, Some(&job.id))
    );
    assert!(job.start <= start.start && start.end <= job.end);

    let checkpoints: Vec<&Span> = spans
        .iter()
        .filter(|span| span.name == "weir.checkpoint")
        .collect();
    let told: usize = job
        .attribute("weir.job.checkpoints")
        .unwrap()
        .parse()
        .unwrap();
    assert!(!checkpoints.is_empty());
    assert_eq!(checkpoints.len(), told, "each checkpoint once");
    for checkpoint in checkpoints {
        assert_ne!(checkpoint.trace, job.trace);
        assert_eq!(checkpoint.linked_trace.as_ref(), Some(&job.trace));
        assert_eq!(checkpoint.error, None);
        let number = checkpoint.attribute("weir.checkpoint").unwrap();
        assert!(number.parse::<u64>().unwrap() >= 1);
        let mut phases: Vec<&Span> = spans
            .iter()
            .filter(|span| span.parent.as_ref() == Some(&checkpoint.id))
            .collect();
        phases.sort_by_key(|phase| (phase.start, phase.end));
        let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "weir.checkpoint.align",
                "weir.checkpoint.store",
                "weir.checkpoint.commit"
            ]
        );
        assert_eq!(phases[0].start, checkpoint.start);
        assert_eq!(phases[2].end, checkpoint.end);
        let events = checkpoint.json["events"].to_string();
        assert!(events.contains("seen/sink"), "{events}");
    }

    let of_job = ("weir.job", "clicks");
    assert_eq!(collector.metric("weir.job.rows_in", of_job), Some(3000));
    let of_source = ("weir.operator", "clicks/source");
    assert_eq!(
        collector.metric("weir.operator.rows_in", of_source),
        Some(3000)
    );
    assert!(
        collector
            .metric("weir.job.state.memory_budget", of_job)
            .unwrap()
            > 1 << 20
    );
    assert!(
        collector
            .metric("weir.job.last_checkpoint", of_job)
            .unwrap()
            >= 1
    );
}

#[test]
fn a_restart_and_an_edit_are_spans_and_a_run_that_goes_on_counts_its_own_rows() {
    let collector = Collector::start(Answers::Takes);
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "clicks", &sql(4000, "page"));
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    let failing = [
        endpoint[0],
        ("WEIR_FAILPOINT", "engine.prepare.after:4:error"),
    ];
    let text = well(&run(&place, &["--stop-after", "3000"], &failing));
    assert!(text.contains("starts again"), "{text}");
    let spans = collector.spans();
    let (job, restart) = (one(&spans, "weir.job"), one(&spans, "weir.job.restart"));
    assert_eq!(restart.parent.as_ref(), Some(&job.id));
    assert_eq!(
        restart.attribute("weir.restart.attempt").as_deref(),
        Some("1")
    );
    assert!(restart.attribute("weir.checkpoint.restored").is_some());
    let why = restart.json["events"].to_string();
    assert!(
        why.contains("exception.message") && why.contains("failure point"),
        "{why}"
    );

    // The same query with another group: what it counted is of no use any more.
    let edited = Collector::start(Answers::Takes);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let place = Place::new(folder.path(), "clicks", &sql(4000, "page % 2"));
    let text = well(&run(
        &place,
        &[
            "--upgrade",
            "--start-empty",
            "seen/aggregate",
            "--accept",
            "all",
        ],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", edited.url.as_str()),
            ("TRACEPARENT", parent),
        ],
    ));
    let spans = edited.spans();
    let (job, start) = (one(&spans, "weir.job"), one(&spans, "weir.job.start"));
    assert_eq!(job.trace, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(job.parent.as_deref(), Some("b7ad6b7169203331"));
    let upgrade = one(&spans, "weir.upgrade");
    assert_eq!(upgrade.parent.as_ref(), Some(&start.id), "{text}");
    let changed = upgrade.attribute("weir.upgrade.changed").unwrap();
    assert!(changed.contains("seen/aggregate"), "{changed}");
    let of_job = ("weir.job", "clicks");
    assert_eq!(job.attribute("weir.job.rows_in").as_deref(), Some("4000"));
    assert_eq!(edited.metric("weir.job.rows_in", of_job), Some(1000));
}

#[test]
fn nobody_waits_for_a_collector_that_is_gone_or_says_nothing() {
    let hanging = Collector::start(Answers::Hangs);
    // A port that nobody listens at any more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for url in [&hanging.url, &gone] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path(), "clicks", &sql(2000, "page"));
        let started = Instant::now();
        // Whoever waited for an answer would wait for an hour.
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
        ];
        let mut command = place.run(&[]);
        plain(&mut command).envs(variables);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let status = wait_for(&mut child, Duration::from_secs(240));
        assert!(
            status.is_some_and(|status| status.success()),
            "{url}: after {:?}",
            started.elapsed()
        );
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert!(said.contains("2,000 in"), "{said}");
        assert_eq!(said.contains("[R0101]"), url == &gone, "{said}");
    }
    assert!(hanging.requests().is_empty());
}

#[test]
fn what_a_collector_could_not_take_is_sent_again_and_nothing_comes_twice() {
    let collector = Collector::start(Answers::Busy(2));
    let folder = tempfile::tempdir().unwrap();
    // Long enough for the pauses after two refusals.
    let place = Place::new(folder.path(), "clicks", &sql(40_000, "page"));
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    let text = well(&run(&place, &[], &variables));
    assert_eq!(collector.refused(), 2);
    assert!(
        text.contains("[R0101]") && text.contains("takes it again"),
        "{text}"
    );
    assert!(
        collector
            .requests()
            .iter()
            .all(|request| request.path == "/v1/traces")
    );
    let spans = collector.spans();
    one(&spans, "weir.job.start");
    let mut ids: Vec<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
}

#[test]
fn a_server_tells_of_the_processes_of_its_jobs_and_these_tell_of_themselves() {
    let collector = Collector::start(Answers::Takes);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    plain(&mut command)
        .current_dir(folder.path())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--otlp-endpoint",
            &collector.url,
        ])
        .args(["--otlp-header", "api-key=a secret"])
        .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut server = command.spawn().unwrap();
    let weir = |arguments: &[&str]| -> String {
        let mut command = Command::new(binary());
        plain(&mut command)
            .current_dir(folder.path())
            .args(arguments);
        well(&command.output().unwrap())
    };
    let listens = folder.path().join(".weir-server/server.json");
    let url: Value = until("the server listens", || {
        serde_json::from_slice(&std::fs::read(&listens).ok()?).ok()
    });
    let url = url["url"].as_str().unwrap();
    let endless = sql(3000, "page").replace("'rows' = '3000', ", "");
    std::fs::write(folder.path().join("clicks.sql"), endless).unwrap();
    weir(&["submit", "clicks.sql"]);
    collector.until("a checkpoint of the job", |spans| {
        spans.iter().any(|span| span.name == "weir.checkpoint")
    });
    let jobs = weir(&["jobs", "--json", "--server", url]);
    let (_, pid) = jobs.split_once("\"pid\":").expect("the job runs");
    let pid: String = pid
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&arguments).contains("secret"));
    Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    let spans = collector.until("the process that was killed", |spans| {
        spans.iter().any(|span| span.name == "weir.job.process")
    });
    let killed = one(&spans, "weir.job.process");
    assert!(
        killed
            .error
            .as_ref()
            .is_some_and(|why| why.contains("signal: 9")),
        "{killed:?}"
    );
    let submitted = one(&spans, "weir.server.request");
    assert_eq!(
        submitted.attribute("http.response.status_code").as_deref(),
        Some("201")
    );
    // What the process told itself stands below it.
    let started = spans
        .iter()
        .find(|span| span.name == "weir.job.start")
        .unwrap();
    assert_eq!(started.trace, killed.trace);
    // It is started again; a stop ends it well.
    collector.until("the next process", |spans| {
        let starts = spans.iter().filter(|span| span.name == "weir.job.start");
        starts.count() == 2
    });
    assert!(
        collector
            .requests()
            .iter()
            .all(|request| request.headers.contains("api-key: a secret"))
    );
    weir(&["stop", "clicks", "--server", url]);
    let spans = collector.until("both ends", |spans| {
        spans.iter().any(|span| span.name == "weir.job")
            && spans
                .iter()
                .filter(|span| span.name == "weir.job.process")
                .count()
                == 2
    });
    let ended = one(&spans, "weir.job");
    assert_eq!(
        ended.attribute("weir.job.outcome").as_deref(),
        Some("stopped")
    );
    let process = spans
        .iter()
        .find(|span| Some(&span.id) == ended.parent.as_ref())
        .expect("the process's span is the parent of the job's");
    assert_eq!(
        (process.name.as_str(), &process.error),
        ("weir.job.process", &None)
    );
    let restarts = || collector.metric("weir.server.job_restarts", ("weir.job", "clicks"));
    until("the restart is counted", || {
        (restarts() == Some(1)).then_some(())
    });
    Command::new("kill")
        .args(["-TERM", &server.id().to_string()])
        .status()
        .unwrap();
    let status = wait_for(&mut server, Duration::from_secs(60));
    assert!(status.is_some_and(|status| status.success()));
}
