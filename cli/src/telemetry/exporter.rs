//! The thread that speaks to the collector, and the queue in front of it.
//!
//! ```text
//!   tell(Message) ─▶ queue of QUEUE messages ─▶ thread: at most SPANS_WAITING spans wait, the oldest go first
//!       │ full: dropped, counted                   │ after GATHER, or when SPANS_A_REQUEST are there: POST
//!       ▼ at once                                  ▼ no answer: again after 1 s, 2 s, … 30 s; refused for good: dropped
//! ```
//!
//! # Invariants
//! 1. [`Exporter::tell`] never waits.
//! 2. What waits is bounded; what was dropped is told once, and how much of it when the collector is back.
//! 3. Metrics are cumulative: of those that could not be sent only the newest are kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use super::metrics::{Figure, Sums};
use super::options::Settings;
use super::span::Span;
use crate::serve::log::now_micros;

/// Messages between the process and the thread.
const QUEUE: usize = 1024;
/// Spans that wait for the collector.
const SPANS_WAITING: usize = 2048;
/// Spans of one request.
const SPANS_A_REQUEST: usize = 512;
/// A span waits so long for others.
const GATHER: Duration = Duration::from_secs(1);
/// The longest pause after a request that failed.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The end of the process waits so long for the last things to be sent.
pub(crate) const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Gives all figures of this moment.
pub(crate) type Sampler = Box<dyn Fn() -> Vec<Figure> + Send>;
/// Says a sentence to whoever looks at this process.
pub(crate) type Complain = Box<dyn Fn(&str) + Send>;

/// What the thread is told.
enum Message {
    Span(Box<Span>),
    /// What counters had, and who gives them from now on.
    Sampler(Vec<Figure>, Sampler),
    /// The last figures, and nobody gives any more.
    LastFigures(Vec<Figure>),
    End,
}

/// Hands things to the thread. Clones speak to the same one.
#[derive(Clone)]
pub(crate) struct Exporter {
    to: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    /// Closed when the thread has ended.
    ended: Arc<Mutex<Receiver<()>>>,
}

impl Exporter {
    /// Starts the thread.
    pub(crate) fn start(settings: Settings, complain: Complain) -> std::io::Result<Self> {
        let (to, from) = sync_channel(QUEUE);
        let (at_end, ended) = sync_channel(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let of_thread = dropped.clone();
        std::thread::Builder::new()
            .name("weir-telemetry".to_owned())
            .spawn(move || {
                // Dropped with the thread, whichever way it ends.
                let _at_end: SyncSender<()> = at_end;
                Sender::new(settings, complain, of_thread).run(&from);
            })?;
        Ok(Self {
            to,
            dropped,
            ended: Arc::new(Mutex::new(ended)),
        })
    }

    fn tell(&self, message: Message) {
        if self.to.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn span(&self, span: Span) {
        self.tell(Message::Span(Box::new(span)));
    }

    /// Who gives figures from now on, and what counters have that was counted before.
    pub(crate) fn sample(&self, before: Vec<Figure>, sampler: Sampler) {
        self.tell(Message::Sampler(before, sampler));
    }

    /// The figures of a job that is over.
    pub(crate) fn last_figures(&self, figures: Vec<Figure>) {
        self.tell(Message::LastFigures(figures));
    }

    /// Sends what waits, if the collector takes it within [`LAST_PATIENCE`].
    pub(crate) fn finish(&self) {
        self.tell(Message::End);
        if let Ok(ended) = self.ended.lock() {
            // Closed or too late: both are the end of waiting.
            let _ = ended.recv_timeout(LAST_PATIENCE);
        }
    }
}

/// How a request ended.
enum Sent {
    Taken,
    /// It may be taken later: the pause that the collector asks for.
    Later(Option<Duration>, String),
    /// It is refused, whenever it comes.
    Refused(String),
}

/// The thread's own.
struct Sender {
    settings: Settings,
    http: Option<Client>,
    complain: Complain,
    dropped: Arc<AtomicU64>,
    spans: VecDeque<Value>,
    gathering_since: Option<Instant>,
    figures: Option<Vec<Value>>,
    sums: Sums,
    sampler: Option<Sampler>,
    next_sample: Instant,
    /// Requests that failed in a row, and when the next one is tried.
    failures: u32,
    not_before: Instant,
}

impl Sender {
    fn new(settings: Settings, complain: Complain, dropped: Arc<AtomicU64>) -> Self {
        let now = Instant::now();
        Self {
            next_sample: now + settings.interval,
            settings,
            http: None,
            complain,
            dropped,
            spans: VecDeque::new(),
            gathering_since: None,
            figures: None,
            sums: Sums::new(now_micros()),
            sampler: None,
            failures: 0,
            not_before: now,
        }
    }

    fn run(mut self, from: &Receiver<Message>) {
        loop {
            match from.recv_timeout(self.patience()) {
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= self.next_sample {
                self.next_sample = now + self.settings.interval;
                if let Some(sampler) = &self.sampler {
                    let figures = sampler();
                    self.keep(&figures);
                }
            }
            let gathered = self
                .gathering_since
                .is_some_and(|at| at.elapsed() >= GATHER)
                || self.spans.len() >= SPANS_A_REQUEST
                || self.figures.is_some();
            if gathered && now >= self.not_before {
                self.send();
            }
        }
        // Whatever still waits, until the collector does not take something.
        let mut left = self.waiting();
        while left > 0 {
            self.send();
            let before = std::mem::replace(&mut left, self.waiting());
            if left >= before {
                return;
            }
        }
    }

    fn waiting(&self) -> usize {
        self.spans.len() + usize::from(self.figures.is_some())
    }

    /// Until something has to be done.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let mut until = self.next_sample;
        if let Some(since) = self.gathering_since {
            until = until.min((since + GATHER).max(self.not_before));
        } else if self.figures.is_some() {
            until = until.min(self.not_before);
        }
        until
            .saturating_duration_since(now)
            .max(Duration::from_millis(1))
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Span(span) if self.settings.traces.is_some() => {
                if self.spans.len() >= SPANS_WAITING {
                    self.spans.pop_front();
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
                self.spans.push_back(span.json());
                self.gathering_since.get_or_insert_with(Instant::now);
            }
            Message::Sampler(before, sampler) if self.settings.metrics.is_some() => {
                self.sums.begin(&before);
                self.sampler = Some(sampler);
            }
            Message::LastFigures(figures) if self.settings.metrics.is_some() => {
                self.keep(&figures);
                self.sampler = None;
            }
            // Nobody wants this signal. An end is the caller's.
            _ => {}
        }
    }

    fn keep(&mut self, figures: &[Figure]) {
        if !figures.is_empty() {
            self.figures = Some(self.sums.metrics(figures, now_micros()));
        }
    }

    /// One request for each signal that has something.
    fn send(&mut self) {
        if let (Some(url), Some(metrics)) = (self.settings.metrics.clone(), self.figures.take()) {
            let body = self.body("resourceMetrics", "scopeMetrics", "metrics", &metrics);
            if !self.post(&url, &body) {
                self.figures = Some(metrics);
                return;
            }
        }
        if let Some(url) = self
            .settings
            .traces
            .clone()
            .filter(|_| !self.spans.is_empty())
        {
            let count = self.spans.len().min(SPANS_A_REQUEST);
            let spans: Vec<Value> = self.spans.drain(..count).collect();
            let body = self.body("resourceSpans", "scopeSpans", "spans", &spans);
            if !self.post(&url, &body) {
                // In front again, in their order.
                spans
                    .into_iter()
                    .rev()
                    .for_each(|span| self.spans.push_front(span));
                return;
            }
        }
        if self.spans.is_empty() {
            self.gathering_since = None;
        }
    }

    fn body(&self, resource: &str, scope: &str, items: &str, values: &[Value]) -> Vec<u8> {
        let attributes = self.settings.attributes.iter();
        let attributes = attributes
            .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
            .collect::<Vec<_>>();
        let of_scope = json!({
            "scope": {"name": "weir", "version": env!("CARGO_PKG_VERSION")},
            items: values,
        });
        json!({resource: [{"resource": {"attributes": attributes}, scope: [of_scope]}]})
            .to_string()
            .into_bytes()
    }

    /// Whether these things are done with: taken, or refused for good. Otherwise they are tried again.
    fn post(&mut self, url: &str, body: &[u8]) -> bool {
        match self.request(url, body) {
            Sent::Taken => {
                if self.failures > 0 {
                    let dropped = self.dropped.swap(0, Ordering::Relaxed);
                    let lost = match dropped {
                        0 => "nothing was lost".to_owned(),
                        count => format!("{count} spans were lost"),
                    };
                    (self.complain)(&format!("telemetry: {url} takes it again; {lost}"));
                }
                self.failures = 0;
                true
            }
            Sent::Later(pause, why) => {
                let doubled = Duration::from_secs(1 << self.failures.min(10));
                self.not_before = Instant::now() + pause.unwrap_or(doubled).min(PAUSE_MAX);
                self.told(url, &why);
                self.failures += 1;
                false
            }
            Sent::Refused(why) => {
                self.told(url, &why);
                self.failures += 1;
                true
            }
        }
    }

    /// Once, until it is well again.
    fn told(&self, url: &str, why: &str) {
        if self.failures == 0 {
            (self.complain)(&format!(
                "[R0101] telemetry: {url} does not take it: {why}; the job is not held up by this"
            ));
        }
    }

    fn request(&mut self, url: &str, body: &[u8]) -> Sent {
        let Some(http) = self.client() else {
            return Sent::Refused("no HTTP client can be made here".to_owned());
        };
        let answer = http
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_vec())
            .send();
        match answer {
            Ok(answer) if answer.status().is_success() => Sent::Taken,
            Ok(answer) => {
                let status = answer.status();
                let why = format!("it answers {status}");
                // As the specification of OTLP has it.
                match status.as_u16() {
                    429 | 502 | 503 | 504 => {
                        let pause = answer.headers().get(RETRY_AFTER);
                        let pause = pause.and_then(|value| value.to_str().ok()?.parse().ok());
                        Sent::Later(pause.map(Duration::from_secs), why)
                    }
                    _ => Sent::Refused(why),
                }
            }
            Err(error) => Sent::Later(None, root_cause(&error)),
        }
    }

    /// Made here and not at the start: it reads the machine's certificates, which takes its time.
    fn client(&mut self) -> Option<&Client> {
        if self.http.is_none() {
            let mut headers = HeaderMap::new();
            for (name, value) in &self.settings.headers {
                // The settings were checked.
                if let (Ok(name), Ok(mut value)) = (
                    HeaderName::from_bytes(name.as_bytes()),
                    HeaderValue::from_str(value),
                ) {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
            }
            self.http = Client::builder()
                .timeout(self.settings.timeout)
                .default_headers(headers)
                .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
                .build()
                .ok();
        }
        self.http.as_ref()
    }
}

/// The last cause is what says something: `connection refused`.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
