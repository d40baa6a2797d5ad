//! A collector of OpenTelemetry as small as it can be: takes what is posted, and answers as it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answers {
    Takes,
    /// 503, so often, and then takes.
    Busy(usize),
    /// It reads, and says nothing.
    Hangs,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) path: String,
    /// In lower case.
    pub(super) headers: String,
    pub(super) body: Value,
}

/// Requests so far.
pub(super) struct Collector {
    pub(super) url: String,
    taken: Arc<Mutex<Vec<Request>>>,
    refused: Arc<Mutex<usize>>,
}

/// A span, as far as the tests look at it.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) linked_trace: Option<String>,
    pub(super) start: u128,
    pub(super) end: u128,
    pub(super) error: Option<String>,
    pub(super) json: Value,
}

impl Span {
    /// An attribute as text.
    pub(super) fn attribute(&self, key: &str) -> Option<String> {
        attribute(&self.json["attributes"], key)
    }
}

/// The attribute of a list in OTLP's form.
fn attribute(attributes: &Value, key: &str) -> Option<String> {
    let found = attributes
        .as_array()?
        .iter()
        .find(|pair| pair["key"] == key)?;
    let value = found["value"].as_object()?.values().next()?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

impl Collector {
    pub(super) fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let refused = Arc::new(Mutex::new(0));
        let (of_thread, busy) = (taken.clone(), refused.clone());
        // It goes with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (taken, refused) = (of_thread.clone(), busy.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), answers, &taken, &refused));
            }
        });
        Self {
            url,
            taken,
            refused,
        }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.taken.lock().unwrap().clone()
    }

    /// Requests that were answered with 503.
    pub(super) fn refused(&self) -> usize {
        *self.refused.lock().unwrap()
    }

    /// All spans so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        let requests = self.requests();
        let mut spans = Vec::new();
        for request in requests
            .iter()
            .filter(|request| request.path == "/v1/traces")
        {
            for resource in request.body["resourceSpans"].as_array().unwrap() {
                for scope in resource["scopeSpans"].as_array().unwrap() {
                    assert_eq!(scope["scope"]["name"], "weir");
                    spans.extend(scope["spans"].as_array().unwrap().iter().map(span));
                }
            }
        }
        spans
    }

    /// Waits for spans, however slow the machine is.
    pub(super) fn until(&self, what: &str, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let started = Instant::now();
        loop {
            let spans = self.spans();
            if enough(&spans) {
                return spans;
            }
            let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
            assert!(
                started.elapsed() < Duration::from_secs(240),
                "it never happened: {what}; there are {names:?}"
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The newest value of a metric, of the points that have this attribute.
    pub(super) fn metric(&self, name: &str, with: (&str, &str)) -> Option<i64> {
        let requests = self.requests();
        let metrics = requests
            .iter()
            .filter(|request| request.path == "/v1/metrics");
        let mut newest = None;
        for request in metrics {
            for metric in request.body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
                .as_array()
                .unwrap()
            {
                if metric["name"] != name {
                    continue;
                }
                let points = match metric.get("sum") {
                    Some(sum) => {
                        assert_eq!(sum["aggregationTemporality"], 2);
                        assert_eq!(sum["isMonotonic"], true);
                        &sum["dataPoints"]
                    }
                    None => &metric["gauge"]["dataPoints"],
                };
                for point in points.as_array().unwrap() {
                    if attribute(&point["attributes"], with.0).as_deref() == Some(with.1) {
                        newest = Some(point["asInt"].as_str().unwrap().parse().unwrap());
                    }
                }
            }
        }
        newest
    }
}

fn span(json: &Value) -> Span {
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    let (trace, id) = (text("traceId"), text("spanId"));
    assert_eq!((trace.len(), id.len()), (32, 16), "{json}");
    let time = |key: &str| json[key].as_str().unwrap().parse::<u128>().unwrap();
    let (start, end) = (time("startTimeUnixNano"), time("endTimeUnixNano"));
    assert!(start <= end && start > 1_000_000_000_000_000_000, "{json}");
    Span {
        name: text("name"),
        trace,
        id,
        parent: json["parentSpanId"].as_str().map(str::to_owned),
        linked_trace: json["links"][0]["traceId"].as_str().map(str::to_owned),
        start,
        end,
        error: (json["status"]["code"] == 2)
            .then(|| json["status"]["message"].as_str().unwrap().to_owned()),
        json: json.clone(),
    }
}

fn serve(
    stream: &TcpStream,
    answers: Answers,
    taken: &Mutex<Vec<Request>>,
    refused: &Mutex<usize>,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            headers.push_str(&line.to_lowercase());
        }
        let length = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let status = match answers {
            Answers::Takes => "200 OK",
            Answers::Hangs => loop {
                std::thread::park();
            },
            Answers::Busy(times) => {
                let mut refused = refused.lock().unwrap();
                if *refused < times {
                    *refused += 1;
                    "503 Service Unavailable"
                } else {
                    "200 OK"
                }
            }
        };
        if status == "200 OK" {
            taken.lock().unwrap().push(Request {
                path: first.split(' ').nth(1).unwrap().to_owned(),
                headers,
                body: serde_json::from_slice(&body).unwrap(),
            });
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
        let mut out = stream;
        if out.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
